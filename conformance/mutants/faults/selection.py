"""Faults in reading the selection: NPWG 4.1 and 4.2."""

from __future__ import annotations

import json
from collections.abc import Sequence

from conformance.api import ApiError
from conformance.mutants.faults.table import fault
from conformance.mutants.meta import Meta
from multinet.errors import InputError
from multinet.model.objects import Obj
from multinet.model.selected import NetworkSelection


@fault("NPWG-4.1-a")
class WrongSelectionKey(Meta):
    """Reads an annotation of another name."""

    networks_key = "k8s.v1.cni.cncf.io/network"


@fault("NPWG-4.1-e")
class AnyKeyThatEndsSo(Meta):
    """Takes any annotation that ends in ``networks`` or ``network``."""

    def annotation(self, pod: Obj) -> str:
        marks = pod["metadata"].get("annotations") or {}
        return next((text for key, text in marks.items() if "network" in key and "status" not in key), "")


@fault("NPWG-4.1.2-a")
class CommasOnly(Meta):
    """Knows the comma-delimited format only."""

    def parsed(self, text: str) -> Sequence[NetworkSelection]:
        return super().parsed("" if text.strip().startswith("[") else text)


@fault("NPWG-4.1.2-b")
class FirstCharacterDecides(Meta):
    """JSON with white space before it is no JSON to it."""

    def parsed(self, text: str) -> Sequence[NetworkSelection]:
        return super().parsed("" if text[:1].isspace() else text)


@fault("NPWG-4.1.2-c")
class CrashesOnNull(Meta):
    """Believes what it reads."""

    def parsed(self, text: str) -> Sequence[NetworkSelection]:
        if not text.strip().startswith(("[", "n")):
            return super().parsed(text)
        try:
            elements = json.loads(text)
        except ValueError:
            return super().parsed(text)
        return [NetworkSelection(one["name"], one.get("namespace") or self.namespace) for one in elements]


@fault("NPWG-4.1.1-f")
class SlashesDoNotMatter(Meta):
    """Takes the last part of a reference with too many slashes."""

    def parsed(self, text: str) -> Sequence[NetworkSelection]:
        return super().parsed(text.rpartition("/")[2] if text.count("/") > 1 else text)


@fault("NPWG-4.1.1-a")
class LooksInDefaultToo(Meta):
    """A bare name that is not in the pod's namespace is looked for in ``default``."""

    def nad(self, namespace: str, name: str) -> Obj:
        try:
            return super().nad(namespace, name)
        except ApiError:
            return super().nad("default", name)


@fault("NPWG-4.1.2.1.2-a")
class OwnNamespaceOnly(Meta):
    """Ignores the namespace of a reference."""

    def namespace_of(self, one: NetworkSelection) -> str:
        del one
        return self.namespace


@fault("NPWG-4.2-b")
class CollapsesDuplicates(Meta):
    """Attaches a network once, however often it is selected."""

    def parsed(self, text: str) -> Sequence[NetworkSelection]:
        return list({one.nad: one for one in super().parsed(text)}.values())


@fault("NPWG-4.1.1-c")
class FirstFourOnly(Meta):
    """Stops after four networks."""

    def parsed(self, text: str) -> Sequence[NetworkSelection]:
        return super().parsed(text)[:4]


@fault("NPWG-4.2.1-d")
class NamesByNetwork(Meta):
    """Every attachment's interface is ``net1``."""

    def new_interface(self, number: int, taken: Sequence[str]) -> str:
        return super().new_interface(1, ())


@fault("NPWG-4.1.2.1.3-b")
class DropsWhatIsInvalid(Meta):
    """Attaches networks without the keys it can't read."""

    def parsed(self, text: str) -> Sequence[NetworkSelection]:
        try:
            return super().parsed(text)
        except InputError:
            elements = json.loads(text) if text.strip().startswith("[") else []
            return [NetworkSelection(one["name"], self.namespace) for one in elements]
