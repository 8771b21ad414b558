"""Two worlds in which the same is done: where they differ for the first time, and what explains that.

A :class:`Pair` is an engine like any other, so campaigns, shrinking and replays work on it unchanged. Its
left side is judged by the rules; the right one, who may follow others, is held against it after each step.
A difference that its :class:`Other` explains is counted, one that nobody explains breaks the rule
``targets-agree``, with both sides' evidence. From then on the right side of the example is left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from conformance.fuzz import steps
from conformance.fuzz.comparing import Asked, Difference, Facet, compare
from conformance.fuzz.engine import Engine, Patient, RestlessError
from conformance.fuzz.seen import Seen
from conformance.fuzz.steps import Step
from multinet.kube.errors import KubeError


@dataclass(frozen=True, slots=True)
class Moment:
    """When two worlds differ: what was done so far, what pods asked for, and what the left side shows.

    ``parted``: what differs already, and is explained.
    """

    taken: Sequence[Step]
    asked: Asked
    left: Seen
    parted: frozenset[str] = frozenset()


class Other(Engine, Protocol):
    """The right side."""

    @property
    def name(self) -> str:
        """Who that is."""

    @property
    def exact(self) -> bool:
        """Whether it is the same implementation, so that even what is chosen freely must be the same."""

    def explain(self, difference: Difference, moment: Moment) -> str:
        """What decision or row the difference follows from; empty: none.

        It may change what it shows from now on, so that the explained difference is none any more.
        """


@dataclass(frozen=True, slots=True)
class Found:
    """The shortest sequence in which an explanation was needed; evidence is what either side showed."""

    taken: tuple[Step, ...]
    difference: Difference
    left: str
    right: str

    def to_data(self) -> dict[str, Any]:
        """For the report."""
        return {
            "steps": [steps.to_data(step) for step in self.taken],
            "told": [str(step) for step in self.taken],
            "difference": str(self.difference),
            "left": self.left,
            "right": self.right,
        }


class Pair:
    """An :class:`~conformance.fuzz.engine.Engine` of two. ``explained`` counts, ``shown`` has examples."""

    def __init__(self, left: Engine, right: Other) -> None:
        self.left, self.right = left, right
        self.explained: Counter[str] = Counter()
        self.shown: dict[str, Found] = {}
        self._start()

    def supports(self, kind: type[Step]) -> bool:
        """What both can do. With a bad connection two worlds have different luck."""
        return kind is not steps.LoseAnswers and self.left.supports(kind) and self.right.supports(kind)

    def reset(self) -> None:
        """Both are empty, and agree."""
        self.left.reset()
        self.right.reset()
        self._start()

    def do(self, step: Step) -> None:
        """Do the same on both sides, and compare."""
        self._taken.append(step)
        self._asked.note(step)
        self.left.do(step)
        if self._differs:
            return
        try:
            self.right.do(step)
        except (RestlessError, KubeError) as error:
            self._part(Difference(Facet.REST, "", "the step is done", str(error)))
            return
        self._compare()

    def observe(self) -> Seen:
        """The left side, and what nobody explains."""
        return replace(self.left.observe(), differs=self._differs)

    def more_time(self) -> bool:
        """Wait until something happens, as long as a side may still do something."""
        sides = [side for side in (self.left, self.right) if isinstance(side, Patient)]
        more = [side.more_time() for side in sides]
        return any(more)

    def close(self) -> None:
        """End both."""
        self.left.close()
        self.right.close()

    def report(self) -> dict[str, Any]:
        """What was explained, by explanation: how often, and the shortest example."""
        return {
            "against": self.right.name,
            "explained": {
                why: {"count": count, "example": self.shown[why].to_data()}
                for why, count in self.explained.most_common()
            },
        }

    def _start(self) -> None:
        self._taken: list[Step] = []
        self._asked = Asked()
        self._differs: tuple[str, ...] = ()
        self._known: set[tuple[str, str]] = set()

    def _compare(self) -> None:
        while True:
            left, right = self.left.observe(), self.right.observe()
            found = compare(left, right, self._asked, exact=self.right.exact)
            # What has been explained may end, and come again for another reason.
            self._known &= set(map(self._place, found))
            new = [item for item in found if self._place(item) not in self._known]
            if not new:
                return
            parted = frozenset(about for _, about in self._known)
            moment = Moment(self._taken, self._asked, left, parted)
            # One may follow from another that comes behind it, of another implementation that took its time.
            for item in new[:1] if self.right.exact else new:
                if why := self.right.explain(item, moment):
                    self._known.add(self._place(item))
                    self._book(why, item, left, right)
                    break
            else:
                if not self.more_time():
                    self._part(new[0])
                    return

    def _place(self, difference: Difference) -> tuple[str, str]:
        """What an explanation covers: of another implementation, all of a pod."""
        return (str(difference.facet) if self.right.exact else "", difference.about)

    def _book(self, why: str, difference: Difference, left: Seen, right: Seen) -> None:
        self.explained[why] += 1
        known = self.shown.get(why)
        if known is None or len(self._taken) < len(known.taken):
            about = difference.about
            self.shown[why] = Found(tuple(self._taken), difference, show(left, about), show(right, about))

    def _part(self, difference: Difference) -> None:
        """Nobody explains it: the example is over for the right side."""
        about = difference.about
        self._differs = (
            f"after {self._taken[-1]} nothing explains {difference}; "
            f"here {show(self.left.observe(), about)}; {self.right.name} {show(self.right.observe(), about)}",
        )


def show(seen: Seen, about: str) -> str:
    """The evidence: a pod's attachments, status and kernel, or the whole world's networks and remains."""
    pod = seen.pods.get(about)
    if pod is None:
        there = f"networks {dict(sorted(seen.networks.items()))}, left over {list(seen.leftovers)}"
        return f"{there}, misled {list(seen.misled)}"
    attached = [
        f"{item.interface}={item.nad or item.network} {'/'.join(item.ips)}".rstrip() for item in pod.recorded
    ]
    kernel = None if pod.kernel is None else [f"{item.name} {'/'.join(item.ips)}" for item in pod.kernel]
    running = "runs" if pod.running else "waits"
    return f"{running}, attached {attached}, kernel {kernel}, status {' '.join(pod.status.split()) or None}"
