"""Status of delegated attachments: NPWG 5, from the results of the recorder."""

from __future__ import annotations

import json
from ipaddress import ip_interface
from typing import Any

import pytest

from conformance import requirement
from conformance.delegating import DEFAULT, listed, single
from conformance.delegating.bench import Case
from conformance.recorder import Answer
from multinet.model.objects import Obj

HOST = {"name": "br0", "mac": "02:00:00:00:00:01"}
POD = {"name": "net1", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/x"}
SECOND = {"name": "net2", "mac": "02:00:00:00:00:03", "sandbox": "/run/netns/x"}
RICH = {
    "ips": [{"address": "10.7.0.2/24", "gateway": "10.7.0.1", "interface": 0}],
    "routes": [{"dst": "0.0.0.0/0", "gw": "10.7.0.1"}],
    "dns": {"nameservers": ["10.7.0.53"], "options": ["ndots:2"]},
}
KNOWN = {
    "name", "interface", "ips", "mac", "default", "dns", "default-route", "device-info",
}  # fmt: skip


def entry(case: Case, **result: Any) -> Obj:
    """The status entry of one network whose delegate answers so."""
    found = entries(case, **result)
    assert len(found) == 1, f"{len(found)} entries of selected networks, expected 1: {found}"
    return found[0]


def entries(case: Case, **result: Any) -> list[Obj]:
    """The status entries of one network whose delegate answers so."""
    made = {"cniVersion": "1.0.0", "interfaces": [], "ips": [], **result}
    case.recorder.answer(Answer(command="ADD", network="net-a", result=made))
    case.nad("net-a")
    pod = case.pod("net-a")
    case.attach(pod)
    return case.entries(pod)


def bare(addresses: list[str] | None) -> list[str]:
    return [str(ip_interface(address).ip) for address in addresses or []]


@requirement("NPWG-5-b", "NPWG-5-c", "NPWG-5.x-a")
@pytest.mark.parametrize("networks", [None, "net-a", "net-a,net-b", "net-a,net-a"])
def test_as_many_entries_as_attachments(case: Case, networks: str | None) -> None:
    case.nad("net-a")
    case.nad("net-b")
    pod = case.pod(networks)
    case.attach(pod)
    found = case.status(pod)
    assert found is not None, "no status under the standard's key"
    assert len(found) == 1 + len(networks.split(",") if networks else [])


@requirement("NPWG-4.2-c")
def test_one_network_twice_has_two_entries(case: Case) -> None:
    case.nad("net-a")
    pod = case.pod("net-a,net-a")
    case.attach(pod)
    found = case.entries(pod)
    assert len(found) == 2
    assert len({one.get("interface") for one in found}) == 2


@requirement("NPWG-4.2-c", "NPWG-5.3.1-b", "NPWG-5.3.1-c")
def test_one_name_in_two_namespaces_has_two_entries(case: Case) -> None:
    case.nad("net-a")
    case.nad("net-a", namespace=case.other)
    pod = case.pod(f"net-a,{case.other}/net-a")
    case.attach(pod)
    names = sorted(str(one.get("name")) for one in case.entries(pod))
    assert names == sorted([f"{case.namespace}/net-a", f"{case.other}/net-a"])


@requirement("NPWG-5.2-a", "NPWG-5.2-b", "NPWG-5.3.5-b")
@pytest.mark.parametrize("networks", [None, "net-a,net-a"])
def test_the_default_network_has_the_one_default_entry(case: Case, networks: str | None) -> None:
    case.nad("net-a")
    pod = case.pod(networks)
    case.attach(pod)
    defaults = [one for one in case.status(pod) or [] if one.get("default") is True]
    assert len(defaults) == 1
    assert defaults[0].get("interface") == "eth0"


@requirement("NPWG-5.3.5-b")
def test_two_sandbox_interfaces_of_the_default_network_are_one_default(case: Case) -> None:
    first = {**POD, "name": "eth0"}
    result = {
        "cniVersion": "1.0.0",
        "interfaces": [first, SECOND],
        "ips": [{"address": "10.1.1.1/24", "interface": 0}],
    }
    case.recorder.answer(Answer(command="ADD", network=DEFAULT, result=result))
    pod = case.pod(None)
    case.attach(pod)
    assert [one.get("default") for one in case.status(pod) or []].count(True) == 1


@requirement("NPWG-5.3.5-a")
def test_default_is_in_each_entry(case: Case) -> None:
    case.nad("net-a")
    pod = case.pod("net-a")
    case.attach(pod)
    found = case.entry(pod)
    if "default" not in found:
        case.evidence.ambiguous("left out where it would be false, as in the text's examples")
        return
    assert found.get("default") is False


@requirement("NPWG-5.3-a")
@pytest.mark.parametrize(
    "result", [{}, {"interfaces": [{**POD, "mtu": 1400}], **RICH}], ids=["plain", "rich"]
)
def test_keys_are_the_standards_or_have_a_dot(case: Case, result: Obj) -> None:
    extra = {key for key in entry(case, **result) if key not in KNOWN and "." not in key}
    assert not extra, f"keys without a dot that the standard does not have: {sorted(extra)}"


@requirement("NPWG-5.3.1-a", "NPWG-5.3.1-b", "NPWG-5.3.1-c")
def test_names_are_those_of_nads(case: Case) -> None:
    case.nad("net-a", single("inner-name"))
    pod = case.pod("net-a")
    case.attach(pod)
    assert [one.get("name") for one in case.entries(pod)] == [f"{case.namespace}/net-a"]
    assert all(isinstance(one.get("name"), str) and one.get("name") for one in case.status(pod) or [])


@requirement("NPWG-5.1-a", "NPWG-5.1.1-c", "NPWG-5.3.2-a", "NPWG-5.3.3-a", "NPWG-5.3.4-a", "NPWG-5.3.3-b")
def test_an_entry_says_what_the_delegate_said(case: Case) -> None:
    addresses = [{"address": "10.9.8.7/24", "interface": 0}, {"address": "2001:db8::7/64", "interface": 0}]
    found = entry(case, interfaces=[POD], ips=addresses)
    assert found.get("interface") == "net1"
    assert found.get("mac") == POD["mac"]
    assert isinstance(found.get("ips"), list)
    assert bare(found.get("ips")) == ["10.9.8.7", "2001:db8::7"]


@requirement("NPWG-5.1.1-a", "NPWG-5.3.2.1-a", "NPWG-5.3.4.1-a")
@pytest.mark.parametrize(
    ("interfaces", "expected"),
    [
        ([HOST, POD], POD),
        ([POD, SECOND], POD),
        ([HOST, SECOND, POD], SECOND),
        ([{**HOST, "sandbox": ""}, POD], POD),
    ],
    ids=["host-first", "two", "host-then-two", "empty-sandbox"],
)
def test_an_entry_is_of_the_first_sandbox_interface(
    case: Case, interfaces: list[dict[str, str]], expected: dict[str, str]
) -> None:
    found = entry(case, interfaces=interfaces)
    assert found.get("interface") == expected["name"]
    assert found.get("mac") == expected["mac"]


@requirement("NPWG-5.3.3.1-a")
@pytest.mark.parametrize(
    ("interfaces", "indexes", "expected"),
    [
        ([HOST, POD], [0, 1], ["10.0.0.2"]),
        ([HOST, POD], [1, 0], ["10.0.0.1"]),
        ([POD, SECOND], [0, 1], ["10.0.0.1"]),
        ([POD], [0, 0], ["10.0.0.1", "10.0.0.2"]),
        ([HOST, POD, SECOND], [2, 1], ["10.0.0.2"]),
    ],
)
def test_addresses_are_those_of_that_interface(
    case: Case, interfaces: list[dict[str, str]], indexes: list[int], expected: list[str]
) -> None:
    ips = [
        {"address": f"10.0.0.{place}/24", "interface": index} for place, index in enumerate(indexes, start=1)
    ]
    assert bare(entry(case, interfaces=interfaces, ips=ips).get("ips")) == expected


@requirement("NPWG-5.3.3.1-b")
@pytest.mark.parametrize("interfaces", [[], [HOST]], ids=["none", "host-only"])
@pytest.mark.parametrize("index", [None, -1])
def test_without_a_sandbox_interface_the_first_free_address(
    case: Case, interfaces: list[dict[str, str]], index: int | None
) -> None:
    owned: list[Obj] = [{"address": "10.0.0.1/24", "interface": 0}] if interfaces else []
    free: Obj = (
        {"address": "10.0.0.2/24"} if index is None else {"address": "10.0.0.2/24", "interface": index}
    )
    found = bare(entry(case, interfaces=interfaces, ips=[*owned, free]).get("ips"))
    assert found[:1] == ["10.0.0.2"], f"status has {found}"


@requirement("NPWG-5.3.3.1-c")
def test_otherwise_there_are_no_addresses(case: Case) -> None:
    found = entry(case, interfaces=[HOST, POD], ips=[{"address": "10.0.0.1/24", "interface": 0}])
    assert not found.get("ips"), f"the host's address is in the status: {found['ips']}"


@requirement("NPWG-5.3.4-b")
@pytest.mark.parametrize("interfaces", [[], [HOST], [POD], [{**POD, "name": ""}]])
def test_a_mac_comes_with_its_interface(case: Case, interfaces: list[dict[str, str]]) -> None:
    found = next(iter(entries(case, interfaces=interfaces)), {})
    well = not found.get("mac") or found.get("interface")
    if not well and interfaces[0] != POD:
        case.evidence.ambiguous(f"the delegate's interface has no name: {found}")
        return
    assert well, found


@requirement("NPWG-2.3-a")
def test_an_attachment_without_addresses(case: Case) -> None:
    found = entry(case, interfaces=[POD])
    assert not found.get("ips")
    assert found.get("interface") == "net1"


@requirement("NPWG-2.3-b")
def test_an_attachment_without_an_interface(case: Case) -> None:
    found = [one.get("name") for one in entries(case)]
    if not found:
        case.evidence.ambiguous("accepted; the status does not tell of it")
        return
    assert found == [f"{case.namespace}/net-a"]


@requirement("NPWG-5.1.1-b")
@pytest.mark.parametrize("stdout", ["", "{}"])
def test_no_result_makes_a_minimal_entry(case: Case, stdout: str) -> None:
    case.recorder.answer(Answer(command="ADD", network="net-a", stdout=stdout))
    case.nad("net-a", {**single("net-a"), "cniVersion": "0.3.1"})
    pod = case.pod("net-a")
    outcome = case.add(pod)
    if not outcome.ok:
        case.evidence.ambiguous(f"refused: {outcome.answer['msg']}")
        return
    found = [one.get("name") for one in case.entries(pod)]
    if stdout and not found:
        case.evidence.ambiguous("an empty map is taken for a result that tells nothing: no entry")
        return
    assert found == [f"{case.namespace}/net-a"]


@requirement("NPWG-5.1.1-d", "NPWG-5.3.3.1-d")
def test_a_result_of_an_old_version(case: Case) -> None:
    result = {"cniVersion": "0.2.0", "ip4": {"ip": "10.0.0.4/24"}, "ip6": {"ip": "2001:db8::4/64"}}
    case.recorder.answer(Answer(command="ADD", network="net-a", result=result))
    case.nad("net-a", {**single("net-a"), "cniVersion": "0.2.0"})
    pod = case.pod("net-a")
    outcome = case.add(pod)
    if not outcome.ok:
        case.evidence.not_applicable(f"0.2.0 is refused: {outcome}")
    found = case.entry(pod)
    assert sorted(bare(found.get("ips"))) == ["10.0.0.4", "2001:db8::4"]


@requirement("NPWG-5.3.2.1-b")
def test_the_interface_of_an_old_result_is_the_one_asked_for_or_none(case: Case) -> None:
    case.nad("net-a", {**single("net-a"), "cniVersion": "0.2.0"})
    pod = case.pod("net-a")
    if not case.add(pod).ok:
        case.evidence.not_applicable("0.2.0 is refused")
    assert {one.get("interface", "") for one in case.entries(pod)} <= {"", case.one().ifname}


@requirement("NPWG-5.3.6-a", "NPWG-5.3.6.1-a", "NPWG-5.3.6.2-a", "NPWG-5.3.6.3-a", "NPWG-5.1.1-c")
def test_dns_of_the_result(case: Case) -> None:
    dns = {"nameservers": ["10.0.0.53", "2001:db8::53"], "domain": "example.com", "search": ["a.example.com"]}
    found = entry(case, interfaces=[POD], dns=dns).get("dns")
    assert isinstance(found, dict)
    assert {key: found.get(key) for key in dns} == dns


@requirement("NPWG-5.x-b", "NPWG-7.2-a")
def test_a_failed_setup_leaves_no_entries(case: Case) -> None:
    case.nad("net-a")
    case.nad("net-b")
    case.recorder.answer(Answer(command="ADD", network="net-b", error={"code": 100, "msg": "told so"}))
    pod = case.pod("net-a,net-b")
    assert not case.add(pod).ok
    case.delete(pod)
    found = [one.get("name") for one in case.status(pod) or []]
    assert not [name for name in found if str(name).endswith(("net-a", "net-b"))], f"status still has {found}"


@requirement("NPWG-5.x-c")
@pytest.mark.parametrize(
    "result",
    [
        {"interfaces": [POD], "ips": [{"address": "10.0.0.1/24", "interface": 0, "gateway": None}]},
        {"interfaces": [{"name": "net1", "sandbox": "/ns"}], "dns": {}},
        {"interfaces": [POD], "ips": [], "dns": {"nameservers": []}, "routes": [{"dst": "0.0.0.0/0"}]},
    ],
)
def test_no_value_is_the_remains_of_a_missing_one(case: Case, result: Obj) -> None:
    found = entry(case, **result)
    remains = {key: value for key, value in found.items() if _is_remains(json.dumps(value))}
    assert not remains.keys() & KNOWN, found
    if remains:
        # That there is such a key at all is for NPWG-5.3-a to judge.
        case.evidence.ambiguous(f"under keys that the standard does not have: {remains}")


def _is_remains(text: str) -> bool:
    return any(word in text for word in ("<nil>", "null", '"0.0.0.0', '[""]'))


@requirement("NPWG-5.x-d")
@pytest.mark.parametrize("name", ["a", "with.dots.in-it", "p" * 63, "pod-0", "pod-00"])
def test_status_does_not_depend_on_the_pods_name(case: Case, name: str) -> None:
    case.nad("net-a")
    pod = case.pod("net-a", name=name)
    case.attach(pod)
    assert len(case.status(pod) or []) == 2


@requirement("NPWG-5.1.1-a", "NPWG-3.2-d")
def test_a_list_is_told_by_its_last_plugin(case: Case) -> None:
    changed = {"cniVersion": "1.0.0", "interfaces": [{**POD, "mac": "02:00:00:00:00:99"}], "ips": []}
    case.recorder.answer(Answer(command="ADD", plugin="second", result=changed))
    case.nad("net-a", listed("net-a", single(None), single(None, plugin="second")))
    pod = case.pod("net-a")
    case.attach(pod)
    found = case.entry(pod)
    assert found.get("mac") == "02:00:00:00:00:99"
