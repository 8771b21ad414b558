"""What may happen, as values: what administrators, users and the system do, one at a time.

A step says everything needed to carry it out on any engine, to tell it in words, and to write it into a
scenario file. ``key`` is ``namespace/name``.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, fields
from typing import Any

NODES = ("node1", "node2")
NAMESPACES = ("default", "other")


@dataclass(frozen=True, slots=True)
class Pick:
    """One selected network; empty fields are not asked for."""

    nad: str
    interface: str = ""
    ip: str = ""
    mac: str = ""


def name_of(kind: type[Step]) -> str:
    """Name of a kind of step: ``create-pod``."""
    return _hyphened(kind.__name__)


@functools.cache
def _hyphened(words: str) -> str:
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in words).lstrip("-")


@dataclass(frozen=True, slots=True)
class Step:
    """Base of all steps: has nothing itself."""

    @property
    def name(self) -> str:
        """Name of the kind of step."""
        return name_of(type(self))

    def __str__(self) -> str:
        told = (f"{item.name}={getattr(self, item.name)!r}" for item in fields(self))
        return f"{self.name}({', '.join(told)})"


@dataclass(frozen=True, slots=True)
class ApplyNad(Step):
    """Create a NAD or change it: by ``cidr``, by ``maps_to`` (a network of the config API), or ``broken``.

    ``broken``: ``config`` no JSON, ``foreign`` another plugin's type.
    """

    key: str
    cidr: str = ""
    maps_to: str = ""
    broken: str = ""


@dataclass(frozen=True, slots=True)
class DeleteNad(Step):
    """Delete a NAD, in use or not."""

    key: str


@dataclass(frozen=True, slots=True)
class MakeNetwork(Step):
    """Create a virtual network as the config API does."""

    network: str
    cidr: str


@dataclass(frozen=True, slots=True)
class RemoveNetwork(Step):
    """Delete it again; refused while somebody uses it."""

    network: str


@dataclass(frozen=True, slots=True)
class CreatePod(Step):
    """Create a pod that selects networks, in the comma form where that can say it, else as JSON.

    ``text`` stands for the whole annotation instead, for selections that nobody may accept.
    """

    key: str
    node: str
    picks: tuple[Pick, ...] = ()
    text: str = ""

    @property
    def selection(self) -> str:
        """The annotation."""
        return self.text or selection_text(self.picks, self.key.partition("/")[0])


@dataclass(frozen=True, slots=True)
class EditSelection(Step):
    """Change the annotation of a pod that is there, running or not."""

    key: str
    picks: tuple[Pick, ...] = ()


@dataclass(frozen=True, slots=True)
class DamageStatus(Step):
    """Overwrite a pod's network-status by hand."""

    key: str


@dataclass(frozen=True, slots=True)
class DeletePod(Step):
    """Delete a pod; ``grace`` 0 does not wait for the kubelet."""

    key: str
    grace: int = 1


@dataclass(frozen=True, slots=True)
class RestartController(Step):
    """End the controller at once and start it again."""


@dataclass(frozen=True, slots=True)
class RestartAgent(Step):
    """End a node's agent at once and start it again."""

    node: str


@dataclass(frozen=True, slots=True)
class Reboot(Step):
    """A node loses its kernel's state and all sandboxes; its files stay."""

    node: str


@dataclass(frozen=True, slots=True)
class Cut(Step):
    """A node can't reach the API any more."""

    node: str


@dataclass(frozen=True, slots=True)
class Heal(Step):
    """It can again."""

    node: str


@dataclass(frozen=True, slots=True)
class RepeatCall(Step):
    """The CNI call ``verb`` (ADD, DEL, CHECK) of a pod comes once more, as from a runtime in doubt."""

    key: str
    verb: str


@dataclass(frozen=True, slots=True)
class RefuseDevices(Step):
    """A node's kernel refuses new devices (``on``), or no longer."""

    node: str
    on: bool


@dataclass(frozen=True, slots=True)
class LoseAnswers(Step):
    """The controller's connection loses answers and repeats events from now on, or no longer."""

    on: bool


@dataclass(frozen=True, slots=True)
class Elapse(Step):
    """Time passes: back-offs end, everything is tried again."""

    seconds: int = 60


KINDS: tuple[type[Step], ...] = (
    ApplyNad,
    DeleteNad,
    MakeNetwork,
    RemoveNetwork,
    CreatePod,
    EditSelection,
    DamageStatus,
    DeletePod,
    RestartController,
    RestartAgent,
    Reboot,
    Cut,
    Heal,
    RepeatCall,
    RefuseDevices,
    LoseAnswers,
    Elapse,
)
BY_NAME = {name_of(kind): kind for kind in KINDS}


def selection_text(picks: tuple[Pick, ...], namespace: str) -> str:
    """The annotation that selects ``picks`` in a pod of ``namespace``."""
    if all(not (pick.interface or pick.ip or pick.mac) for pick in picks):
        return ",".join(pick.nad.removeprefix(f"{namespace}/") for pick in picks)
    return json.dumps([_element(pick) for pick in picks])


def to_data(step: Step) -> dict[str, Any]:
    """A JSON object that :func:`from_data` turns into the same step."""
    told: dict[str, Any] = {"step": step.name}
    for item in fields(step):
        value = getattr(step, item.name)
        if value == item.default:
            continue
        if item.name == "picks":
            value = [{f.name: got for f in fields(p) if (got := getattr(p, f.name))} for p in value]
        told[item.name] = value
    return told


def from_data(data: dict[str, Any]) -> Step:
    """Read what :func:`to_data` wrote; ``KeyError`` or ``TypeError`` for anything else."""
    given = {name: value for name, value in data.items() if name != "step"}
    if "picks" in given:
        given["picks"] = tuple(Pick(**pick) for pick in given["picks"])
    return BY_NAME[data["step"]](**given)


def _element(pick: Pick) -> dict[str, Any]:
    namespace, _, name = pick.nad.partition("/")
    element: dict[str, Any] = {"name": name, "namespace": namespace}
    if pick.interface:
        element["interface"] = pick.interface
    if pick.ip:
        element["ips"] = [pick.ip]
    if pick.mac:
        element["mac"] = pick.mac
    return element
