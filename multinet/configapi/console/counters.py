"""Live counters of interfaces, asked of the node agents at the moment a page is shown.

An agent that does not answer in time leaves its interfaces without numbers; the page is shown all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from aiohttp import ClientError, ClientSession, ClientTimeout

from multinet.configapi.view import View
from multinet.kube.resources import NODES
from multinet.model.objects import Obj, section

AGENT_PORT = 8085
#: The numbers a page shows, and their headings.
SHOWN = (
    ("receivedPackets", "Packets in"),
    ("sentPackets", "Packets out"),
    ("receivedBytes", "Bytes in"),
    ("sentBytes", "Bytes out"),
    ("receiveDrops", "Drops in"),
    ("sendDrops", "Drops out"),
)
_LIMIT = ClientTimeout(total=0.5)
_log = logging.getLogger(__name__)

Counters = Mapping[str, int]


def addresses_of(view: View, nodes: Iterable[str]) -> list[str]:
    """The internal IPs of the named nodes, sorted."""
    wanted, found = set(nodes), set()
    for key, node in view.objects(NODES).items():
        if key in wanted:
            found |= {str(a["address"]) for a in _addresses(node) if a.get("type") == "InternalIP"}
    return sorted(found)


async def fetch(addresses: Iterable[str]) -> dict[str, Counters]:
    """Counters of all interfaces on these nodes by ``<vni>/<mac>``, asked of all agents at once."""
    async with ClientSession(timeout=_LIMIT) as session:
        answers = await asyncio.gather(*(_ask(session, address) for address in addresses))
    return {key: counters for answer in answers for key, counters in answer.items()}


async def _ask(session: ClientSession, address: str) -> dict[str, Counters]:
    try:
        async with session.get(f"http://{address}:{AGENT_PORT}/counters") as answer:
            answer.raise_for_status()
            found: dict[str, Counters] = await answer.json()
            return found
    except (ClientError, TimeoutError, ValueError) as error:
        _log.info("no counters from the agent at %s: %r", address, error)
        return {}


def _addresses(node: Obj) -> list[Obj]:
    return list(section(node, "status").get("addresses") or ())
