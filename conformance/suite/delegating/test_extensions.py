"""What Multus offers beyond the standard, EXT, and the forms of 1.0 that later versions replaced."""

from __future__ import annotations

import re

import pytest

from conformance import requirement
from conformance.api import NADS, PODS
from conformance.delegating import STATUS, single
from conformance.delegating.bench import Case
from conformance.recorder import Answer
from multinet.model.objects import Obj

MAC = "02:23:45:67:89:01"


@requirement("NPWG-4.1.2.1.3.2-a")
def test_addresses_as_args_of_cni(case: Case) -> None:
    case.nad("net-a")
    case.attach(case.pod([{"name": "net-a", "ips": ["10.2.2.42"]}]))
    args = case.one().config.get("args") or {}
    assert (args.get("cni") or {}).get("ips") == ["10.2.2.42"]


@requirement("NPWG-4.1.2.1.4.2-a")
def test_a_mac_as_args_of_cni(case: Case) -> None:
    case.nad("net-a")
    case.attach(case.pod([{"name": "net-a", "mac": MAC}]))
    args = case.one().config.get("args") or {}
    assert (args.get("cni") or {}).get("mac") == MAC


@requirement("EXT-1")
@pytest.mark.parametrize("own_namespace", [False, True])
def test_an_interface_after_the_name(case: Case, own_namespace: bool) -> None:
    case.nad("net-a")
    prefix = f"{case.namespace}/" if own_namespace else ""
    case.attach(case.pod(f"{prefix}net-a@x1,net-a"))
    first, second = case.exactly(2)
    assert first.ifname == "x1"
    assert second.ifname != "x1"


@requirement("EXT-2")
def test_a_pods_own_default_network(case: Case) -> None:
    case.nad("my-default", single("my-default"))
    wanted = f"{case.namespace}/my-default"
    outcome = case.add(case.pod(None, **{"v1.multus-cni.io__default-network": wanted}))
    assert outcome.ok, f"refused: {outcome}"
    seen = [(call.network, call.ifname) for call in case.recorder.calls("ADD")]
    assert seen == [("my-default", "eth0")]


@requirement("EXT-4")
def test_a_device_id_is_passed(case: Case) -> None:
    case.nad("net-a", single("net-a", "deviceID"))
    case.attach(case.pod([{"name": "net-a", "deviceID": "0000:04:00.5"}]))
    assert (case.one().config.get("runtimeConfig") or {}).get("deviceID") == "0000:04:00.5"


@requirement("EXT-5")
def test_the_old_key_for_the_interface(case: Case) -> None:
    case.nad("net-a")
    case.attach(case.pod([{"name": "net-a", "interfaceRequest": "x1"}]))
    assert case.one().ifname == "x1"


@requirement("EXT-6")
def test_the_old_annotation_is_gone(case: Case) -> None:
    pod = case.pod(None)
    case.attach(pod)
    obj = case.api.get(f"{PODS.format(pod.namespace)}/{pod.name}")
    assert STATUS.replace("network-status", "networks-status") not in obj["metadata"]["annotations"]


@requirement("EXT-7")
@pytest.mark.parametrize("found", [True, False], ids=["refused", "missing"])
def test_events_tell_what_was_attached_and_what_was_not_found(case: Case, found: bool) -> None:
    case.nad("net-a")
    if found:
        case.nad("net-b")
    case.recorder.answer(Answer(command="ADD", network="net-b", error={"code": 100, "msg": "no room"}))
    selection = [{"name": "net-a", "interface": "first7"}, {"name": "net-b", "interface": "second7"}]
    pod = case.pod(selection)
    assert not case.add(pod).ok, "accepted with a network that can't be attached"
    events = case.api.get(f"/api/v1/namespaces/{case.namespace}/events").get("items") or []
    told = [(event.get("reason"), str(event.get("message"))) for event in events]
    attached = {name for name in ("first7", "second7") if _is_told(told, "AddedInterface", name)}
    case.evidence.saw(told)
    assert attached <= {call.ifname for call in case.calls() if call.status == 0}, (
        f"an interface is told as added and was not: {told}"
    )
    assert not (found and _is_told(told, "NoNetworkFound", "net-b")), f"net-b is there: {told}"
    if not found and not _is_told(told, "NoNetworkFound", "net-b"):
        case.evidence.ambiguous(f"no NoNetworkFound when the call had ended, it may come later: {told}")
    if found and "first7" not in attached:
        case.evidence.ambiguous(f"no AddedInterface when the call had ended, it may come later: {told}")


def _is_told(told: list[tuple[str, str]], reason: str, name: str) -> bool:
    return any(kind == reason and re.search(rf"\b{name}\b", text) for kind, text in told)


@requirement("EXT-8")
def test_isolation_without_a_list_allows_the_default_namespace(case: Case) -> None:
    case.on_node(isolation=True)
    name = f"shared-{case.namespace}"
    case.nad(name, namespace="default")
    outcome = case.add(case.pod(f"default/{name}"))
    case.api.delete(f"{NADS.format('default')}/{name}")
    assert outcome.ok, f"refused: {outcome}"
    assert case.one().network == name


@requirement("EXT-10")
def test_gateway_mtu_and_dns_options_are_the_results(case: Case) -> None:
    case.nad("net-a")
    pod = case.pod("net-a")
    result = {
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "net1", "mac": MAC, "sandbox": f"/run/netns/{pod.container}", "mtu": 1400}],
        "ips": [{"address": "10.7.0.2/24", "gateway": "10.7.0.1", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.7.0.1"}],
        "dns": {"nameservers": ["10.7.0.53"], "options": ["ndots:2"]},
    }
    case.recorder.answer(Answer(command="ADD", network="net-a", result=result))
    case.attach(pod)
    found = case.entry(pod)
    flat = {**found, **found.get("dns", {})}
    told = {key: flat[key] for key in ("gateway", "mtu", "options") if key in flat}
    wanted: Obj = {"gateway": ["10.7.0.1"], "mtu": 1400, "options": ["ndots:2"]}
    case.evidence.saw(found)
    assert told == {key: wanted[key] for key in told}, f"not what the delegate's result says: {told}"
    if told != wanted:
        case.evidence.ambiguous(f"a type may have empty members; not told: {sorted(wanted.keys() - told)}")


@requirement("EXT-11")
def test_a_host_address_of_a_port_mapping(case: Case) -> None:
    case.nad("net-a", single("net-a", "portMappings"))
    mapping = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.1"}
    case.attach(case.pod([{"name": "net-a", "portMappings": [mapping]}]))
    (given,) = (case.one().config.get("runtimeConfig") or {}).get("portMappings") or [{}]
    assert given.get("hostIP") == "192.0.2.1"
