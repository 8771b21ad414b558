"""A target as the right side of two, in namespaces of its own: one set of them takes one lab.

``python -m conformance.fuzz.abroad NAME FOLDER`` has the engine, takes orders in lines of JSON and ends with
its standard input. :class:`Abroad` is the side of whoever compares. Its names and addresses are another
implementation's; what may differ beyond that is said by :data:`REASONS`, each with its document.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from conformance.child import Child
from conformance.fuzz import engines, steps
from conformance.fuzz.comparing import Difference
from conformance.fuzz.differential import Moment
from conformance.fuzz.engine import Patient, RestlessError
from conformance.fuzz.model import size
from conformance.fuzz.seen import Seen, SeenAttachment, SeenInterface, SeenPod
from conformance.fuzz.steps import Pick, Step
from conformance.fuzz.targetlook import of_pods
from multinet.errors import LabError, MultinetError
from multinet.kube.errors import KubeError

_START_LIMIT_S = 120.0
_STEP_LIMIT_S = 120.0
_END_LIMIT_S = 30.0
_REFUSED, _RESTLESS, _FAILED = "refused", "restless", "failed"


@dataclass(frozen=True, slots=True)
class Wish:
    """A pod that waits here and runs there: its picks, and the NADs' history before it was made."""

    key: str
    picks: tuple[Pick, ...]
    text: str
    taken: tuple[Step, ...]
    left: Seen

    def applied(self, nad: str) -> list[steps.ApplyNad]:
        """What a NAD was made and changed to."""
        return [step for step in self.taken if isinstance(step, steps.ApplyNad) and step.key == nad]

    def is_crowded(self, nad: str) -> bool:
        """Whether the NAD's network here has fewer addresses than are asked of it."""
        cidrs = [step.cidr for step in self.applied(nad) if step.cidr]
        held = [item.nad for pod in self.left.pods.values() for item in pod.recorded]
        wanted = held.count(nad) + sum(pick.nad == nad for pick in self.picks)
        try:
            return bool(cidrs) and min(size(block) for cidr in cidrs for block in cidr.split(",")) < wanted
        except ValueError:
            return False


def _is_nonsense(wish: Wish) -> bool:
    return bool(wish.text)


def _asks_or_is_crowded(wish: Wish) -> bool:
    return any(pick.ip or pick.mac or wish.is_crowded(pick.nad) for pick in wish.picks)


def _was_changed(wish: Wish) -> bool:
    return any(len({step.cidr for step in wish.applied(pick.nad)}) > 1 for pick in wish.picks)


NONSENSE = "NPWG 4.1.2: a value that is not valid fails the pod or is ignored"
REASONS: Mapping[str, Callable[[Wish], bool]] = {
    NONSENSE: _is_nonsense,
    "NPWG 4.1.2.1.3, 4.1.2.1.4, documented: an address or MAC is in a network once on all nodes, and gateway "
    "and DNS have theirs; who leases by node finds it free": _asks_or_is_crowded,
    "docs/dialects.md: networks_keep_first_definition: refused while in use": _was_changed,
}
"""Why a pod may wait with the reference and run with a plugin that leases addresses on each node."""
FOLLOWS = "follows from a difference that is explained"


class Abroad:
    """An :class:`~conformance.fuzz.differential.Other`, and patient."""

    exact = False

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        module = ["scenarios.isolated", sys.executable, "-m", "conformance.fuzz.abroad", name, str(folder)]
        self._child = Child(module, folder / "abroad.log")
        line = self._child.first_line(_START_LIMIT_S)
        told: dict[str, Any] = json.loads(line) if line else {_FAILED: f"see {folder}/abroad.log"}
        if _FAILED in told:
            raise LabError(f"{name} could not be started", why=told[_FAILED])
        self._kinds = frozenset(told["kinds"])

    @property
    def name(self) -> str:
        """The target's."""
        return self._name

    def supports(self, kind: type[Step]) -> bool:
        """What the target can do."""
        return kind in steps.KINDS and steps.name_of(kind) in self._kinds

    def reset(self) -> None:
        """An empty world."""
        self._ask({"order": "reset"})

    def do(self, step: Step) -> None:
        """Carry out a step."""
        self._ask({"order": "do", "step": steps.to_data(step)})

    def more_time(self) -> bool:
        """Wait for the next change."""
        return bool(self._ask({"order": "wait"})["more"])

    def observe(self) -> Seen:
        """The pods; more is not to be seen."""
        answer = self._ask({"order": "observe"})
        return of_pods(map(_pod, answer["pods"]), frozenset(answer["judged"]))

    def close(self) -> None:
        """End it."""
        self._child.end(_END_LIMIT_S)

    def explain(self, difference: Difference, moment: Moment) -> str:
        """Why a pod may wait here and run there; or that it shares a NAD with one that is explained."""
        key = difference.about
        made = [step for step in moment.taken if isinstance(step, steps.CreatePod) and step.key == key]
        here = moment.left.pods.get(key)
        if not made or here is None:
            return ""
        picks = moment.asked.picks.get(key, ())
        shared = {pick.nad for other in moment.parted for pick in moment.asked.picks.get(other, ())}
        if shared & {pick.nad for pick in picks}:
            return FOLLOWS
        if here.running:
            return ""
        wish = Wish(key, picks, made[-1].text, tuple(moment.taken), moment.left)
        return next((why for why, holds in REASONS.items() if holds(wish)), "")

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        line = self._child.ask(json.dumps(order), _STEP_LIMIT_S)
        answer: dict[str, Any] = json.loads(line) if line else {_FAILED: "it ended"}
        if _RESTLESS in answer:
            raise RestlessError(answer[_RESTLESS])
        if _REFUSED in answer:
            raise KubeError(answer[_REFUSED])
        if _FAILED in answer:
            raise LabError(f"{self._name} does not answer", why=answer[_FAILED])
        return answer


def _pod(data: Mapping[str, Any]) -> SeenPod:
    kernel = data["kernel"]
    return SeenPod(
        key=data["key"],
        running=data["running"],
        recorded=tuple(SeenAttachment(**{**item, "ips": tuple(item["ips"])}) for item in data["recorded"]),
        kernel=None
        if kernel is None
        else tuple(SeenInterface(**{**item, "ips": tuple(item["ips"])}) for item in kernel),
        status=data["status"],
        pod_ips=tuple(data["pod_ips"]),
    )


def main(argv: list[str]) -> int:
    """Have the engine and obey."""
    name, folder = argv
    try:
        engine = engines.make(name, Path(folder))
    except MultinetError as error:
        _tell({_FAILED: str(error)})
        return 3
    try:
        _tell({"kinds": [steps.name_of(kind) for kind in steps.KINDS if engine.supports(kind)]})
        for line in sys.stdin:
            try:
                _tell(_obey(engine, json.loads(line)))
            except RestlessError as error:
                _tell({_RESTLESS: str(error)})
            except KubeError as error:
                _tell({_REFUSED: str(error)})
            except MultinetError as error:
                _tell({_FAILED: str(error)})
    finally:
        engine.close()
    return 0


def _obey(engine: Any, asked: Mapping[str, Any]) -> dict[str, Any]:
    match asked["order"]:
        case "reset":
            engine.reset()
        case "do":
            engine.do(steps.from_data(asked["step"]))
        case "wait":
            return {"more": isinstance(engine, Patient) and engine.more_time()}
        case "observe":
            seen = engine.observe()
            return {"pods": [asdict(pod) for pod in seen.pods.values()], "judged": sorted(seen.judged)}
    return {}


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
