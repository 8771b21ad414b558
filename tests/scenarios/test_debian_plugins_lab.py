"""Debian's CNI plugins, each unmodified, as the network of a lab's nodes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scenarios.launch import Options, launch

pytestmark = pytest.mark.lab

HOST_LOCAL = {
    "type": "host-local",
    "ranges": [[{"subnet": "10.88.$(NODE_NUMBER).0/24"}]],
    "routes": [{"dst": "0.0.0.0/0"}],
}
STATIC = {"type": "static", "addresses": [{"address": "10.89.0.$(NODE_NUMBER)/24"}]}
PTP = [
    {"type": "ptp", "ipam": HOST_LOCAL},
    {"type": "firewall", "backend": "iptables"},
    {"type": "bandwidth", "capabilities": {"bandwidth": True}},
]
MACVLAN = [{"type": "macvlan", "master": "eth0", "mode": "bridge", "ipam": STATIC}]
END = """\
    - name: delete
      delete: { objects: [pod/a, pod/b], gracePeriodSeconds: 0 }
    - name: nothing is left over
      leftovers: {}
"""
# One shaped pod: both directions, which takes an ifb device and two token buckets on the node.
SHAPED = """\
    - name: shaped
      exec: { node: node1, command: [tc, qdisc], contains: [tbf, ingress] }
    - name: reach
      matrix: {}
"""
ACROSS = """\
    - name: across nodes
      exec: { pod: a, command: [ping, -n, -c, "1", -W, "2", 10.89.0.2], contains: 1 received }
"""


def scenario(plugins: object, nodes: int, annotations: str, steps: str) -> str:
    pods = "".join(
        f"""\
        - apiVersion: v1
          kind: Pod
          metadata: {{ name: {name}, annotations: {annotations if name == "a" else "{}"} }}
          spec:
            nodeName: node{number}
            containers: [{{ name: main, image: x, command: [sleep, "60"] }}]
"""
        for name, number in (("a", 1), ("b", nodes))
    )
    return f"""\
apiVersion: multinet.opencontrail.org/v1alpha1
kind: Scenario
metadata: {{ name: debian }}
spec:
  lab: {{ nodes: {nodes}, cni: {{ name: debian, plugins: {json.dumps(plugins)} }} }}
  steps:
    - name: pods
      apply:
{pods}
    - name: ready
      wait: {{ pods: all }}
    - name: agree
      check: {{}}
{steps}{END}"""


@pytest.mark.parametrize(
    ("plugins", "nodes", "annotations", "steps"),
    [
        (
            PTP,
            1,
            '{ kubernetes.io/ingress-bandwidth: "10M", kubernetes.io/egress-bandwidth: "10M" }',
            SHAPED,
        ),
        (MACVLAN, 2, "{}", ACROSS),
    ],
    ids=["ptp-firewall-bandwidth", "macvlan-static"],
)
def test_it_is_the_network_of_the_nodes(
    tmp_path: Path, plugins: object, nodes: int, annotations: str, steps: str
) -> None:
    path = tmp_path / "debian.yaml"
    path.write_text(scenario(plugins, nodes, annotations, steps))
    outcome = launch(path, Options(runs_dir=tmp_path / "runs"))
    assert outcome.report is not None
    assert [(step.name, step.verdict, step.reason) for step in outcome.report.steps] == [
        (step.name, "pass", "") for step in outcome.report.steps
    ]
    assert len(outcome.report.steps) >= 6
