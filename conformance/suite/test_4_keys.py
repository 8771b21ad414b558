"""Section 4.1.2.1: what the keys of a selection do, and what is refused where a target can't do it."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from conformance import requirement
from conformance.bench import Space, selection
from conformance.evidence import Evidence
from conformance.oracles import Seen, addresses_of
from conformance.profiles import Feature
from conformance.suite.judging import (
    attached,
    expect_attached,
    is_refused,
    leaves_nothing,
    runs,
    why,
    with_control,
)
from conformance.target import ClusterTarget, Network


def host(network: Network, number: int, family: int = 0) -> str:
    """An address of a network's subnet."""
    return str(ipaddress.ip_network(network.subnets[family])[number])


def unsupported(target: ClusterTarget, feature: Feature, pod: Seen, evidence: Evidence) -> bool:
    """Whether the target does not claim the feature; then the pod must have been refused, not let through."""
    if feature in target.claim.features:
        return False
    assert not pod.runs, f"{feature} is not claimed, and was ignored instead of refused: {pod.summary()}"
    leaves_nothing(pod, evidence)
    evidence.unsupported_ok(f"refused: {why(pod)}")
    return True


@requirement("NPWG-4.1.2.1.3-a", unsupported="test")
def test_requested_addresses_are_assigned(space: Space, evidence: Evidence) -> None:
    a = space.network("a")
    pod = with_control(space, evidence, selection(name="a", ips=[host(a, 77)]), a)
    if unsupported(space.bench.target, Feature.IPS, pod, evidence):
        return
    runs(pod, evidence)
    attached(pod, a)
    (found,) = pod.within(a.subnets[0])
    addresses = [str(one) for one in addresses_of(found)]
    assert host(a, 77) in addresses
    if len(addresses) > 1:
        evidence.saw(f"others beside it: {addresses}")


@requirement("NPWG-4.1.2.1.3-d")
def test_a_prefix_length_may_be_there(space: Space, evidence: Evidence) -> None:
    a = space.network("a")
    length = a.subnets[0].partition("/")[2]
    pods = space.pods(
        without=selection(name="a", ips=[host(a, 11)]),
        having=selection(name="a", ips=[f"{host(a, 12)}/{length}"]),
    )
    evidence.case([f"{host(a, 11)}", f"{host(a, 12)}/{length}"])
    for name, number in (("without", 11), ("having", 12)):
        runs(pods[name], evidence)
        (found,) = pods[name].within(a.subnets[0])
        assert host(a, number) in [str(one) for one in addresses_of(found)]


@requirement("NPWG-4.1.2.1.3-f")
@pytest.mark.parametrize("length", [32, 16])
def test_another_prefix_length_is_honoured_or_refused(space: Space, evidence: Evidence, length: int) -> None:
    a = space.network("a")
    pod = with_control(space, evidence, selection(name="a", ips=[f"{host(a, 13)}/{length}"]), a)
    if not pod.runs:
        leaves_nothing(pod, evidence)
        return
    (found,) = pod.within(a.subnets[0])
    assert host(a, 13) in [str(one) for one in addresses_of(found)], pod.summary()


@requirement("NPWG-4.1.2.1.3-g")
def test_addresses_of_both_families(space: Space, evidence: Evidence) -> None:
    dual = space.network("dual", space.subnet(), space.subnet6())
    wanted = {host(dual, 21), host(dual, 33, 1)}
    evidence.case(selection(name="dual", ips=sorted(wanted)))
    pod = space.pod(evidence.input)
    runs(pod, evidence)
    (found,) = pod.within(dual.subnets[0])
    assert wanted <= {str(one) for one in addresses_of(found)}, pod.summary()


@requirement("NPWG-4.1.2.1.3-h")
def test_an_address_in_use_is_not_given_again(space: Space, evidence: Evidence) -> None:
    a = space.network("a")
    text = selection(name="a", ips=[host(a, 31)])
    first = space.pod(text)
    runs(first, evidence)
    second = with_control(space, evidence, text, a)
    assert not second.runs, f"two pods, one address asked for: {second.summary()}"
    leaves_nothing(second, evidence)


@requirement("NPWG-4.1.2.1.4-a", unsupported="test")
def test_the_requested_mac(space: Space, evidence: Evidence) -> None:
    a = space.network("a")
    pod = with_control(space, evidence, selection(name="a", mac="02:00:00:0a:0b:0c"), a)
    if unsupported(space.bench.target, Feature.MAC, pod, evidence):
        return
    runs(pod, evidence)
    (found,) = pod.within(a.subnets[0])
    assert found.mac == "02:00:00:0a:0b:0c"


@requirement("NPWG-4.1.2.1.4-a")
def test_a_mac_in_upper_case(space: Space, evidence: Evidence) -> None:
    a = space.network("a")
    evidence.case(selection(name="a", mac="02:00:00:0A:0B:0D"))
    pod = space.pod(evidence.input)
    runs(pod, evidence)
    (found,) = pod.within(a.subnets[0])
    assert found.mac == "02:00:00:0a:0b:0d"


@pytest.mark.parametrize("name", ["x", "data0", "foo_bar.1", "fifteen-chars-0", "UPPER-Case"])
@requirement("NPWG-4.1.2.1.5-a", "NPWG-4.1.2.1.5-b")
def test_the_requested_interface_name(shared: Space, a: Network, evidence: Evidence, name: str) -> None:
    pod = expect_attached(shared, evidence, selection(name="a", interface=name), a)
    assert [one.interface for one in pod.within(a.subnets[0])] == [name]


@requirement("NPWG-4.1.2.1.5-d")
def test_a_name_twice_in_one_selection(shared: Space, a: Network, evidence: Evidence) -> None:
    text = selection({"name": "a", "interface": "x1"}, {"name": "a", "interface": "x1"})
    is_refused(with_control(shared, evidence, text, a), evidence)


@requirement("NPWG-4.1.2.1.5-d")
def test_names_that_the_pod_has_already(shared: Space, a: Network, evidence: Evidence) -> None:
    default = shared.pod("a").default.interface
    for name in (default, "lo"):
        is_refused(with_control(shared, evidence, selection(name="a", interface=name), a), evidence)


@requirement("NPWG-4.1.2.1.5-d")
def test_a_made_up_name_does_not_take_a_requested_one(shared: Space, a: Network, evidence: Evidence) -> None:
    made_up = shared.pod("a,a").others[0].interface
    evidence.case(selection({"name": "a"}, {"name": "a", "interface": made_up}))
    pod = shared.pod(evidence.input)
    if pod.runs:
        attached(pod, a, a)
        assert made_up in {one.interface for one in pod.others}, pod.summary()
    else:
        leaves_nothing(pod, evidence)


@pytest.mark.parametrize(
    ("keys", "feature"),
    [
        pytest.param(
            {"portMappings": [{"hostPort": 8080, "containerPort": 80}]},
            Feature.PORT_MAPPINGS,
            marks=requirement("NPWG-4.1.2.1.7-h"),
        ),
        pytest.param(
            {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "uDp"}]},
            Feature.PORT_MAPPINGS,
            marks=requirement("NPWG-4.1.2.1.7-h"),
        ),
        pytest.param(
            {"bandwidth": {"ingressRate": 1000000}}, Feature.BANDWIDTH, marks=requirement("NPWG-4.1.2.1.8-h")
        ),
        pytest.param(
            {"bandwidth": {"egressRate": 1000000, "egressBurst": 2000}},
            Feature.BANDWIDTH,
            marks=requirement("NPWG-4.1.2.1.8-h"),
        ),
    ],
)
def test_what_can_not_be_done_is_refused(
    shared: Space, a: Network, evidence: Evidence, keys: dict[str, Any], feature: Feature
) -> None:
    if feature in shared.bench.target.claim.features:
        evidence.not_applicable(f"the target claims {feature} for its networks")
    is_refused(with_control(shared, evidence, selection({"name": "a"} | keys), a), evidence)


@requirement("NPWG-4.1.2.1.11-b")
def test_a_claim_is_ignored_by_who_has_no_claims(shared: Space, a: Network, evidence: Evidence) -> None:
    if Feature.IPAM_CLAIM_REFERENCE in shared.bench.target.claim.features:
        evidence.not_applicable("the target has claims")
    pod = with_control(shared, evidence, selection({"name": "a", "ipam-claim-reference": "my.claim"}), a)
    if not pod.runs:
        leaves_nothing(pod, evidence)
        evidence.fail_closed(f"refused: {why(pod)}")
        return
    attached(pod, a)
