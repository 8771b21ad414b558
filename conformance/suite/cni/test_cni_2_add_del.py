"""CNI, section 2: what ADD makes, what DEL takes back, and what both do when something is in the way."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from conformance.cnicall import IFNAME, Caller, Container, ip, previous
from conformance.evidence import Evidence
from conformance.snapshot import Snapshot
from multinet.model.objects import Obj


@pytest.fixture
def settled(attaching: Caller, containers: Callable[[], Container]) -> Snapshot:
    """The node with what the network keeps for itself: after an attachment has come and gone."""
    container = containers()
    attaching("ADD", container)
    attaching("DEL", container)
    container.remove()
    first = Snapshot.take()
    while (now := Snapshot.take()) != first:
        first = now
    return now


def nothing_is_left(before: Snapshot, evidence: Evidence) -> None:
    """Compare the node with what it was."""
    after = before.settle()
    evidence.saw({"left": before.added(after), "gone": before.gone(after)})
    assert before.added(after) == []
    assert before.gone(after) == []


@pytest.mark.requirement("CNI-ADD-1", "CNI-ADD-3")
def test_add_makes_the_interface(attaching: Caller, container: Container, evidence: Evidence) -> None:
    evidence.case(f"ADD with CNI_IFNAME={IFNAME}", "that interface, up, with the result's addresses")
    result = attaching("ADD", container).result
    link = container.links().get(IFNAME)
    evidence.saw(link or "no such interface")
    assert link is not None
    assert "UP" in link["flags"]
    interfaces = result.get("interfaces", [])
    told = {
        item["address"]
        for item in result.get("ips", ())
        if "interface" not in item or interfaces[item["interface"]]["name"] == IFNAME
    }
    assert container.addresses(IFNAME) == told


@pytest.mark.requirement("CNI-ADD-2", "CNI-ADD-6")
def test_an_interface_of_that_name_is_there(
    attaching: Caller, settled: Snapshot, container: Container, evidence: Evidence
) -> None:
    evidence.case(f"ADD where {IFNAME} is there already", "an error; the interface stays; nothing is left")
    ip("link", "add", "name", IFNAME, "type", "bridge", inside=container.id)
    mac = container.links()[IFNAME]["address"]
    done = attaching("ADD", container)
    evidence.saw(done)
    assert done.error
    assert container.links()[IFNAME]["address"] == mac
    attaching("DEL", container)
    nothing_is_left(settled, evidence)


@pytest.mark.requirement("CNI-ADD-6")
@pytest.mark.parametrize("netns", ["/run/netns/nowhere", "/proc/self/ns/mnt", "/etc/hostname"])
def test_a_namespace_that_is_none(
    attaching: Caller, settled: Snapshot, container: Container, evidence: Evidence, netns: str
) -> None:
    evidence.case(f"ADD with CNI_NETNS={netns}", "an error, and nothing is left after DEL")
    done = attaching("ADD", container, CNI_NETNS=netns)
    evidence.saw(done)
    assert done.error
    attaching("DEL", container, CNI_NETNS=netns)
    nothing_is_left(settled, evidence)


@pytest.mark.requirement("CNI-ADD-7")
def test_a_second_add_of_the_same_pair(attaching: Caller, container: Container, evidence: Evidence) -> None:
    evidence.case("ADD twice", "an error; the first attachment stays as it was")
    attaching("ADD", container)
    before = container.links()[IFNAME], container.addresses(IFNAME), container.destinations()
    second = attaching("ADD", container)
    evidence.saw(second)
    assert second.error
    assert (container.links()[IFNAME], container.addresses(IFNAME), container.destinations()) == before


@pytest.mark.requirement("CNI-ADD-4", "CNI-CONV-4")
def test_a_previous_result_is_printed_again(caller: Caller, container: Container, evidence: Evidence) -> None:
    ifname = IFNAME if caller.call.needs_previous else "before0"
    given = previous(container, ifname, caller.version)
    evidence.case({"prevResult": given}, "its interfaces and addresses are in the result")
    result = caller("ADD", container, config=caller.config(prevResult=given)).result
    evidence.saw(result)
    assert given["interfaces"][0]["name"] in {item["name"] for item in result["interfaces"]}
    address = next(item for item in result["ips"] if item["address"] == given["ips"][0]["address"])
    assert result["interfaces"][address["interface"]]["name"] == ifname


@pytest.mark.requirement("CNI-DEL-7")
def test_del_prints_nothing(attaching: Caller, container: Container, evidence: Evidence) -> None:
    evidence.case("ADD and DEL", "no output of DEL")
    attaching("ADD", container)
    done = attaching("DEL", container)
    evidence.saw(done)
    assert done.stdout.strip() == ""


@pytest.mark.requirement("CNI-DEL-1")
def test_del_three_times(attaching: Caller, container: Container, evidence: Evidence) -> None:
    evidence.case("DEL three times", "success each time")
    result = attaching("ADD", container).result
    config = attaching.config(prevResult=result)
    done = [attaching("DEL", container, config=config) for _ in range(3)]
    evidence.saw([str(each) for each in done])
    assert [each.status for each in done] == [0] * 3


@pytest.mark.requirement("CNI-DEL-2", "CNI-DEL-4")
@pytest.mark.parametrize("netns", [None, "", "gone"])
def test_del_without_a_namespace(
    attaching: Caller, settled: Snapshot, container: Container, evidence: Evidence, netns: str | None
) -> None:
    evidence.case(f"DEL with CNI_NETNS {netns!r}", "success, and nothing is left")
    result = attaching("ADD", container).result
    container.remove()
    given = container.netns if netns == "gone" else netns
    done = attaching("DEL", container, config=attaching.config(prevResult=result), CNI_NETNS=given)
    evidence.saw(done)
    assert done.status == 0, str(done)
    nothing_is_left(settled, evidence)


@pytest.mark.requirement("CNI-DEL-3", "CNI-DEL-4")
@pytest.mark.parametrize("given", ["absent", "empty", "own"])
def test_del_takes_back_what_add_made(
    attaching: Caller, settled: Snapshot, container: Container, evidence: Evidence, given: str
) -> None:
    evidence.case(f"ADD and DEL, prevResult {given}", "the node and the container are as before")
    result = attaching("ADD", container).result
    known: dict[str, Obj] = {"absent": {}, "empty": {"prevResult": {}}, "own": {"prevResult": result}}
    done = attaching("DEL", container, config=attaching.config(**known[given]))
    evidence.saw(done)
    assert done.status == 0, str(done)
    assert set(container.links()) == {"lo"}
    nothing_is_left(settled, evidence)


@pytest.mark.requirement("CNI-DEL-6")
def test_del_of_a_container_that_was_never_added(
    attaching: Caller, containers: Callable[[], Container], evidence: Evidence
) -> None:
    kept, foreign = containers(), containers()
    attaching("ADD", kept)
    before = Snapshot.take(), json.dumps(kept.links()[IFNAME]), kept.addresses(IFNAME)
    evidence.case(f"DEL of {foreign.id}", "success; the other container keeps everything")
    done = attaching("DEL", foreign)
    evidence.saw(done)
    assert done.status == 0, str(done)
    assert (Snapshot.take(), json.dumps(kept.links()[IFNAME]), kept.addresses(IFNAME)) == before
