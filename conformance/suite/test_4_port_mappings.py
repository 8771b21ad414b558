"""Sections 4.1.2.1.7 and 7.5: ports of the host, for one attachment, and for the pod as Kubernetes has it."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest

from conformance import requirement
from conformance.bench import PodWish, Space, selection
from conformance.evidence import Evidence
from conformance.oracles import Seen, addresses_of
from conformance.suite.answering import answering, ask
from conformance.suite.judging import runs
from conformance.target import Network
from multinet.model.objects import section

CONTAINER_PORT = 8000
# Each process of a run has ports of its own: a port of a node is one pod's.
_BASE = 21000 + 100 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = iter(range(_BASE, _BASE + 100))


def served(pod: Seen, network: Network, protocol: str, port: int, evidence: Evidence) -> str:
    """Which of the pod's interfaces is reached by its node's port."""
    host = str(section(pod.obj, "status").get("hostIP"))
    (other,) = pod.within(network.subnets[0])
    places = {"default": pod.default, "selected": other}
    with contextlib.ExitStack() as stack:
        for name, place in places.items():
            address = str(next(one for one in addresses_of(place) if one.version == 4))
            stack.enter_context(answering(place.netns, address, CONTAINER_PORT, protocol, name))
        answer = ask(host, port, protocol)
    evidence.saw(f"{host}:{port}/{protocol} is answered by the {answer or 'nobody'} interface")
    return answer


def mapped(space: Space, evidence: Evidence, **keys: Any) -> tuple[Seen, Network, int]:
    network, port = space.network("a"), next(_ports)
    mapping = {"hostPort": port, "containerPort": CONTAINER_PORT} | keys
    evidence.case(selection(name="a", portMappings=[mapping]))
    pod = space.pod(evidence.input)
    runs(pod, evidence)
    return pod, network, port


@pytest.mark.parametrize(("protocol", "written"), [("tcp", "TCP"), ("udp", "UDP"), ("tcp", "tCp")])
@requirement("NPWG-4.1.2.1.7-a")
def test_a_port_of_the_host_leads_to_that_interface(
    space: Space, evidence: Evidence, protocol: str, written: str
) -> None:
    pod, network, port = mapped(space, evidence, protocol=written)
    assert served(pod, network, protocol, port, evidence) == "selected"


@requirement("NPWG-4.1.2.1.7-f")
def test_without_protocol_it_is_tcp(space: Space, evidence: Evidence) -> None:
    pod, network, port = mapped(space, evidence)
    assert served(pod, network, "udp", port, evidence) == ""
    assert served(pod, network, "tcp", port, evidence) == "selected"


def _with_host_port(space: Space, port: int, networks: str | None) -> PodWish:
    container = space.bench.target.container() | {
        "ports": [{"containerPort": CONTAINER_PORT, "hostPort": port, "protocol": "TCP"}]
    }
    return PodWish(networks, spec={"containers": [container]})


@requirement("NPWG-7.5-b", "NPWG-7.5-a")
def test_a_host_port_of_the_pod_leads_to_the_default_interface(space: Space, evidence: Evidence) -> None:
    network, port = space.network("a"), next(_ports)
    evidence.case(f"a pod with hostPort {port}, and network a")
    pod = space.pod(_with_host_port(space, port, "a"))
    runs(pod, evidence)
    assert served(pod, network, "tcp", port, evidence) == "default"
