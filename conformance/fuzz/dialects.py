"""The right side that is the same implementation in another dialect, and which decision explains what.

Decisions are tried, not guessed: a difference is explained by the fewest decisions with which, decided as on
the left side, the same steps no longer show it. They stay decided so for the rest of the example: then the
sides agree again, and what differs next has a cause of its own. And a decision explains only what the table
below lets it show in, which says for each row of ``docs/dialects.md`` where users may see it.
"""

from __future__ import annotations

import dataclasses
import gc
from collections import Counter
from collections.abc import Callable, Mapping

from conformance.fuzz.comparing import Difference, Facet, compare
from conformance.fuzz.differential import Moment
from conformance.fuzz.engine import Engine
from conformance.fuzz.seen import Seen
from conformance.fuzz.steps import Step
from multinet.errors import MultinetError
from multinet.model.dialect import Dialect

_POD = frozenset(
    {
        Facet.ATTACHED,
        Facet.ADDRESSES,
        Facet.RUNNING,
        Facet.KERNEL,
        Facet.STATUS,
        Facet.POD_IPS,
        Facet.FORWARDING,
    }
)
_NETWORK = _POD | {Facet.NETWORKS}
_STAYS = _NETWORK | {Facet.REMAINS}
# So many worlds are let go of before their memory is taken back.
_TRIED_MOST = 30
#: Where a decision may show, by its row in docs/dialects.md.
SHOWS: Mapping[str, frozenset[Facet]] = {
    "grammar": _POD,
    "skip_unknown_networks": _POD,
    "interface_names_may_clash": _POD,
    "tells_users": frozenset(),
    "waits_for_causes": _POD,
    "half_built_pods": _STAYS,
    "accepts_only_contrail_type": _NETWORK,
    "cidr_grammar": _NETWORK,
    "needs_namespace_first": _NETWORK,
    "nads_share_networks": _NETWORK,
    "networks_keep_first_definition": _NETWORK,
    "nads_are_remembered": _NETWORK,
    "networks_found_by_last_name": _STAYS,
    "orphan_networks_in_use": _STAYS,
    "finished_pods_keep_addresses": _STAYS,
    "controller_writes_status": frozenset({Facet.STATUS}),
    "status_form": frozenset({Facet.STATUS}),
    "repairs_damage": _STAYS,
}


class OtherDialect:
    """An :class:`~conformance.fuzz.differential.Other`. ``make`` gives an engine of a dialect."""

    exact = True

    def __init__(self, make: Callable[[Dialect], Engine], left: Dialect, right: Dialect) -> None:
        self._make, self._left, self._right = make, left, right
        self._now, self._engine = right, make(right)
        self._tried = 0
        self._habit: Counter[tuple[Facet, tuple[str, ...]]] = Counter()

    @property
    def name(self) -> str:
        """The dialect's."""
        return self._right.name

    def supports(self, kind: type[Step]) -> bool:
        """What the engine can do."""
        return self._engine.supports(kind)

    def reset(self) -> None:
        """An empty world, with all decisions of the dialect."""
        # Campaigns leave garbage until a batch ends; here it is whole worlds.
        if self._tried >= _TRIED_MOST:
            self._tried = 0
            gc.collect()
        if self._now == self._right:
            self._engine.reset()
        else:
            self._adopt(self._right, self._make(self._right))

    def do(self, step: Step) -> None:
        """Carry out a step."""
        self._engine.do(step)

    def observe(self) -> Seen:
        """Look at everything."""
        return self._engine.observe()

    def close(self) -> None:
        """End it."""
        self._engine.close()

    def explain(self, difference: Difference, moment: Moment) -> str:
        """The decisions that it follows from; they are the left side's from now on."""
        apart = [name for name in SHOWS if getattr(self._now, name) != getattr(self._left, name)]
        apart = [name for name in apart if difference.facet in SHOWS[name]]
        best = self._without(tuple(apart), difference, moment) if apart else None
        if best is None:
            return ""  # nor does any one of them
        # What has explained such a difference before explains most; but one decision before several.
        usual = [names for (facet, names), _ in self._habit.most_common() if facet == difference.facet]
        usual = [names for names in usual if set(names) <= set(apart)]
        single = ((name,) for name in apart if (name,) not in usual)
        for names in sorted((*usual, *single), key=len):
            engine = self._without(names, difference, moment)
            if engine is not None:
                best.close()
                return self._chosen(names, engine, difference.facet)
        return self._fewest(tuple(apart), best, difference, moment)

    def _fewest(self, names: tuple[str, ...], best: Engine, difference: Difference, moment: Moment) -> str:
        """Of several that together explain it, as in ``best``, those that it takes."""
        for name in names:
            fewer = tuple(other for other in names if other != name)
            engine = self._without(fewer, difference, moment)
            if engine is not None:
                best.close()
                names, best = fewer, engine
        return self._chosen(names, best, difference.facet)

    def _without(self, names: tuple[str, ...], difference: Difference, moment: Moment) -> Engine | None:
        """A world in which these are decided as on the left side, if it does not show the difference."""
        self._tried += 1
        engine = self._make(self._decided(names))
        try:
            for step in moment.taken:
                engine.do(step)
            found = compare(moment.left, engine.observe(), moment.asked, exact=True)
        except MultinetError:
            found = [difference]  # a mixture that nobody asks for
        if any(difference.same_place(item) for item in found):
            engine.close()
            return None
        return engine

    def _chosen(self, names: tuple[str, ...], engine: Engine, facet: Facet) -> str:
        self._adopt(self._decided(names), engine)
        self._habit[facet, names] += 1
        return f"docs/dialects.md: {' and '.join(sorted(names))}"

    def _decided(self, names: tuple[str, ...]) -> Dialect:
        return dataclasses.replace(self._now, **{name: getattr(self._left, name) for name in names})

    def _adopt(self, dialect: Dialect, engine: Engine) -> None:
        self._engine.close()
        self._now, self._engine = dialect, engine
