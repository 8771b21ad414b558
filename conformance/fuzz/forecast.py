"""What the rules say must be so after each step of a sequence, where they leave no choice.

The judge looks at what happened and asks whether it was allowed; a scenario file has to know before. Where
the outcome depends on who came first (two pods want the last address) or on a choice of the implementation
(a pod asks for an address that another may have been given), nothing is foretold of pods from there on that
are not attached yet.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

from conformance.fuzz.model import Held, Model
from conformance.fuzz.steps import Step


@dataclass(frozen=True, slots=True)
class Foretold:
    """After a step. ``running``: NADs by pod that must run; ``pending``: pods that must not, and can be told.

    ``networks``: NADs that have a network of their own. ``ending``: pods whose end waits for their node.
    """

    running: dict[str, tuple[str, ...]]
    pending: tuple[str, ...]
    networks: tuple[str, ...]
    ending: tuple[str, ...]


class Forecast:
    """Follows a sequence step by step."""

    def __init__(self) -> None:
        self.model = Model()
        self._certain = True

    def take(self, step: Step) -> Foretold:
        """What must be so after ``step``."""
        self.model.apply(step)
        self._decide()
        model = self.model
        present = [pod for pod in model.pods.values() if not pod.ending]
        return Foretold(
            running={
                pod.key: tuple(item.nad for item in pod.held)
                for pod in present
                if pod.held is not None and (pod.ran or not model.waits_for_node(pod))
            },
            pending=tuple(
                pod.key
                for pod in present
                if pod.held is None and self._certain and pod.node not in model.cut and model.blocker(pod)
            ),
            networks=tuple(sorted(model.made)) if self._certain else (),
            ending=tuple(pod.key for pod in model.pods.values() if pod.ending and pod.held is not None),
        )

    def _decide(self) -> None:
        """Attach who can be attached, if it is the same whoever comes first."""
        if not self._certain or self.model.unsettled:
            self._certain = False
            return
        waiting = [key for key, pod in self.model.pods.items() if pod.held is None and not pod.ending]
        before, other = copy.deepcopy(self.model), copy.deepcopy(self.model)
        attached = _attach(self.model, waiting)
        if attached is None or attached != _attach(other, reversed(waiting)):
            self._certain = False
            self.model = before
            return
        for pod in self.model.pods.values():
            pod.ran = pod.ran or (pod.held is not None and not self.model.waits_for_node(pod))


def _attach(model: Model, keys: Iterable[str]) -> set[str] | None:
    """Attach those that nothing stands in the way of; None where it depends on addresses chosen freely."""
    attached = set()
    for key in keys:
        pod = model.pods[key]
        if any(pick.ip and _chosen(model, pick.nad) for pick in pod.picks):
            return None
        if model.blocker(pod):
            continue
        pod.held = tuple(
            Held(
                pick.nad,
                model.network_of(pick.nad),
                pick.interface,
                (pick.ip or f"{key}/{number}",),
                pick.mac,
            )
            for number, pick in enumerate(pod.picks)
        )
        attached.add(key)
    model.settle()
    return attached


def _chosen(model: Model, nad: str) -> bool:
    """Whether somebody in the NAD's network has an address that nobody asked for."""
    network = model.network_of(nad)
    held = (item for pod in model.pods.values() for item in pod.held or () if item.network == network)
    return any("/" in ip for item in held for ip in item.ips)
