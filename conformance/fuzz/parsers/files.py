"""Files that people write: scenarios, and manifests of static pods."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from conformance.fuzz.parsers.grammar import HALF_PAIRS, ODD, damaged_text, mutated
from conformance.fuzz.parsers.subject import NotTotalError, Subject, as_bytes
from multinet.kubelet import staticpods
from scenarios.errors import InvalidScenarioError
from scenarios.loader import load

_LIBRARY = Path(__file__).parents[3] / "scenarios" / "library"
_TEXTS = [path.read_text(encoding="utf-8") for path in sorted(_LIBRARY.glob("*.yaml"))]
_SMALL = """\
apiVersion: multinet.opencontrail.org/v1alpha1
kind: Scenario
metadata: {name: x}
spec:
  lab: {nodes: 2}
  steps:
    - name: a
      apply:
        - apiVersion: v1
          kind: Pod
          metadata: {name: p, annotations: {k8s.v1.cni.cncf.io/networks: a}}
          spec: {containers: [{name: c, image: i}]}
    - name: b
      wait: {pods: {p: Running}}
"""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SCENARIOS: list[Any] = [yaml.load(text, Loader=_LOADER) for text in (*_TEXTS, _SMALL)]


def _printed(value: Any) -> str:
    return yaml.safe_dump(value, allow_unicode=True)


_FILES = st.one_of(
    mutated(_SCENARIOS).map(_printed),
    damaged_text(_SMALL),
    st.sampled_from(_TEXTS).flatmap(damaged_text),
    st.text(max_size=30),
)


def _scenario(given: str) -> str:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "s.yaml"
        path.write_bytes(as_bytes(given))
        try:
            load(path, shown="s.yaml")
        except InvalidScenarioError as error:
            for finding in error.findings:
                if not finding.where.startswith("s.yaml"):
                    raise NotTotalError(f"a finding has no place: {finding}") from error
            str(error).encode()
            return "refused"
    return "read"


_POD: Any = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "kube-system", "annotations": {"a": "b"}, "labels": {"a": "b"}},
    "spec": {"hostNetwork": True, "containers": [{"name": "c", "image": "i", "command": ["true"]}]},
}


def _static(given: str) -> str:
    logging.getLogger(staticpods.__name__).disabled = True
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "p.yaml").write_bytes(as_bytes(given))
        found = list(staticpods.read(Path(name), "node1"))
    for pod in found:
        staticpods.mirror_of(pod)
    return "read" if found else "left out"


SUBJECTS = (
    Subject("scenario", _FILES, _scenario),
    Subject(
        "static-pod",
        mutated([_POD], (*ODD, *HALF_PAIRS)).map(yaml.safe_dump) | damaged_text(yaml.safe_dump(_POD)),
        _static,
    ),
)
