"""The cells of a matrix arranged for reading: rows and columns of interfaces, protocols inside a cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reports.model import Cell
from reports.verdicts import Verdict, combine


@dataclass(frozen=True, slots=True, order=True)
class End:
    """One interface of one pod."""

    pod: str
    interface: str


@dataclass(frozen=True, slots=True)
class Pair:
    """All protocols from one interface to another; ``anchor`` is its id in the page."""

    source: End
    destination: End
    cells: tuple[Cell, ...]
    verdict: Verdict
    anchor: str

    @property
    def expected(self) -> str:
        """What was expected, in one word when all protocols agree."""
        words = {cell.expected for cell in self.cells}
        return words.pop() if len(words) == 1 else "mixed"

    @property
    def crosses(self) -> str:
        """The tunnel that the pair crosses, or nothing."""
        return next((cell.crosses for cell in self.cells if cell.crosses), "")


_SETTLED = (Verdict.PASS, Verdict.NOT_APPLICABLE)


@dataclass(frozen=True, slots=True)
class Grid:
    """A whole matrix. ``rows[i][j]`` is None where nothing was probed (an interface to itself).

    ``sources`` name the rows. ``ends`` are the columns: all of those, and what only was a destination.
    """

    sources: tuple[End, ...]
    ends: tuple[End, ...]
    protocols: tuple[str, ...]
    rows: tuple[tuple[Pair | None, ...], ...]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs, row by row."""
        return tuple(pair for row in self.rows for pair in row if pair is not None)

    @property
    def wrong(self) -> tuple[Pair, ...]:
        """The pairs that aren't as expected."""
        return tuple(pair for pair in self.pairs if pair.verdict not in _SETTLED)

    @property
    def right(self) -> tuple[Pair, ...]:
        """The pairs that are, or of which nothing is expected."""
        return tuple(pair for pair in self.pairs if pair.verdict in _SETTLED)


_ORDER = ("arp", "icmp", "udp", "tcp", "nd", "icmp6", "udp6", "tcp6")


def _rank(protocol: str) -> tuple[int, str]:
    return (_ORDER.index(protocol) if protocol in _ORDER else len(_ORDER), protocol)


def arrange(cells: Iterable[Cell], prefix: str) -> Grid:
    """Arrange ``cells``; ``prefix`` makes the anchors of several grids on one page differ."""
    by_pair: dict[tuple[End, End], list[Cell]] = {}
    for cell in cells:
        key = (
            End(cell.source, cell.source_interface),
            End(cell.destination, cell.destination_interface),
        )
        by_pair.setdefault(key, []).append(cell)
    sources = tuple(sorted({source for source, _ in by_pair}))
    others = {destination for _, destination in by_pair} - set(sources)
    ends = (*sources, *sorted(others))
    protocols = tuple(sorted({cell.protocol for found in by_pair.values() for cell in found}, key=_rank))
    rows = []
    for i, source in enumerate(sources):
        row: list[Pair | None] = []
        for j, destination in enumerate(ends):
            found = by_pair.get((source, destination))
            row.append(_pair(source, destination, found, f"{prefix}-{i}-{j}") if found else None)
        rows.append(tuple(row))
    return Grid(sources, ends, protocols, tuple(rows))


def _pair(source: End, destination: End, cells: list[Cell], anchor: str) -> Pair:
    counted = [cell.verdict for cell in cells if cell.verdict is not Verdict.NOT_APPLICABLE]
    verdict = combine(counted) if counted else Verdict.NOT_APPLICABLE
    ordered = tuple(sorted(cells, key=lambda cell: _rank(cell.protocol)))
    return Pair(source, destination, ordered, verdict, anchor)
