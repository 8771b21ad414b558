"""Dialects: where observed behaviour of Contrail R20/21 and the standard differ, one named decision each.

The code asks the dialect for a decision and never for its name. A decision is here when code consults it,
and not before: ``tests/model/test_dialect.py`` holds this list against the sources, and against the table
of ``docs/dialects.md``, which says what is documented, what the standard asks, and why.

Row numbers (N.., P.., O..) are those of the reading of Contrail's sources that the tests are named after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Dialect:
    """One value per decision."""

    name: str

    grammar: Literal["standard", "first-character"]
    """How the selection is read: NPWG 4, or by its first character, untrimmed, most keys dropped (P1-P3)."""

    skip_unknown_networks: bool
    """A selection that names an unknown NAD is left out silently (P4, P-M3), instead of failing the pod."""

    interface_names_may_clash: bool
    """A requested name is neither avoided by the others nor checked against eth0 (P9, P13)."""

    tells_users: bool
    """What goes wrong is told in Events and conditions, instead of in a log only (N7, P-M1, P20)."""

    waits_for_causes: bool
    """A refused pod is looked at again when its cause is mended, not only when the pod changes (P16)."""

    half_built_pods: bool
    """A pod whose attachment breaks off keeps what was made and is never completed (P-M4, P-M5)."""

    accepts_only_contrail_type: bool
    """Only a single config of type ``contrail-k8s-cni`` counts: no list, no empty config (1.2)."""

    cidr_grammar: Literal["documented", "netaddr"]
    """Which CIDRs make a network: useful ones, several of both families; or what netaddr reads (N21)."""

    needs_namespace_first: bool
    """A NAD that is seen before its namespace makes no network (N16)."""

    nads_share_networks: bool
    """A NAD takes any network that has the name it computes, whoever made it (N14, N29, N32)."""

    networks_keep_first_definition: bool
    """A network is never changed after its creation, and nobody is told (N25, N29)."""

    nads_are_remembered: bool
    """What a NAD first asked for counts until its deletion or a restart (N5, N25)."""

    networks_found_by_last_name: bool
    """A deleted NAD takes the network with it whose last name part is its own (N30-N32)."""

    orphan_networks_in_use: bool
    """The network of a NAD deleted in use, or while nobody looked, stays for good (N28, R3)."""

    finished_pods_keep_addresses: bool
    """Succeeded and Failed pods keep interfaces and addresses until they are deleted (P22)."""

    controller_writes_status: bool
    """network-status is written with the interfaces' objects, before the interfaces exist (O5)."""

    status_form: Literal["standard", "contrail"]
    """One entry per attachment with NPWG's keys; or one per bare name with ips as one string (O6-O8)."""

    repairs_damage: bool
    """What somebody removes or damages (status, interfaces, the default network) is made again (O5, R4)."""


DEFAULT = Dialect(
    name="default",
    grammar="standard",
    skip_unknown_networks=False,
    interface_names_may_clash=False,
    tells_users=True,
    waits_for_causes=True,
    half_built_pods=False,
    accepts_only_contrail_type=False,
    cidr_grammar="documented",
    needs_namespace_first=False,
    nads_share_networks=False,
    networks_keep_first_definition=False,
    nads_are_remembered=False,
    networks_found_by_last_name=False,
    orphan_networks_in_use=False,
    finished_pods_keep_addresses=False,
    controller_writes_status=False,
    status_form="standard",
    repairs_damage=True,
)

CONTRAIL_CLASSIC = Dialect(
    name="contrail-classic",
    grammar="first-character",
    skip_unknown_networks=True,
    interface_names_may_clash=True,
    tells_users=False,
    waits_for_causes=False,
    half_built_pods=True,
    accepts_only_contrail_type=True,
    cidr_grammar="netaddr",
    needs_namespace_first=True,
    nads_share_networks=True,
    networks_keep_first_definition=True,
    nads_are_remembered=True,
    networks_found_by_last_name=True,
    orphan_networks_in_use=True,
    finished_pods_keep_addresses=True,
    controller_writes_status=True,
    status_form="contrail",
    repairs_damage=False,
)

DIALECTS = {dialect.name: dialect for dialect in (DEFAULT, CONTRAIL_CLASSIC)}
