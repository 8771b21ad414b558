"""Rows of the multi-network standard (NPWG) that only kernel and wire can show: one lab, many pods.

The scenario below runs once; each test reads what it left: of every pod the object as kubectl gives it, and
its interfaces and routes as ``ip`` in its network namespace gives them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from reports.events import read
from reports.model import RunReport
from scenarios.launch import Options, launch

pytestmark = pytest.mark.lab

STATUS = "k8s.v1.cni.cncf.io/network-status"
CONFIG = '{"cniVersion": "0.3.1", "type": "contrail-k8s-cni"}'
STANDARD_KEYS = {"name", "interface", "ips", "mac", "default", "dns", "default-route", "device-info"}
ATTACHED: dict[str, str] = {
    "plain": "",
    "comma": "a,b,other/a",
    "json": '[{"name": "a"}, {"name": "b"}, {"name": "a", "namespace": "other"}]',
    "twice": "a,a,alias",
    "asked": json.dumps(
        [{"name": "a", "interface": "data0", "mac": "02:00:00:00:0a:07", "ips": ["10.1.1.7"]}, {"name": "b"}]
    ),
    "routed": '[{"name": "a", "default-route": ["10.1.1.9"]}, {"name": "b"}]',
    "own-route": '[{"name": "b"}, {"name": "a", "default-route": []}]',
    "two-routes": '[{"name": "a", "default-route": ["10.1.1.9", "10.1.1.10"]}]',
}
REFUSED: dict[str, tuple[str, str]] = {
    "same-address": ('[{"name": "b"}, {"name": "a", "ips": ["10.1.1.7"]}]', "AddressInUse"),
    "half-known": ("a,missing,b", "NADNotFound"),
    "same-name": (
        '[{"name": "a", "interface": "x1"}, {"name": "b", "interface": "x1"}]',
        "SelectionInvalid",
    ),
    "eth0-again": ('[{"name": "a", "interface": "eth0"}]', "InterfaceNameTaken"),
    "guid": (
        '[{"name": "a", "infiniband-guid": "24:8a:07:03:00:8d:ae:2e"}]',
        "RequestUnsupported",
    ),
}


def nad(name: str, namespace: str = "default", **annotations: str) -> dict[str, Any]:
    marked = {f"opencontrail.org/{key}": value for key, value in annotations.items()}
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": namespace, "annotations": marked},
        "spec": {"config": CONFIG},
    }


def pod(number: int, name: str, networks: str) -> dict[str, Any]:
    annotations = {"k8s.v1.cni.cncf.io/networks": networks} if networks else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "nodeName": f"node{1 + number % 2}",
            "containers": [{"name": "main", "image": "any", "command": ["sleep", "60"]}],
        },
    }


def scenario() -> dict[str, Any]:
    target = {"domain": "default-domain", "project": "k8s-default", "name": "k8s-a-pod-network"}
    networks = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}},
        nad("a", cidr="10.1.1.0/24"),
        nad("b", cidr="10.2.2.0/24"),
        nad("alias", network=json.dumps(target)),
        nad("a", "other", cidr="10.3.3.0/24"),
    ]
    refused = [pod(number, name, REFUSED[name][0]) for number, name in enumerate(REFUSED)]
    steps: list[dict[str, Any]] = [
        {"name": "networks", "apply": networks},
        {"name": "pods", "apply": [pod(number, *item) for number, item in enumerate(ATTACHED.items())]},
        {"name": "attached", "wait": {"pods": list(ATTACHED)}},
        {"name": "to refuse", "expect": "pending", "apply": refused},
        {
            "name": "refused",
            "check": {"pending": [{"pod": name, "reason": reason} for name, (_, reason) in REFUSED.items()]},
        },
        {"name": "order", "check": {"pods": ["comma", "json"]}},
        {"name": "wire", "matrix": {"pods": ["plain", "comma", "json", "routed"], "protocols": ["icmp"]}},
    ]
    # A node agent that is not there yet: the plugin answers, and the pod has to wait for all its networks.
    steps += [
        {"name": "no agent", "fault": {"kill": {"role": "vrouter", "node": "node1"}}},
        {"name": "too early", "apply": [pod(0, "early", "a")]},
        {"name": "it waits", "check": {"pending": [{"pod": "early", "message": "agent"}]}},
        {"name": "an agent", "fault": {"restart": {"role": "vrouter", "node": "node1"}}},
        {"name": "not too early", "wait": {"pods": ["early"]}},
        {"name": "early is whole", "check": {"pods": ["early"], "attachments": {"early": ["a"]}}},
    ]
    for name in ATTACHED:
        inside = "ip -j addr show; ip -j -4 route show; ip -j -6 route show default"
        steps.append({"name": f"kernel {name}", "exec": {"pod": name, "command": ["sh", "-c", inside]}})
    for name in (*ATTACHED, *REFUSED):
        steps.append({"name": f"object {name}", "kubectl": {"argv": ["get", "pod", name, "-o", "json"]}})
    what = "virtualmachineinterfaces,instanceips"
    names = ["get", what, "-A", "-o", "custom-columns=N:.metadata.name,A:.metadata.annotations"]
    steps.append({"name": "made", "kubectl": {"argv": names}})
    everything = [f"pod/{name}" for name in (*ATTACHED, *REFUSED, "early")]
    steps.append({"name": "end", "delete": {"objects": everything, "gracePeriodSeconds": 0}})
    steps.append({"name": "nothing is left", "leftovers": {}})
    return {
        "apiVersion": "multinet.opencontrail.org/v1alpha1",
        "kind": "Scenario",
        "metadata": {"name": "npwg-rows"},
        "spec": {"steps": steps},
    }


@dataclass(frozen=True)
class Run:
    """What the run left; ``addresses`` and ``routes`` by pod, as ``ip -j`` writes them."""

    report: RunReport
    texts: dict[str, str]

    def object(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.texts[f"object {name}"])
        return found

    def kernel(self, name: str) -> list[list[dict[str, Any]]]:
        decoder, text, found = json.JSONDecoder(), self.texts[f"kernel {name}"].strip(), []
        while text:
            value, end = decoder.raw_decode(text)
            found.append(value)
            text = text[end:].strip()
        return found

    def links(self, name: str) -> dict[str, dict[str, Any]]:
        return {one["ifname"]: one for one in self.kernel(name)[0] if one["ifname"] != "lo"}

    def addresses(self, name: str) -> dict[str, list[str]]:
        """Global addresses by interface."""
        return {
            interface: [one["local"] for one in link["addr_info"] if one["scope"] == "global"]
            for interface, link in self.links(name).items()
        }

    def defaults(self, name: str) -> list[tuple[str, str]]:
        """Interface and gateway of each default route, of both families."""
        _, four, *six = self.kernel(name)
        routes = [*four, *(six[0] if six else [])]
        return [(one["dev"], one["gateway"]) for one in routes if one["dst"] == "default"]

    def status(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.object(name)["metadata"]["annotations"][STATUS])
        return found

    def step(self, name: str) -> Any:
        return next(step for step in self.report.steps if step.name == name)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder: Path = tmp_path_factory.mktemp("npwg")
    file = folder / "scenario.yaml"
    file.write_text(yaml.safe_dump(scenario(), sort_keys=False))
    outcome = launch(file, Options(runs_dir=folder / "runs"))
    assert outcome.report is not None, outcome.problems
    assert outcome.run_dir is not None
    names = [step.name for step in outcome.report.steps]
    texts = {
        names[event.data["step"]]: str(event.data["text"])
        for event in read(outcome.run_dir / "events.jsonl")
        if event.kind == "evidence" and str(event.data["title"]).endswith(": exit code 0")
    }
    return Run(outcome.report, texts)


def test_the_run_has_all_its_steps(run: Run) -> None:
    failed = [(step.name, step.reason) for step in run.report.steps if step.verdict != "pass"]
    assert failed == []


def test_NPWG_4_a_pod_ips_are_the_default_networks_only(run: Run) -> None:
    for name in ATTACHED:
        ips = [one["ip"] for one in run.object(name)["status"]["podIPs"]]
        (default,) = [entry for entry in run.status(name) if entry["default"]]
        assert ips == default["ips"] == run.addresses(name)["eth0"], name
        others = {ip for entry in run.status(name) if not entry["default"] for ip in entry["ips"]}
        assert not others & set(ips)


def test_NPWG_4_b_4_1_1_c_interfaces_are_one_more_than_selected(run: Run) -> None:
    assert {name: len(run.links(name)) for name in ("plain", "comma", "json", "twice")} == {
        "plain": 1,
        "comma": 4,
        "json": 4,
        "twice": 4,
    }


def test_NPWG_4_1_b_4_1_2_a_both_formats_make_the_same_attachments(run: Run) -> None:
    comma, listed = run.status("comma"), run.status("json")
    assert [(one["name"], one["interface"]) for one in comma] == [
        (one["name"], one["interface"]) for one in listed
    ]
    assert list(run.links("comma")) == list(run.links("json")) == ["eth0", "eth1", "eth2", "eth3"]
    for one, other in zip(comma, listed, strict=True):
        assert one["ips"][0].rpartition(".")[0] == other["ips"][0].rpartition(".")[0]


def test_NPWG_4_1_1_d_attachments_are_in_the_order_of_the_selection(run: Run) -> None:
    assert [entry["name"] for entry in run.status("comma")[1:]] == ["default/a", "default/b", "other/a"]
    assert [addresses[0].split(".")[1] for addresses in run.addresses("comma").values()][1:] == [
        "1",
        "2",
        "3",
    ]


def test_NPWG_4_1_2_1_3_a_exactly_the_requested_address(run: Run) -> None:
    assert run.addresses("asked")["data0"] == ["10.1.1.7"]


def test_NPWG_4_1_2_1_3_h_an_address_that_is_taken_is_refused(run: Run) -> None:
    assert run.object("same-address")["status"]["phase"] == "Pending"
    assert "same-address" not in run.texts["made"]


def test_NPWG_4_1_2_1_4_a_the_requested_mac(run: Run) -> None:
    assert run.links("asked")["data0"]["address"] == "02:00:00:00:0a:07"
    assert run.status("asked")[1]["mac"] == "02:00:00:00:0a:07"


def test_NPWG_4_1_2_1_5_a_the_requested_interface_name(run: Run) -> None:
    assert list(run.links("asked")) == ["eth0", "data0", "eth2"]
    assert [entry["interface"] for entry in run.status("asked")] == ["eth0", "data0", "eth2"]


@pytest.mark.parametrize("name", ["same-name", "eth0-again"])
def test_NPWG_4_1_2_1_5_d_a_name_in_use_fails_the_sandbox(run: Run, name: str) -> None:
    refuses_whole(run, name)


def test_what_can_not_be_done_fails_the_sandbox(run: Run) -> None:
    refuses_whole(run, "guid")


def test_NPWG_4_1_2_1_9_a_e_one_default_route_and_on_the_selected_interface(run: Run) -> None:
    assert run.defaults("routed") == [("eth1", "10.1.1.9")]


def test_NPWG_4_1_2_1_9_d_an_empty_list_is_the_networks_own_gateway(run: Run) -> None:
    assert run.defaults("own-route") == [("eth2", "10.1.1.254")]


def test_NPWG_4_1_2_1_9_g_several_gateways_are_accepted(run: Run) -> None:
    routes = run.defaults("two-routes")
    assert routes
    assert set(routes) <= {("eth1", "10.1.1.9"), ("eth1", "10.1.1.10")}
    assert run.status("two-routes")[1]["default-route"] == ["10.1.1.9", "10.1.1.10"]


def test_NPWG_4_1_2_1_9_i_pods_of_the_default_network_are_reached_all_the_same(run: Run) -> None:
    assert_reaches(run, "default/routed", "default/plain")


def test_NPWG_4_2_a_b_d_the_same_network_twice_is_two_attachments(run: Run) -> None:
    links = run.links("twice")
    assert list(links) == ["eth0", "eth1", "eth2", "eth3"]
    assert len({link["address"] for link in links.values()}) == 4
    addresses = [address for found in run.addresses("twice").values() for address in found]
    assert len(set(addresses)) == 4
    assert all(address.startswith("10.1.1.") for address in addresses[1:])


def test_NPWG_4_2_c_each_attachment_has_its_entry(run: Run) -> None:
    assert [entry["name"] for entry in run.status("twice")[1:]] == ["default/a", "default/a", "default/alias"]


def test_NPWG_5_a_b_c_5_2_a_every_pod_has_the_list(run: Run) -> None:
    for name in ATTACHED:
        entries = run.status(name)
        assert isinstance(entries, list)
        assert all(isinstance(entry, dict) for entry in entries)
        assert entries[0]["name"] == "cluster-wide-default"


def test_NPWG_5_1_a_5_3_2_a_5_3_3_b_5_3_4_a_status_is_what_the_kernel_has(run: Run) -> None:
    for name in ATTACHED:
        said = {entry["interface"]: (entry["mac"], sorted(entry["ips"])) for entry in run.status(name)}
        addresses = run.addresses(name)
        has = {
            interface: (link["address"], sorted(addresses[interface]))
            for interface, link in run.links(name).items()
        }
        assert said == has, name


def test_NPWG_5_2_b_c_5_3_5_a_b_exactly_one_entry_is_the_default(run: Run) -> None:
    for name in ATTACHED:
        flags = [entry["default"] for entry in run.status(name)]
        assert all(isinstance(flag, bool) for flag in flags)
        assert flags.count(True) == 1


def test_NPWG_5_3_a_5_3_1_a_5_3_3_a_5_3_4_b_5_3_6_a_keys_and_types(run: Run) -> None:
    for name in ATTACHED:
        for entry in run.status(name):
            assert {key for key in entry if "." not in key} <= STANDARD_KEYS
            assert isinstance(entry["name"], str)
            assert isinstance(entry["ips"], list)
            assert entry["interface"]
            assert entry["mac"]
            assert isinstance(entry["dns"], dict)


def test_NPWG_5_3_1_b_c_names_are_the_selected_ones_with_their_namespace(run: Run) -> None:
    assert {entry["name"] for name in ATTACHED for entry in run.status(name)} == {
        "cluster-wide-default",
        "default/a",
        "default/b",
        "default/alias",
        "other/a",
    }


def test_NPWG_5_3_6_4_a_a_requested_default_route_is_told(run: Run) -> None:
    def told(name: str) -> list[object]:
        return [entry.get("default-route") for entry in run.status(name)]

    assert told("routed") == [None, ["10.1.1.9"], None]
    assert told("own-route") == [None, None, ["10.1.1.254"]]
    assert told("comma") == [None] * 4


def test_NPWG_5_x_a_one_entry_per_interface(run: Run) -> None:
    for name in ATTACHED:
        assert len(run.status(name)) == len(run.links(name))


def test_NPWG_5_x_b_what_failed_has_no_status(run: Run) -> None:
    for name in REFUSED:
        assert STATUS not in run.object(name)["metadata"]["annotations"]


def test_NPWG_5_x_c_d_values_are_real_whatever_the_pods_name(run: Run) -> None:
    for name in ATTACHED:
        for entry in run.status(name):
            assert all(value not in (None, "", "null", "none", "<nil>") for value in entry.values())
    assert [entry["name"] for entry in run.status("json")] == [entry["name"] for entry in run.status("comma")]


def test_NPWG_6_a_c_every_pod_is_in_the_default_network_with_its_route(run: Run) -> None:
    for name in ATTACHED:
        assert run.addresses(name)["eth0"][0].startswith("10.47.255."), name
    assert run.defaults("plain") == run.defaults("comma") == [("eth0", "10.47.255.254")]


def test_NPWG_6_d_6_1_b_the_default_network_works_at_once_with_and_without_selection(run: Run) -> None:
    assert_reaches(run, "default/plain", "default/comma")
    assert_reaches(run, "default/comma", "default/plain")


def test_NPWG_6_1_2_b_nothing_is_attached_until_the_node_is_ready(run: Run) -> None:
    assert run.step("it waits").verdict == "pass"
    assert run.step("early is whole").verdict == "pass"


def test_NPWG_6_2_a_the_default_network_is_attached_first(run: Run) -> None:
    for name in ATTACHED:
        links = run.links(name)
        assert min(links, key=lambda one: int(links[one]["ifindex"])) == "eth0"


def test_NPWG_7_2_a_one_that_fails_fails_the_sandbox_and_leaves_nothing(run: Run) -> None:
    refuses_whole(run, "half-known")
    assert run.step("nothing is left").verdict == "pass"


def refuses_whole(run: Run, name: str) -> None:
    """The verdict FAIL-CLOSED: no sandbox runs, no container started, no object or address is its own."""
    status = run.object(name)["status"]
    assert status["phase"] == "Pending"
    assert not status.get("podIPs")
    assert all("running" not in one["state"] for one in status.get("containerStatuses", ()))
    assert "default/comma" in run.texts["made"]
    assert name not in run.texts["made"]


def assert_reaches(run: Run, source: str, destination: str) -> None:
    cells = [
        cell
        for cell in run.step("wire").cells
        if (cell.source, cell.destination) == (source, destination)
        and cell.source_interface == cell.destination_interface == "eth0"
    ]
    assert [(cell.protocol, cell.observed, cell.verdict) for cell in cells] == [("icmp", "reached", "pass")]
