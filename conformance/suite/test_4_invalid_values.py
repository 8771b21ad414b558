"""Section 4.1.2.1: values that make the whole annotation invalid, "and ignored".

Three outcomes: ignored, so that the pod has the default network only; refused, with nothing left behind; or a
pod that runs with some or all of the networks, which is unsafe. Beside the bad element each selection has a
good one, which must not be attached either.
"""

from __future__ import annotations

from typing import Any

import pytest

from conformance import requirement
from conformance.bench import Space, selection
from conformance.evidence import Evidence
from conformance.oracles import Seen
from conformance.suite.judging import shown, three_outcomes, with_control
from conformance.target import Network

_ADDRESSES: dict[str, list[Any]] = {
    "b": [[]],
    "c": [["300.1.1.1"], ["1.2.3"], [""], ["word"], [5], "10.1.1.1", {"a": 1}, None],
}
_MACS = [
    "zz:00:00:00:00:01",
    "02:00:00:00:00",
    "02:00:00:00:00:00:00:01",
    "020000000001x",
    "",
    5,
    ["02:00:00:00:00:01"],
]
_TWENTY_BYTES = ":".join(["00"] * 12 + ["02", "00", "00", "00", "00", "00", "00", "01"])
_NAMES = ["sixteen-chars-00", "a/b", "a b", ".", "..", 5, "tab\there"]
_PORTS: dict[str, list[Any]] = {
    "b": [[]],
    "c": [{"containerPort": 80}]
    + [{"hostPort": bad, "containerPort": 80} for bad in (0, 65536, -1, "80", 80.5)],
    "d": [{"hostPort": 80}] + [{"hostPort": 80, "containerPort": bad} for bad in (0, 65536, -1, "80", 80.5)],
    "e": [{"hostPort": 80, "containerPort": 80, "protocol": bad} for bad in ("icmp", "", 6)],
}
_BANDWIDTHS: dict[str, list[Any]] = {
    "c": [{}],
    "d": [{"ingressRate": bad} for bad in (0, "1M", 1.5)] + [{"egressRate": 0}],
    "e": [{"ingressBurst": 1000}],
    "f": [{"egressBurst": 1000}, {"ingressRate": 1000, "egressBurst": 1000}],
}


def _cases() -> list[tuple[str, Any, tuple[str, ...]]]:
    """``(key, value, rows that it violates)``."""
    found: list[tuple[str, Any, tuple[str, ...]]] = []

    def add(section: int, letters: str, key: str, values: list[Any]) -> None:
        rows = tuple(f"NPWG-4.1.2.1.{section}-{letter}" for letter in letters)
        found.extend((key, value, rows) for value in values)

    for letter, values in _ADDRESSES.items():
        add(3, f"{letter}e", "ips", values)
    add(4, "bc", "mac", _MACS)
    add(5, "bc", "interface", _NAMES)
    for letter, values in _PORTS.items():
        add(7, f"{letter}g", "portMappings", values if letter == "b" else [[one] for one in values])
    for letter, values in _BANDWIDTHS.items():
        add(8, f"{letter}g", "bandwidth", values)
    return found


CASES = _cases()


def text_of(number: int) -> str:
    key, value, _ = CASES[number]
    return selection({"name": "a"}, {"name": "a", key: value})


@pytest.fixture(scope="module")
def pods(shared: Space, a: Network) -> list[Seen]:
    """A pod for every case, all at once, and one more as the control."""
    return shared.batch(*map(text_of, range(len(CASES))), a.name, controlled=True)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=requirement(*rows), id=f"{key}-{number}")
        for number, (key, _, rows) in enumerate(CASES)
    ],
)
def test_an_invalid_value(pods: list[Seen], a: Network, evidence: Evidence, number: int) -> None:
    evidence.case(text_of(number))
    pod, control = pods[number], pods[-1]
    if not control.runs or not control.within(a.subnets[0]):
        evidence.unknown(f"the control, a pod that selects {a.name}, does not run: {shown(control)}")
    evidence.saw(shown(pod))
    three_outcomes(pod, evidence)


@requirement("NPWG-4.1.2.1.4-b", "NPWG-4.1.2.1.4-c")
def test_a_mac_of_20_bytes(shared: Space, a: Network, evidence: Evidence, spec_version: str) -> None:
    if spec_version in ("1.0", "1.1"):
        evidence.not_applicable("valid in this version, for IP over InfiniBand")
    text = selection({"name": "a"}, {"name": "a", "mac": _TWENTY_BYTES})
    three_outcomes(with_control(shared, evidence, text, a), evidence)


@pytest.mark.parametrize("mac", ["01:00:5e:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"])
@requirement("NPWG-4.1.2.1.4-b")
def test_macs_that_no_interface_can_have(shared: Space, a: Network, evidence: Evidence, mac: str) -> None:
    pod = with_control(shared, evidence, selection(name="a", mac=mac), a)
    macs = [one.mac for one in pod.others] if pod.runs else []
    assert mac not in macs, f"the kernel has no such interface: {pod.summary()}"
    evidence.ambiguous(f"well written, of no use: {pod.summary() if pod.runs else 'refused'}")


@pytest.mark.parametrize("value", ["010.1.1.1", "fe80::1%eth0", "::ffff:10.1.1.1"])
@requirement("NPWG-4.1.2.1.3-c")
def test_addresses_of_doubtful_form(shared: Space, a: Network, evidence: Evidence, value: str) -> None:
    pod = with_control(shared, evidence, selection(name="a", ips=[value]), a)
    evidence.ambiguous(f"runs with {pod.summary()}" if pod.runs else "refused")


@pytest.mark.parametrize("routes", [[["{gateway}"], ["{gateway}"]], [[], []], [["{gateway}"], []]])
@requirement("NPWG-4.1.2.1.9-b", "NPWG-4.1.2.1.9-c")
def test_a_default_route_in_two_elements(
    shared: Space, a: Network, b: Network, evidence: Evidence, routes: list[list[str]]
) -> None:
    elements = []
    for network, gateways in zip((a, b), routes, strict=True):
        prefix = network.subnets[0].rpartition(".")[0]
        values = [one.format(gateway=f"{prefix}.254") for one in gateways]
        elements.append({"name": network.name, "default-route": values})
    three_outcomes(with_control(shared, evidence, selection(*elements), a), evidence)


@pytest.mark.parametrize("value", [["word"], ["gateway.example.org"], ["10.1.1.0/24"], [5], "10.1.1.1", None])
@requirement("NPWG-4.1.2.1.9-h")
def test_gateways_that_are_no_addresses(shared: Space, a: Network, evidence: Evidence, value: Any) -> None:
    pod = with_control(shared, evidence, selection({"name": "a", "default-route": value}), a)
    if pod.runs:
        routes = pod.default_routes()
        evidence.saw(f"default routes {routes}")
        assert len(routes) <= 1, f"several default routes: {routes}"
