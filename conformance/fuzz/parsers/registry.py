"""All subjects by name."""

from __future__ import annotations

from conformance.fuzz.parsers import cni, configapi, files, kubernetes, networking, pods
from conformance.fuzz.parsers.subject import Subject

SUBJECTS: dict[str, Subject] = {
    subject.name: subject
    for module in (networking, cni, files, kubernetes, pods, configapi)
    for subject in module.SUBJECTS
}
