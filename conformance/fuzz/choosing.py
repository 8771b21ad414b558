"""Which rule comes next, and with what: hypothesis gives some bytes for each step, we make the step of them.

hypothesis' own way to a step (a flag for each rule, a sample of the rules, a draw for each part of each
argument) takes a dozen draws, and each is entered in its books: that alone cost as much as a simulated
cluster's whole answer to the step. One draw is as random, is repeated, mutated and kept in the database just
the same; only hypothesis' shrinker would find nothing to hold on to, and it is not used
(docs/decisions/0030-steps-are-cut-directly.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
_BYTES = 8


class Luck:
    """A number that choices are taken off, one after the other."""

    __slots__ = ("_left",)

    def __init__(self, number: int) -> None:
        self._left = number

    def below(self, count: int) -> int:
        """A number from 0 to ``count - 1``."""
        self._left, number = divmod(self._left, count)
        return number

    def one_of(self, options: Sequence[T]) -> T:
        """One of them, each as likely as the others."""
        return options[self.below(len(options))]


LUCK: SearchStrategy[Luck] = st.nothing()
"""What every rule takes for its one argument; :class:`Choosing` gives it."""
# At times hypothesis gives a constant of one of our modules instead of random bytes, and then a seed's
# choices hang on what is imported. None of the constants that it takes is longer than 50 bytes.
_DRAWN = 51
_SWARM = 64


class Choosing(SearchStrategy[Any]):
    """Chooses a rule whose preconditions hold, in place of the strategy that hypothesis makes for a machine.

    With ``swarm`` an example does without some of the rules: how many is chosen first, then which. Where
    none that is left may be applied, any may.
    """

    def __init__(self, machine: Any, *, swarm: bool) -> None:
        super().__init__()
        self._machine = machine
        self._rules = [
            rule
            for rule in machine._rules_strategy.rules
            for _ in range(machine.WEIGHTS.get(rule.function.__name__, 1))
        ]
        self._left_in = [] if swarm else self._rules
        self._steps = 0

    def do_draw(self, data: Any) -> tuple[Any, dict[str, Luck]]:
        """The rule and its argument."""
        if not self._left_in:
            self._left_in = self._subset(data.draw_bytes(_SWARM, _SWARM))
        self._steps += 1
        # Each batch of examples begins with the simplest draws of all, zeros: here a walk of the batch's own.
        drawn = int.from_bytes(data.draw_bytes(_DRAWN, _DRAWN)[:_BYTES], "big")
        luck = Luck(drawn or self._scrambled())
        found = self._valid(self._left_in, luck) or self._valid(self._rules, luck)
        assert found is not None, "time may always pass"
        return found, {"luck": luck}

    def _scrambled(self) -> int:
        told = f"{self._machine.number} {self._steps}".encode()
        return int.from_bytes(hashlib.blake2b(told, digest_size=_BYTES).digest(), "big")

    def _subset(self, drawn: bytes) -> list[Any]:
        chance, *each = drawn
        left = [rule for rule, number in zip(self._rules, each, strict=False) if number >= chance]
        return left or [self._rules[each[-1] % len(self._rules)]]

    def _valid(self, rules: Sequence[Any], luck: Luck) -> Any:
        candidates = list(rules)
        while candidates:
            number = luck.below(len(candidates))
            rule = candidates[number]
            if all(holds(self._machine) for holds in rule.preconditions):
                return rule
            candidates[number] = candidates[-1]
            candidates.pop()
        return None
