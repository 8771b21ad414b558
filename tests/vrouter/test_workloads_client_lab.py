"""A plain host in two networks by the original's own client, in a whole lab, with a pod in both networks."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from scenarios.launch import Options, launch

pytestmark = pytest.mark.lab

SCRIPT = Path(__file__).parent / "scripts" / "vm_in_two_networks.py"


def by_client(word):
    return {"node": "cp", "command": [sys.executable, str(SCRIPT), word], "timeout": "30s"}


def nad(name):
    target = {"domain": "default-domain", "project": "default-project", "name": name}
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "annotations": {"opencontrail.org/network": json.dumps(target)}},
        "spec": {"config": '{"cniVersion": "0.3.1", "type": "contrail-k8s-cni"}'},
    }


MAIN = {"name": "main", "image": "busybox", "command": ["sleep", "60"]}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "both", "annotations": {"k8s.v1.cni.cncf.io/networks": "red,green"}},
    "spec": {"nodeName": "node2", "containers": [MAIN]},
}


def ping(address):
    return ["ping", "-n", "-c", "1", "-W", "2", address]


# Addresses are given from .252 downwards: vm1 has the first of each network, the pod the second.
STEPS = [
    {"name": "api", "wait": {"roles": ["configapi"]}},
    {"name": "set-up", "exec": {**by_client("set-up"), "contains": ["red 10.12.1.252", "green 10.12.2.252"]}},
    {"name": "pod", "apply": [nad("red"), nad("green"), POD]},
    {"name": "ready", "wait": {"pods": ["both"]}},
    {
        "name": "attached",
        "kubectl": {
            "argv": ["wait", "--for=condition=Attached", "vmi/vm1-red", "vmi/vm1-green", "-n", "kube-system"]
        },
    },
    {"name": "vm1 to pod in red", "exec": {"node": "vm1", "command": ping("10.12.1.251")}},
    {"name": "vm1 to pod in green", "exec": {"node": "vm1", "command": ping("10.12.2.251")}},
    {"name": "pod to vm1 in red", "exec": {"pod": "both", "command": ping("10.12.1.252")}},
    {"name": "pod to vm1 in green", "exec": {"pod": "both", "command": ping("10.12.2.252")}},
    {
        "name": "events",
        "kubectl": {
            "argv": ["describe", "vmi", "vm1-red", "-n", "kube-system"],
            "contains": ["multinet-vrouter", "red with 10.12.1.252/24 in /proc/"],
        },
    },
    {
        "name": "pod goes",
        "delete": {"objects": ["pod/both", "nad/red", "nad/green"], "gracePeriodSeconds": 0},
    },
    {"name": "remove", "exec": {**by_client("remove"), "contains": "removed"}},
    {"name": "left", "leftovers": {}},
    {
        "name": "vm1 is bare",
        "exec": {"node": "vm1", "command": ["sh", "-c", "test $(ip -o link | wc -l) = 1"]},
    },
]


def test_the_originals_client_gives_a_plain_host_interfaces_in_two_networks(tmp_path):
    path = tmp_path / "client.yaml"  # JSON is YAML
    path.write_text(
        json.dumps(
            {
                "apiVersion": "multinet.opencontrail.org/v1alpha1",
                "kind": "Scenario",
                "metadata": {"name": "client"},
                "spec": {"lab": {"nodes": 2, "hosts": ["vm1"]}, "steps": STEPS},
            }
        )
    )
    outcome = launch(path, Options(runs_dir=tmp_path / "runs"))
    assert outcome.report is not None, outcome
    assert [(step.name, step.verdict, step.reason) for step in outcome.report.steps] == [
        (step["name"], "pass", "") for step in STEPS
    ]
    assert outcome.exit_status == 0
