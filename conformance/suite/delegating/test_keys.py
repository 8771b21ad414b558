"""Keys of a selection on their way to the delegate: NPWG 4.1.2.1.3 to 4.1.2.1.10, delegating requirements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from conformance import requirement
from conformance.delegating import single
from conformance.delegating.bench import Case

MAC = "02:23:45:67:89:01"
GUID = "24:8a:07:03:00:8d:ae:2f"
MAPPINGS = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
LIMITS = {"ingressRate": 2048, "ingressBurst": 1600, "egressRate": 8000, "egressBurst": 1600}


def attached(
    case: Case, *capabilities: str, config: dict[str, Any] | None = None, **keys: Any
) -> dict[str, Any]:
    """Attach one network with these keys; what the delegate received."""
    case.nad("net-a", single("net-a", *capabilities, **(config or {})))
    case.attach(case.pod([{"name": "net-a", **keys}]))
    return case.one().config


@requirement("NPWG-4.1.2.1.3.2-b")
@pytest.mark.parametrize(
    "ips",
    [["10.2.2.42/24"], ["10.2.2.42"], ["10.2.2.42/24", "2001:db8::5/64"], ["2001:db8::5"]],
)
def test_addresses_are_a_capability_argument(case: Case, ips: list[str]) -> None:
    assert attached(case, "ips", ips=ips).get("runtimeConfig", {}).get("ips") == ips


@requirement("NPWG-4.1.2.1.4.2-b")
def test_a_mac_is_a_capability_argument(case: Case) -> None:
    assert attached(case, "mac", mac=MAC).get("runtimeConfig", {}).get("mac") == MAC


@requirement("NPWG-4.1.2.1.7.2-a")
def test_port_mappings_are_a_capability_argument(case: Case) -> None:
    found = attached(case, "portMappings", portMappings=MAPPINGS).get("runtimeConfig", {}).get("portMappings")
    assert found is not None
    assert [(one.get("hostPort"), one.get("containerPort"), one.get("protocol")) for one in found] in (
        [(8080, 80, "tcp")],
        [(8080, 80, "TCP")],
    )


@requirement("NPWG-4.1.2.1.7-e")
@pytest.mark.parametrize("protocol", ["tCp", "UDP", "sctp"])
def test_protocols_in_any_case(case: Case, protocol: str) -> None:
    mapping = {"hostPort": 1, "containerPort": 65535, "protocol": protocol}
    found = (
        attached(case, "portMappings", portMappings=[mapping]).get("runtimeConfig", {}).get("portMappings")
    )
    assert [str(one.get("protocol")).lower() for one in found or []] == [protocol.lower()]


@requirement("NPWG-4.1.2.1.7-f")
def test_without_a_protocol_it_is_tcp(case: Case) -> None:
    mapping = {"hostPort": 8080, "containerPort": 80}
    found = (
        attached(case, "portMappings", portMappings=[mapping]).get("runtimeConfig", {}).get("portMappings")
    )
    assert [item.get("protocol", "tcp").lower() for item in found or []] == ["tcp"]


@requirement("NPWG-4.1.2.1.8.2-a")
@pytest.mark.parametrize("limits", [LIMITS, {"ingressRate": 1000, "ingressBurst": 1000}])
def test_bandwidth_is_a_capability_argument(case: Case, limits: dict[str, int]) -> None:
    found = attached(case, "bandwidth", bandwidth=limits).get("runtimeConfig", {}).get("bandwidth") or {}
    assert {key: found.get(key) for key in limits} == limits


@requirement("NPWG-4.1.2.1.8.2-b")
def test_bursts_that_were_not_given(case: Case) -> None:
    found = attached(case, "bandwidth", bandwidth={"ingressRate": 2048}).get("runtimeConfig", {})
    limits = found.get("bandwidth") or {}
    assert limits.get("ingressRate") == 2048
    burst = limits.get("ingressBurst")
    case.evidence.ambiguous(f"filled in: {burst}" if burst else "left out")


@requirement("NPWG-4.1.2.1.10.2-a")
def test_a_guid_is_a_capability_argument(case: Case) -> None:
    guid: dict[str, Any] = {"infiniband-guid": GUID}
    found = attached(case, "infinibandGUID", **guid).get("runtimeConfig", {})
    assert found.get("infinibandGUID") == GUID


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("ips", ["10.2.2.42/24"], marks=requirement("NPWG-4.1.2.1.3.2-c")),
        pytest.param("mac", MAC, marks=requirement("NPWG-4.1.2.1.4.2-c")),
        pytest.param("portMappings", MAPPINGS, marks=requirement("NPWG-4.1.2.1.7.2-b", "NPWG-4.1.2.1.7-h")),
        pytest.param("bandwidth", LIMITS, marks=requirement("NPWG-4.1.2.1.8.2-c", "NPWG-4.1.2.1.8-h")),
        pytest.param("infiniband-guid", GUID, marks=requirement("NPWG-4.1.2.1.10.2-b")),
    ],
)
@pytest.mark.parametrize("declared", [(), ("aliases",)], ids=["none", "another"])
def test_what_no_plugin_can_do_fails(case: Case, key: str, value: Any, declared: tuple[str, ...]) -> None:
    case.nad("net-a", single("net-a", *declared))
    case.assert_refused(
        case.pod([{"name": "net-a", key: value}]), f"{key} without the capability", control="net-a"
    )


@pytest.mark.parametrize(
    ("capability", "key", "value"),
    [
        pytest.param("ips", "ips", ["10.2.2.42/24"], marks=requirement("NPWG-4.1.2.1.3.2-c")),
        pytest.param("mac", "mac", MAC, marks=requirement("NPWG-4.1.2.1.4.2-c")),
    ],
)
def test_a_capability_set_to_false_is_none(case: Case, capability: str, key: str, value: Any) -> None:
    case.nad("net-a", single("net-a", capabilities={capability: False}))
    case.assert_refused(
        case.pod([{"name": "net-a", key: value}]), f"{key} with the capability off", control="net-a"
    )


@requirement("NPWG-4.1.2.1.5.1-a")
@pytest.mark.parametrize("name", ["x1", "abcdefghijklmno", "foo_bar.1"])
def test_the_interface_name_is_passed(case: Case, name: str) -> None:
    case.nad("net-a")
    case.attach(case.pod([{"name": "net-a", "interface": name}]))
    assert case.one().ifname == name


@requirement("NPWG-4.1.2.1.5-d")
@pytest.mark.parametrize("names", [["x1", "x1"], ["eth0"], ["lo"]])
def test_an_interface_name_that_is_taken_fails(case: Case, names: list[str]) -> None:
    case.nad("net-a")
    case.real_interfaces()
    if names == ["lo"]:
        outcome = case.add(case.pod([{"name": "net-a", "interface": "lo"}]))
        if outcome.ok:
            case.evidence.ambiguous("left to the delegate, which could not make it")
        return
    pod = case.pod([{"name": "net-a", "interface": name} for name in names])
    case.assert_refused(pod, "a taken name", control="net-a")


@requirement("NPWG-4.1.2.1.6-a", "NPWG-4.1.2.1.6.2-a")
def test_cni_args_reach_the_delegate(case: Case) -> None:
    found = attached(case, **{"cni-args": {"spoofchk": "on", "deep": {"a": [1]}}}).get("args") or {}
    if "spoofchk" in found:
        case.evidence.ambiguous("directly under args")
        return
    assert found.get("cni") == {"spoofchk": "on", "deep": {"a": [1]}}


@requirement("NPWG-4.1.2.1.6.2-b")
def test_cni_args_come_before_the_nads_args(case: Case) -> None:
    own = {"args": {"cni": {"both": "nad", "nad": "nad"}, "labels": {"a": "b"}}}
    found = attached(case, config=own, **{"cni-args": {"both": "pod", "pod": "pod"}}).get("args") or {}
    if "both" in found:
        case.evidence.ambiguous("directly under args")
        assert found["both"] == "pod"
        return
    assert found == {"cni": {"both": "pod", "nad": "nad", "pod": "pod"}, "labels": {"a": "b"}}


@requirement("NPWG-4.1.2.1.6.2-c")
@pytest.mark.parametrize("args", ["text", ["list"], 5])
def test_args_of_a_wrong_type_fail_in_order(case: Case, args: object) -> None:
    case.nad("net-a", single("net-a", args=args))
    outcome = case.add(case.pod([{"name": "net-a", "cni-args": {"a": "b"}}]))
    if outcome.ok:
        case.evidence.ambiguous(f"accepted: the delegate received {case.one().config.get('args')}")


@requirement("NPWG-4.1.2.1.11-b")
def test_an_ipam_claim_reference_is_ignored_without_the_feature(case: Case) -> None:
    case.nad("net-a")
    case.attach(case.pod([{"name": "net-a", "ipam-claim-reference": "vm1.net-a"}]))
    assert case.one().network == "net-a"


def invalid(key: str, *values: Any, marks: Sequence[pytest.MarkDecorator] = ()) -> list[Any]:
    return [pytest.param(key, value, id=f"{key}={value}", marks=marks) for value in values]


@requirement("NPWG-4.1.2.1.3-e")
@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("ips", [], id="ips=[]", marks=requirement("NPWG-4.1.2.1.3-b")),
        *invalid("ips", ["300.1.1.1"], ["1.2.3"], [""], ["word"], "10.1.1.1", [5], [None], ["10.1.1.1/33"],
                 ["10.1.1.1", "x"], {"a": 1}, marks=[requirement("NPWG-4.1.2.1.3-c")]),
    ],
)  # fmt: skip
def test_invalid_addresses(case: Case, key: str, value: Any) -> None:
    case.nad("net-a", single("net-a", "ips"))
    case.nad("net-b")
    case.judge_invalid([{"name": "net-b"}, {"name": "net-a", key: value}])


@requirement("NPWG-4.1.2.1.4-b", "NPWG-4.1.2.1.4-c")
@pytest.mark.parametrize(
    ("key", "value"),
    invalid("mac", "", "zz:23:45:67:89:01", "02:23:45:67:89", "02:23:45:67:89:01:02:03", 5, None, [MAC],
            ":".join(["02"] * 20)),
)  # fmt: skip
def test_invalid_macs(case: Case, key: str, value: Any) -> None:
    case.nad("net-a", single("net-a", "mac"))
    case.nad("net-b")
    case.judge_invalid([{"name": "net-b"}, {"name": "net-a", key: value}], or_absent=value is None)


@requirement("NPWG-4.1.2.1.5-b", "NPWG-4.1.2.1.5-c")
@pytest.mark.parametrize(
    ("key", "value"), invalid("interface", "abcdefghijklmnop", "a/b", "a b", ".", "..", 5, None, ["x"])
)
def test_invalid_interface_names(case: Case, key: str, value: Any) -> None:
    case.nad("net-a")
    case.nad("net-b")
    case.judge_invalid([{"name": "net-b"}, {"name": "net-a", key: value}], or_absent=value is None)


def mapping(**changes: Any) -> list[dict[str, Any]]:
    made = {**MAPPINGS[0], **changes}
    return [{key: value for key, value in made.items() if value != "left out"}]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([], marks=requirement("NPWG-4.1.2.1.7-b", "NPWG-4.1.2.1.7-g")),
        *(
            pytest.param(mapping(hostPort=port), marks=requirement("NPWG-4.1.2.1.7-c", "NPWG-4.1.2.1.7-g"))
            for port in ("left out", 0, 65536, 70000, -1, "80", 80.5, None)
        ),
        *(
            pytest.param(mapping(containerPort=port), marks=requirement("NPWG-4.1.2.1.7-d"))
            for port in ("left out", 0, 65536, -1, "80", 80.5, None)
        ),
        *(
            pytest.param(mapping(protocol=text), marks=requirement("NPWG-4.1.2.1.7-e"))
            for text in ("icmp", "", 6, None)
        ),
        pytest.param({"hostPort": 1}, marks=requirement("NPWG-4.1.2.1.7-g")),
        pytest.param([None], marks=requirement("NPWG-4.1.2.1.7-g")),
    ],
)
def test_invalid_port_mappings(case: Case, value: Any) -> None:
    case.nad("net-a", single("net-a", "portMappings"))
    case.nad("net-b")
    null = value == mapping(protocol=None)
    case.judge_invalid([{"name": "net-b"}, {"name": "net-a", "portMappings": value}], or_absent=null)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({}, marks=requirement("NPWG-4.1.2.1.8-c", "NPWG-4.1.2.1.8-g")),
        *(
            pytest.param({"ingressRate": rate}, marks=requirement("NPWG-4.1.2.1.8-d", "NPWG-4.1.2.1.8-g"))
            for rate in (0, "1000", 1.5, None)
        ),
        pytest.param({"ingressBurst": 1000}, marks=requirement("NPWG-4.1.2.1.8-e")),
        pytest.param({"ingressBurst": 1000, "egressRate": 1000}, marks=requirement("NPWG-4.1.2.1.8-e")),
        pytest.param({"egressBurst": 1000}, marks=requirement("NPWG-4.1.2.1.8-f")),
        pytest.param({"egressBurst": 1000, "ingressRate": 1000}, marks=requirement("NPWG-4.1.2.1.8-f")),
        pytest.param([], marks=requirement("NPWG-4.1.2.1.8-g")),
        pytest.param("1M", marks=requirement("NPWG-4.1.2.1.8-g")),
    ],
)
def test_invalid_bandwidth(case: Case, value: Any) -> None:
    case.nad("net-a", single("net-a", "bandwidth"))
    case.nad("net-b")
    null = value == {"ingressRate": None}
    case.judge_invalid([{"name": "net-b"}, {"name": "net-a", "bandwidth": value}], or_absent=null)


@requirement("NPWG-4.1.2.1.9-b", "NPWG-4.1.2.1.9-c")
@pytest.mark.parametrize(
    "routes", [(["10.0.0.1"], ["10.0.0.1"]), ([], ["10.0.0.1"]), (["10.0.0.1"], ["fd00::1"])]
)
def test_two_elements_with_a_default_route(case: Case, routes: tuple[list[str], list[str]]) -> None:
    case.nad("net-a")
    case.nad("net-b")
    first, second = routes
    case.judge_invalid(
        [{"name": "net-a", "default-route": first}, {"name": "net-b", "default-route": second}]
    )


@requirement("NPWG-4.1.2.1.10-b", "NPWG-4.1.2.1.10-c")
@pytest.mark.parametrize("guid", ["", "24:8a:07:03:00:8d", "x", ":".join(["24"] * 20), 5, None])
def test_invalid_guids(case: Case, guid: Any) -> None:
    case.nad("net-a", single("net-a", "infinibandGUID"))
    case.nad("net-b")
    case.judge_invalid(
        [{"name": "net-b"}, {"name": "net-a", "infiniband-guid": guid}], or_absent=guid is None
    )
