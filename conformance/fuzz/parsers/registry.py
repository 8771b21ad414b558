"""All subjects by name."""

from __future__ import annotations

from conformance.fuzz.parsers import annotations, cni, files, kubernetes
from conformance.fuzz.parsers.subject import Subject

SUBJECTS: dict[str, Subject] = {
    subject.name: subject for module in (annotations, cni, files, kubernetes) for subject in module.SUBJECTS
}
