"""What Multus offers beyond the standard, EXT, and the forms of 1.0 that later versions replaced."""

from __future__ import annotations

import pytest

from conformance import requirement
from conformance.api import NADS, PODS
from conformance.delegating import STATUS, single
from conformance.delegating.bench import Case

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
@pytest.mark.parametrize(("networks", "reason"), [("net-a", "AddedInterface"), ("missing", "NoNetworkFound")])
def test_events(case: Case, networks: str, reason: str) -> None:
    case.nad("net-a")
    case.add(case.pod(networks))
    found = case.api.get(f"/api/v1/namespaces/{case.namespace}/events").get("items") or []
    reasons = {event.get("reason") for event in found}
    if reason not in reasons:
        case.evidence.ambiguous(
            f"none when the call had ended, which may be before it is sent: {reasons or 'none'}"
        )


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
def test_gateway_and_dns_options_are_told(case: Case) -> None:
    case.nad("net-a")
    pod = case.pod("net-a")
    case.attach(pod)
    found = {key for entry in case.status(pod) or [] for key in entry}
    case.evidence.ambiguous(f"keys of the status: {sorted(found)}")


@requirement("EXT-11")
def test_a_host_address_of_a_port_mapping(case: Case) -> None:
    case.nad("net-a", single("net-a", "portMappings"))
    mapping = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.1"}
    case.attach(case.pod([{"name": "net-a", "portMappings": [mapping]}]))
    (given,) = (case.one().config.get("runtimeConfig") or {}).get("portMappings") or [{}]
    assert given.get("hostIP") == "192.0.2.1"
