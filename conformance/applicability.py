"""Which rows a test decides in this run, and why not the others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pytest

from conformance.catalogue import Catalogue, Row
from conformance.profiles import Profile
from conformance.target import Claim
from multinet.errors import InputError

STANDARD = "npwg"
"""The document that the option for the version speaks about; other documents' rows hold in all versions."""

# Sections of some documents have words for names, which no marker can have.
_NUMBERED = re.compile(r"\d+(\.\d+)*")

NOT_SELECTED = "no profile of it is tested"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is tested: profiles and version, against a claim."""

    catalogue: Catalogue
    claim: Claim
    profiles: frozenset[Profile]
    version: str

    def why_not(self, row: Row, *, although_unsupported: bool = False) -> str:
        """Why a row is not applicable; empty when it is."""
        if not self.profiles & set(row.profiles):
            return NOT_SELECTED
        if self.catalogue.document_of(row).id == STANDARD and not row.holds_in(self.version):
            last = f" to {row.until}" if row.until else ""
            return f"version {self.version} of the standard does not have it (from {row.since}{last})"
        missing = sorted(set(row.features) - self.claim.features)
        if missing and not although_unsupported:
            return f"the target does not claim {', '.join(missing)}"
        return ""


@dataclass(frozen=True, slots=True)
class Rows:
    """A test's rows: those it decides, and why it doesn't decide the others."""

    decided: tuple[str, ...]
    excluded: dict[str, str]

    @property
    def deselected(self) -> bool:
        """Whether the run is about none of them at all."""
        return not self.decided and set(self.excluded.values()) <= {NOT_SELECTED}


def rows_of(item: pytest.Item, scope: Scope) -> Rows | None:
    """The rows of a test; None when it names none. Wrong names are ``pytest.UsageError`` with the place."""
    decided: list[str] = []
    excluded: dict[str, str] = {}
    for row, although in _named(item, scope.catalogue):
        why = scope.why_not(row, although_unsupported=although)
        if why:
            excluded[row.id] = why
        else:
            decided.append(row.id)
    return Rows(tuple(dict.fromkeys(decided)), excluded) if decided or excluded else None


def _named(item: pytest.Item, catalogue: Catalogue) -> Iterator[tuple[Row, bool]]:
    for marker in item.iter_markers("requirement"):
        for name in marker.args:
            try:
                row = catalogue[name]
            except InputError as error:
                raise _misuse(item, str(error)) from None
            if row.untestable:
                raise _misuse(item, f"{name} is listed as untestable: {row.untestable}")
            yield row, marker.kwargs.get("unsupported") == "test"


def _misuse(item: pytest.Item, text: str) -> pytest.UsageError:
    path, line, _ = item.reportinfo()
    return pytest.UsageError(f"{path}:{(line or 0) + 1}: {item.name}: {text}")


def markers_of(rows: Collection[Row]) -> Iterator[str]:
    """What ``-m`` can select by: ``profile-core``, ``level-must-not``, ``section-4``, ``section-4.1`` ..."""
    for row in rows:
        yield from (f"profile-{profile}" for profile in row.profiles)
        yield f"level-{row.level.lower().replace(' ', '-')}"
        for section in filter(_NUMBERED.fullmatch, row.section.split(", ")):
            parts = section.split(".")
            yield from (f"section-{'.'.join(parts[: end + 1])}" for end in range(len(parts)))
