"""A network by its fq name, ready to attach to, or the refusal that says what is missing."""

from __future__ import annotations

from multinet.controller.errors import Refusal
from multinet.controller.view import View
from multinet.controller.waiting import network_topic
from multinet.model import naming
from multinet.model.naming import FqName
from multinet.model.networks import VirtualNetwork

ARRIVAL_S = 0.2
"""For what somebody else applies together with the pod."""
MAKING_S = 3.0
"""For what this controller itself is about to make."""


def ready_network(
    view: View,
    fq_name: FqName,
    what: str,
    topics: tuple[str, ...],
    patience: float,
    *,
    is_coming: bool = False,
) -> VirtualNetwork:
    """The network; raises ``Refusal``. ``is_coming``: this controller is about to make it."""
    topics = (*topics, network_topic(fq_name))
    vn = view.network_named(fq_name)
    if vn is None:
        raise Refusal(
            "NetworkNotFound",
            f"{what} does not exist",
            why=f"there is no VirtualNetwork {naming.fq_text(fq_name)}",
            next_step="create it, or correct the opencontrail.org/network annotation that names it",
            topics=topics,
            grace_s=patience,
            transient=is_coming,
        )
    network = view.read(vn)
    if network is None or network.ready is None or not network.ready.is_true:
        ready = network.ready if network is not None else None
        raise Refusal(
            "NetworkNotReady",
            f"{what} is not ready",
            why=ready.message if ready is not None else "the controller has not finished it",
            next_step=f"kubectl describe vn {vn['metadata']['name']}",
            topics=topics,
            grace_s=MAKING_S if ready is None else 0.0,
            transient=ready is None,
        )
    return network
