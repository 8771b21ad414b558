"""CNI, CHECK: the attachment is as ADD left it, and every part that is missing is noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.cnicall import IFNAME, Caller, Container, Outcome, ip
from conformance.evidence import Evidence
from conformance.snapshot import Snapshot
from multinet.model.objects import Obj


def check(caller: Caller, container: Container, result: Obj) -> Outcome:
    """CHECK with the result of ADD."""
    return caller("CHECK", container, config=caller.config(prevResult=result))


@pytest.mark.requirement("CNI-CHK-5", "CNI-CHK-8")
def test_check_after_add(attaching: Caller, containers: Callable[[], Container], evidence: Evidence) -> None:
    evidence.case("ADD and CHECK, three times", "success and no output")
    for container in (containers() for _ in range(3)):
        done = check(attaching, container, attaching("ADD", container).result)
        evidence.saw(done)
        assert (done.status, done.stdout.strip()) == (0, ""), str(done)


@pytest.mark.requirement("CNI-CHK-1")
@pytest.mark.parametrize("part", ["address", "mac", "interface"])
def test_previous_result_is_what_is_expected(
    attaching: Caller, container: Container, evidence: Evidence, part: str
) -> None:
    result = attaching("ADD", container).result
    position = next(n for n, item in enumerate(result["interfaces"]) if item["name"] == IFNAME)
    address = next((item for item in result["ips"] if item.get("interface", position) == position), None)
    if part == "address":
        if address is None:
            evidence.not_applicable("the plugin assigns no address")
        address["address"] = "198.51.100.77/24"
    elif part == "mac":
        result["interfaces"][position]["mac"] = "02:99:99:99:99:99"
    else:
        result["interfaces"][position]["name"] = "other7"
    evidence.case({"prevResult": result}, f"an error: the {part} is another one")
    done = check(attaching, container, result)
    evidence.saw(done)
    assert done.error


@pytest.mark.requirement("CNI-CHK-2")
@pytest.mark.parametrize("part", ["interface", "address", "route"])
def test_something_has_gone(attaching: Caller, container: Container, evidence: Evidence, part: str) -> None:
    result = attaching("ADD", container).result
    if part == "interface":
        ip("link", "delete", IFNAME, inside=container.id)
    elif part == "address":
        if not container.addresses(IFNAME):
            evidence.not_applicable("the plugin assigns no address")
        ip("address", "flush", "dev", IFNAME, inside=container.id)
    else:
        if not result.get("routes"):
            evidence.not_applicable("the plugin makes no route that its result tells")
        for route in result["routes"]:
            ip("route", "delete", route["dst"], inside=container.id)
    evidence.case(f"CHECK after the {part} was deleted", "an error")
    done = check(attaching, container, result)
    evidence.saw(done)
    assert done.error


@pytest.mark.requirement("CNI-CHK-3")
def test_a_reservation_has_gone(attaching: Caller, container: Container, evidence: Evidence) -> None:
    before = Snapshot.take()
    result = attaching("ADD", container).result
    files = [line.removeprefix("file ") for line in before.added(Snapshot.take()) if line.startswith("file ")]
    if not files:
        evidence.not_applicable("the plugin keeps no reservation in files")
    for path in files:
        Path(path).unlink()
    evidence.case(f"CHECK after {', '.join(files)} was deleted", "an error")
    done = check(attaching, container, result)
    evidence.saw(done)
    assert done.error


@pytest.mark.requirement("CNI-CHK-4")
def test_what_later_plugins_changed_is_borne(
    attaching: Caller, container: Container, evidence: Evidence
) -> None:
    result = attaching("ADD", container).result
    ip("route", "add", "198.51.100.0/24", "dev", IFNAME, inside=container.id)
    ip("address", "add", "203.0.113.7/32", "dev", IFNAME, inside=container.id)
    evidence.case("CHECK after a route and an address were added", "success")
    done = check(attaching, container, result)
    evidence.saw(done)
    assert (done.status, done.stdout.strip()) == (0, ""), str(done)


@pytest.mark.requirement("CNI-CHK-7")
def test_check_before_there_was_check(
    attaching: Caller, container: Container, versions: tuple[str, ...], evidence: Evidence
) -> None:
    if "0.3.1" not in versions:
        evidence.not_applicable("the plugin does not speak 0.3.1")
    config = attaching.config(cniVersion="0.3.1")
    result = attaching("ADD", container, config=config).result
    evidence.case({**config, "prevResult": "..."}, "recorded")
    done = attaching("CHECK", container, config={**config, "prevResult": result})
    evidence.ambiguous(done)
