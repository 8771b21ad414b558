"""Every error of a scenario file has file, line, column, cause and next step; the texts are held here."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scenarios.errors import InvalidScenarioError
from scenarios.loader import Scenario, load
from scenarios.schema import ALLOWED, ScenarioFile

HEAD = """\
apiVersion: multinet.opencontrail.org/v1alpha1
kind: Scenario
metadata:
  name: example
spec:
  steps:
"""
LAB = HEAD.replace("  steps:", "  lab: {}\n  steps:")
GONE = "    - name: nothing is left\n      leftovers: {}\n"
NAD = """\
    - name: networks
      apply:
        - apiVersion: k8s.cni.cncf.io/v1
          kind: NetworkAttachmentDefinition
          metadata:
            name: left
            annotations:
              opencontrail.org/cidr: 10.1.1.0/24
          spec:
            config: '{"type": "contrail-k8s-cni"}'
"""
POD = """\
    - name: pods
      apply:
        - apiVersion: v1
          kind: Pod
          metadata:
            name: web
            annotations:
              k8s.v1.cni.cncf.io/networks: left
          spec:
            nodeName: node1
"""
NETWORK = """\
    - name: network
      apply:
        - apiVersion: multinet.opencontrail.org/v1alpha1
          kind: VirtualNetwork
          metadata:
            name: blue
          spec:
            fqName: [a, b, blue]
            subnets:
              - cidr: 10.9.0.0/24
                gateway: 10.9.0.1
"""
WAIT = "    - name: ready\n      wait: { pods: all }\n"


def read(tmp_path: Path, text: str) -> Scenario:
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, shown="s.yaml")


def findings(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(InvalidScenarioError) as caught:
        read(tmp_path, text)
    return str(caught.value).splitlines()


CASES = {
    "wrong key of a step": (
        HEAD + "    - name: ready\n      wiat: { pods: all }\n",
        "s.yaml:8:7: unknown key 'wiat': a step knows name, needs, expect, apply, wait, matrix, "
        "check, annotate, "
        "label, delete, exec, fault, kubectl, leftovers (did you mean 'wait'?)",
    ),
    "wrong key in a step": (
        HEAD + "    - name: ready\n      wait:\n        pods: all\n        timout: 3s\n",
        "s.yaml:10:9: unknown key 'timout': wait knows pods, networks, virtualNetworks, roles, for, "
        "timeout (did you mean 'timeout'?)",
    ),
    "no action": (
        HEAD + "    - name: nothing\n",
        "s.yaml:7:7: a step has exactly one of apply, wait, matrix, check, annotate, label, delete, exec, "
        "fault, kubectl, leftovers; none is given",
    ),
    "bad duration": (
        HEAD + "    - name: ready\n      wait: { pods: all, timeout: soon }\n",
        "s.yaml:8:35: timeout: a duration is a number with ms, s or m, such as 500ms, 10s or 2m: "
        "'soon' was given",
    ),
    "wrong word": (
        HEAD + "    - name: ready\n      wait: { pods: all, for: Raedy }\n",
        "s.yaml:8:31: for: input should be 'Ready', 'Running', 'Scheduled' or 'Gone': 'Raedy' was given "
        "(did you mean 'Ready'?)",
    ),
    "bad CIDR": (
        HEAD + NAD.replace("10.1.1.0/24", "10.1.1.0/33"),
        "s.yaml:14:38: '10.1.1.0/33' is no CIDR for NAD 'left': '10.1.1.0/33' does not appear "
        "to be an IPv4 or "
        "IPv6 network (write one network as address/prefix, such as 10.10.10.0/24)",
    ),
    "CIDR without room": (
        HEAD + NAD.replace("10.1.1.0/24", "10.1.1.0/30"),
        "s.yaml:14:38: '10.1.1.0/30' is no CIDR for NAD 'left': it has 4 addresses, and network, "
        "gateway, DNS and "
        "broadcast take four (use a prefix of /29 or shorter)",
    ),
    "one bad CIDR of a list": (
        HEAD + NAD.replace("10.1.1.0/24", "10.1.1.0/24, fd00::/129"),
        "s.yaml:14:38: 'fd00::/129' is no CIDR for NAD 'left': 'fd00::/129' does not appear to be an IPv4 or "
        "IPv6 network (write one network as address/prefix, such as 10.10.10.0/24)",
    ),
    "unknown NAD": (
        HEAD + NAD + POD.replace("networks: left", "networks: lefd"),
        "s.yaml:24:44: pod 'web' names the NAD 'default/lefd', which nothing in the scenario defines here: "
        "defined so far: default/left (did you mean 'default/left'?)",
    ),
    "missing file": (
        HEAD + "    - name: networks\n      apply: [nads.yaml]\n",
        "s.yaml:8:15: the file 'nads.yaml' does not exist: it is looked for beside the scenario, in . "
        "(check the path)",
    ),
    "bad YAML": (
        HEAD + "    - name: [\n",
        "s.yaml:8:1: this is not YAML: while parsing a flow node, expected the node content, but found "
        "'<stream end>' (check the indentation and the quotes of this line and the one above)",
    ),
    "tab": (
        HEAD + "\t- name: x\n",
        "s.yaml:7:1: this is not YAML: while scanning for the next token, found character '\\t' "
        "that cannot start "
        "any token (indent with blanks; YAML does not allow tabs)",
    ),
    "duplicate key": (
        HEAD + "    - name: ready\n      wait: { pods: all }\n      name: again\n",
        "s.yaml:9:7: the key 'name' is here twice: it is also in line 7, and YAML would silently "
        "take the last one "
        "(remove or rename one of them)",
    ),
    "not a scenario": (
        "kind: Pod\n",
        "s.yaml:1:7: this is not a scenario: its kind is 'Pod': a scenario says kind: Scenario "
        "(plain manifests go into an apply step of a scenario)",
    ),
    "unknown pod": (
        HEAD + NAD + POD + "    - name: ready\n      wait: { pods: [wep] }\n",
        "s.yaml:28:22: no step so far makes the pod 'wep' (did you mean 'web'?)",
    ),
    "unknown node": (
        HEAD + NAD + POD.replace("node1", "node3"),
        "s.yaml:26:23: the lab has no node 'node3': its nodes are node1, node2 (did you mean 'node2'?)",
    ),
    "annotation that is no text": (
        HEAD + NAD.replace("opencontrail.org/cidr: 10.1.1.0/24", "opencontrail.org/ip_fabric_snat: false"),
        "s.yaml:14:48: the annotation opencontrail.org/ip_fabric_snat is no text: it is false, and "
        "the Kubernetes "
        'API takes only strings (write "false")',
    ),
    "unknown kind": (
        HEAD + NAD.replace("kind: NetworkAttachmentDefinition", "kind: NetworkAttachmentDefinitions"),
        "s.yaml:10:17: no such kind of object: NetworkAttachmentDefinitions: a lab has ConfigMap, "
        "CustomResourceDefinition, DaemonSet, Deployment, EndpointSlice, Endpoints, InstanceIP, Job, Lease, "
        "MultiNetworkPolicy, Namespace, NetworkAttachmentDefinition, NetworkPolicy, Node, "
        "Pod, ReplicaSet, Secret, "
        "Service, StatefulSet, VirtualMachine, VirtualMachineInterface, VirtualNetwork "
        "(did you mean 'NetworkAttachmentDefinition'?)",
    ),
    "unknown role": (
        HEAD + "    - name: kill\n      fault: { kill: { role: vruter, node: node1 } }\n",
        "s.yaml:8:30: no such role: 'vruter': roles are apiserver, controller, scheduler, configapi, "
        "workloads, nameserver, kubelet, vrouter (did you mean 'vrouter'?)",
    ),
    "a role that is not on cp": (
        HEAD + "    - name: wait\n      wait: { roles: [configap] }\n",
        "s.yaml:8:23: no such role on cp: 'configap': roles on cp are apiserver, controller, scheduler, "
        "configapi, workloads, nameserver (did you mean 'configapi'?)",
    ),
    "roles can't be gone": (
        HEAD + "    - name: wait\n      wait: { roles: [configapi], for: Gone }\n",
        "s.yaml:8:13: wait: roles are waited for to be Ready, nothing else",
    ),
    "a host that isn't there": (
        HEAD + "    - name: run\n      exec: { node: vm1, command: [id] }\n",
        "s.yaml:8:21: the lab has no node 'vm1': its nodes are cp, node1, node2 (name one of these)",
    ),
    "a host named as a node": (
        HEAD.replace("spec:\n", "spec:\n  lab: { hosts: [vm1, node1] }\n")
        + "    - name: run\n      exec: { node: vm1, command: [id] }\n",
        "s.yaml:6:23: the name 'node1' is taken: cp, fabric, the nodes and earlier hosts have their names "
        "already (give the host another)",
    ),
    "a link that ends nowhere": (
        HEAD.replace("spec:\n", "spec:\n  lab: { links: [{ nodes: [node1, node7] }] }\n")
        + "    - name: run\n      exec: { node: node1, command: [id] }\n",
        "s.yaml:6:18: node7 is no end for a link: nodes and hosts are node1, node2 (name two of them)",
    ),
    "two NICs of one name": (
        HEAD.replace("spec:\n", "spec:\n  lab: { links: [{ nodes: [node1, node1] }] }\n")
        + "    - name: run\n      exec: { node: node1, command: [id] }\n",
        "s.yaml:6:18: the NIC can't be called nic0: node1 has a nic0 already (give it another device)",
    ),
    "a host has no link": (
        HEAD.replace("spec:\n", "spec:\n  lab: { hosts: [vm1] }\n")
        + "    - name: cut\n      fault: { link: { node: vm1, state: down } }\n",
        "s.yaml:9:30: the lab has no node 'vm1': its nodes are cp, node1, node2 (name one of these)",
    ),
    "a bad CIDR of a VirtualNetwork": (
        HEAD + NETWORK.replace("10.9.0.0/24", "10.9.0.0/44"),
        "s.yaml:16:23: '10.9.0.0/44' is no CIDR for VirtualNetwork 'blue': '10.9.0.0/44' does not appear "
        "to be an IPv4 or IPv6 network (write one network as address/prefix, such as 10.10.10.0/24)",
    ),
    "a gateway outside of its subnet": (
        HEAD + NETWORK.replace("gateway: 10.9.0.1", "gateway: 10.8.0.1"),
        "s.yaml:17:26: the gateway 10.8.0.1 is outside of its subnet 10.9.0.0/24 in VirtualNetwork 'blue' "
        "(take a gateway address inside 10.9.0.0/24, or leave the key out)",
    ),
    "a gateway that is no address": (
        HEAD + NETWORK.replace("gateway: 10.9.0.1", "gateway: first"),
        "s.yaml:17:26: 'first' is no gateway address for VirtualNetwork 'blue': 'first' does not appear "
        "to be an IPv4 or IPv6 address (take an address in 10.9.0.0/24)",
    ),
    "an fq name of two parts": (
        HEAD + NETWORK.replace("[a, b, blue]", "[a, b]"),
        "s.yaml:14:21: fqName of VirtualNetwork 'blue' is not three texts "
        "(write [domain, project, name], such as [default-domain, k8s-default, blue])",
    ),
    "nothing to delete": (
        HEAD + NAD + "    - name: delete\n      delete: { objects: [nad/lefty] }\n",
        "s.yaml:18:27: there is nothing to delete: no NetworkAttachmentDefinition default/lefty is there by "
        "then: defined so far: nad/left (did you mean 'nad/left'?)",
    ),
    "a reference of another form": (
        HEAD + "    - name: delete\n      delete: { objects: [left] }\n",
        "s.yaml:8:27: it must be written as kind/name or kind/namespace/name, such as pod/web-1, "
        "without blanks: 'left' was given",
    ),
    "a name of other characters": (
        HEAD + "    - name: ready\n      wait: { networks: [Left] }\n",
        "s.yaml:8:26: it must be written as name or namespace/name, each of small letters, digits, - and ., "
        "with a letter or digit at both ends: 'Left' was given",
    ),
    "a pod network that is a word": (
        LAB.replace("{}", "{ cni: bridge }") + GONE,
        "s.yaml:6:15: cni: it must be a map; its keys are name, cniVersion, plugins: 'bridge' was given",
    ),
    "a dialect beside a pod network": (
        LAB.replace("{}", "{ dialect: default, cni: { name: x, plugins: [{ type: ptp }] } }") + GONE,
        "s.yaml:6:19: no dialect is spoken in this lab: with spec.lab.cni, multinet's controller, node "
        "agents and config API do not run (leave out dialect, or cni)",
    ),
    "IPv6 beside a pod network": (
        LAB.replace("{}", "{ ipv6: true, cni: { name: x, plugins: [{ type: ptp }] } }") + GONE,
        "s.yaml:6:16: nothing gives these pods IPv6 addresses: with spec.lab.cni, multinet's controller, "
        "node agents and config API do not run (leave out ipv6, or cni)",
    ),
    "a pod network without plugins": (
        LAB.replace("{}", "{ cni: { name: x, plugins: [] } }") + GONE,
        "s.yaml:6:35: plugins: it must not be empty",
    ),
    "IPAM that is a word": (
        LAB.replace("{}", "{ cni: { name: x, plugins: [{ type: ptp, ipam: host-local }] } }") + GONE,
        "s.yaml:6:15: cni: plugins[0].ipam is a map, such as {type: host-local, ...}",
    ),
    "a placeholder nobody fills in": (
        LAB.replace("{}", "{ cni: { name: x, plugins: [{ type: ptp, mtu: $(NODE_NMAE) }] } }") + GONE,
        "s.yaml:6:36: nothing is known as $(NODE_NMAE): filled in are $(NODE_NAME), $(NODE_NUMBER) "
        "(did you mean '$(NODE_NAME)'?)",
    ),
    "a role of nodes on cp": (
        HEAD + "    - name: gone\n      fault: { kill: { role: kubelet } }\n",
        "s.yaml:8:30: no role kubelet on cp: it has apiserver, controller, scheduler, configapi, workloads, "
        "nameserver (name the node: node: node1)",
    ),
    "a reboot of cp": (
        HEAD + "    - name: gone\n      fault: { reboot: { node: cp } }\n",
        "s.yaml:8:32: cp can't be rebooted: only worker nodes can be: the lab's API server is on cp "
        "(restart or kill a role on cp instead)",
    ),
    "empty file": ("", "s.yaml: the file is empty (start from scenarios/library/right-network.yaml)"),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_error_text(tmp_path: Path, text: str, expected: str) -> None:
    assert findings(tmp_path, text) == [expected]


def test_all_findings_are_told_at_once(tmp_path: Path) -> None:
    text = HEAD + NAD.replace("/24", "/99") + POD.replace("node1", "node9")
    assert [line.split(": ")[0] for line in findings(tmp_path, text)] == ["s.yaml:14:38", "s.yaml:26:23"]


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(InvalidScenarioError) as caught:
        load(Path("nowhere/s.yaml"))
    assert str(caught.value) == "nowhere/s.yaml: there is no such file (check the path)"


def test_a_pod_may_name_an_unknown_nad_where_it_is_the_point(tmp_path: Path) -> None:
    step = POD.replace("    - name: pods\n", "    - name: pods\n      expect: pending\n")
    assert len(read(tmp_path, HEAD + step).steps) == 1


def test_after_kubectl_apply_names_are_not_judged(tmp_path: Path) -> None:
    step = "    - name: by hand\n      kubectl: { argv: [apply, -f, nads.yaml] }\n"
    assert len(read(tmp_path, HEAD + step + POD).steps) == 2


def test_a_deleted_nad_is_unknown_to_later_pods(tmp_path: Path) -> None:
    delete = "    - name: delete\n      delete: { objects: [nad/left] }\n"
    (line,) = findings(tmp_path, HEAD + NAD + delete + POD)
    assert "names the NAD 'default/left', which nothing in the scenario defines here" in line


def test_manifests_of_a_file_have_its_lines(tmp_path: Path) -> None:
    objects = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: extns\n---\n"
    objects += "apiVersion: v1\nkind: Pot\nmetadata: {name: x}\n"
    (tmp_path / "objects.yaml").write_text(objects, encoding="utf-8")
    text = HEAD + "    - name: objects\n      apply: [objects.yaml]\n"
    (line,) = findings(tmp_path, text)
    assert line.startswith("objects.yaml:7:7: no such kind of object: Pot: ")
    assert line.endswith("(did you mean 'Pod'?)")


def test_positions_lead_to_lines(tmp_path: Path) -> None:
    scenario = read(tmp_path, HEAD + NAD + POD + WAIT)
    assert [(step.name, step.action, step.line) for step in scenario.steps] == [
        ("networks", "apply", 7),
        ("pods", "apply", 17),
        ("ready", "wait", 27),
    ]


def test_a_good_virtual_network_and_a_delete_of_what_is_there(tmp_path: Path) -> None:
    delete = "    - name: delete\n      delete: { objects: [nad/left, vn/blue] }\n"
    assert len(read(tmp_path, HEAD + NAD + NETWORK + delete).steps) == 3


def test_every_pattern_has_words() -> None:
    """No error text may quote a regular expression."""
    patterns = set(
        re.findall(r'"pattern": "((?:[^"\\\\]|\\\\.)*)"', json.dumps(ScenarioFile.model_json_schema()))
    )
    told = {json.dumps(pattern)[1:-1] for pattern in ALLOWED}
    durations = {pattern for pattern in patterns if "ms|s|m" in pattern}
    assert patterns - durations == told
