"""A pod network of other plugins: its configuration on each node, its oracle, what is not expected of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from multinet.errors import EnvironmentLackError
from topology import podnetwork, roles
from topology.backend import LabSpec
from topology.expected_default import DefaultOnly
from topology.graph import Reachability
from topology.podnetwork import PodNetwork

IPAM = {"type": "host-local", "ranges": [[{"subnet": "10.$(NODE_NUMBER).0.0/24"}]]}
BRIDGE = {"type": "bridge", "ipam": IPAM}
PLUGINS = ({**BRIDGE, "x": "on $(NODE_NAME)", "n": 3}, {"type": "macvlan", "master": "eth1"})
NETWORK = PodNetwork("debian", "1.0.0", PLUGINS)


def pod(name, node, **status):
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"nodeName": node, "containers": []},
        "status": status,
    }


def test_each_node_gets_the_list_with_its_own_name_and_number():
    made = json.loads(NETWORK.conflist("node7", 7))
    assert (made["name"], made["cniVersion"]) == ("debian", "1.0.0")
    assert made["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.7.0.0/24"}]]
    assert (made["plugins"][0]["x"], made["plugins"][0]["n"]) == ("on node7", 3)
    assert NETWORK.devices == {"cni0", "eth1"}
    assert PodNetwork("n", "1.0.0", ({"type": "bridge", "bridge": "br9"},)).devices == {"br9"}


def test_missing_plugins_are_named_with_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(podnetwork, "PLUGIN_DIRS", (tmp_path,))
    for name in ("bridge", "macvlan"):
        (tmp_path / name).touch(mode=0o755)
    with pytest.raises(EnvironmentLackError, match=r"plugins host-local.*containernetworking-plugins"):
        NETWORK.check_installed()
    (tmp_path / "host-local").touch(mode=0o755)
    assert NETWORK.check_installed() is None


def test_only_the_runtime_side_runs(tmp_path):
    spec = LabSpec(("node1",), tmp_path, pod_network=NETWORK)
    paths = roles.Paths(tmp_path)
    (kubelet,) = roles.worker(spec, "node1", paths, "100.64.0.11", roles.ENTRIES)
    assert kubelet.argv[-2:] == ("--cni-bin-dir", "/usr/lib/cni:/opt/cni/bin")
    control = roles.control_plane(spec, paths, "100.64.0.10", roles.ENTRIES)
    assert [role.name for role in control] == ["apiserver", "scheduler"]
    assert paths.cni("node1") == Path("/run/multinet/nodes/node1/cni/net.d")


@pytest.mark.parametrize(("plugin", "arp"), [("bridge", True), ("ptp", None)])
def test_pods_of_one_node_reach_each_other_and_of_others_nothing_is_known(plugin, arp):
    oracle = DefaultOnly(PodNetwork("net", "1.0.0", ({"type": plugin},)))
    host = pod("host", "node1")
    host["spec"]["hostNetwork"] = True
    pods = oracle.observe(
        [pod("a", "node1"), pod("b", "node1"), pod("c", "node2"), pod("d", ""), host], [], []
    )
    assert [each.pod for each in pods] == ["default/a", "default/b", "default/c"]
    assert {each.annotated for each in pods} == {False}
    asked = Reachability(pods)
    a, b, c = ((f"default/{name}", "eth0") for name in "abc")
    assert asked.judge(a, b, "icmp").must_reach is True
    assert asked.judge(a, b, "arp").must_reach is arp
    assert asked.judge(a, c, "icmp").must_reach is None
    assert "does not tell whether node1 and node2 are joined" in asked.judge(a, c, "tcp").reason
    assert asked.tunnels() == ()
