"""Dialects: where observed behaviour of Contrail R20/21 and the standard differ, one named decision each.

The code asks the dialect and never its name. A decision is here when code consults it, and not before.
``tests/model/test_dialect.py`` holds the list against the source.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """One value per decision; the numbers refer to ``contrail-behaviour``'s rows."""

    name: str

    skip_unknown_networks: bool
    """A selection that names an unknown NAD is left out silently (P4), instead of failing the pod."""

    finished_pods_keep_addresses: bool
    """Succeeded and Failed pods keep interfaces and addresses until they are deleted (P22)."""

    orphan_networks_in_use: bool
    """The network of a NAD deleted while in use stays forever (N28), instead of until its last user."""


DEFAULT = Dialect(
    name="default",
    skip_unknown_networks=False,
    finished_pods_keep_addresses=False,
    orphan_networks_in_use=False,
)

CONTRAIL_CLASSIC = Dialect(
    name="contrail-classic",
    skip_unknown_networks=True,
    finished_pods_keep_addresses=True,
    orphan_networks_in_use=True,
)

DIALECTS = {dialect.name: dialect for dialect in (DEFAULT, CONTRAIL_CLASSIC)}
