"""What users write into objects for multi-networking: selections, NADs, policies.

These readers get objects that an API server stored, so text without half surrogate pairs. NADs and policies
come from clusters of others as well, whose API servers checked less: any JSON in any place.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from conformance.fuzz.parsers.grammar import damaged_text, mutated, text_of
from conformance.fuzz.parsers.subject import NotTotalError, Subject, equal, refused
from multinet.model import nad, nad_contrail, selection, selection_contrail
from multinet.model.nad import NadError
from multinet.model.policies import Policy, PolicyError
from multinet.model.selection import SelectionError

_ITEMS: list[Any] = [
    [{"name": "a"}],
    [
        {
            "name": "a",
            "namespace": "other",
            "interface": "net1",
            "ips": ["10.1.1.7/24", "2001:db8::7/64"],
            "mac": "02:00:00:00:00:07",
            "infiniband-guid": "24:8a:07:03:00:8d:ae:2e",
            "default-route": ["10.1.1.1", "2001:db8::1"],
            "cni-args": {"a": [1, {"b": None}]},
            "portMappings": [
                {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "10.0.0.1"}
            ],
            "bandwidth": {"ingressRate": 1000, "ingressBurst": 2000, "egressRate": 3000, "egressBurst": 4000},
            "k8s.example.com/key": True,
        },
        {"name": "b", "ipam-claim-reference": "claim", "default-route": []},
    ],
]
_COMMAS = ["a", "a,b", " other/a , b ", "a@net1", "other/a@net1,a@eth5", "a,a,a", "ns/a/b@c@d"]
_SELECTIONS = text_of(_ITEMS) | st.sampled_from(_COMMAS).flatmap(damaged_text) | st.text(max_size=40)


def _selection(given: str) -> str:
    try:
        found = selection.parse(
            given, pod_namespace="default", extensions=frozenset({selection.EXTENSION_MULTUS})
        )
    except SelectionError as error:
        if not 0 <= error.position <= len(given):
            raise NotTotalError(f"the error points outside of the text: {error.position}") from error
        return refused(error)
    printed = selection.render(found)
    again = selection.parse(printed, pod_namespace="default")
    equal("a selection", selection.render(again), printed)
    return "read"


def _classic_selection(given: str) -> str:
    try:
        found = selection_contrail.parse(given, pod_namespace="default", knows=lambda name: name != "b")
    except SelectionError as error:
        return refused(error)
    return "read" if found else "nothing"


_NADS: list[Any] = [
    {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {
            "name": "a",
            "namespace": "default",
            "annotations": {
                "opencontrail.org/cidr": '["10.1.0.0/24", "2001:db8::/64"]',
                "opencontrail.org/ip_fabric_forwarding": "true",
                "opencontrail.org/ip_fabric_snat": "false",
            },
        },
        "spec": {"config": '{"cniVersion": "0.3.1", "type": "contrail-k8s-cni"}'},
    },
    {
        "metadata": {
            "name": "b",
            "namespace": "default",
            "annotations": {
                "opencontrail.org/network": "{'domain': 'default-domain', 'project': 'p', 'name': 'n'}"
            },
        },
        "spec": {"config": '{"cniVersion": "0.3.1", "plugins": [{"type": "contrail-k8s-cni"}]}'},
    },
    {
        "metadata": {
            "name": "c",
            "annotations": {"opencontrail.org/cidr": "10.1.0.0/255.255.255.0, fd00::/64"},
        },
        "spec": {},
    },
]


def _nad(given: Any) -> str:
    nad_contrail.is_accepted(given)
    nad_contrail.target(given, cluster="k8s")
    nad_contrail.intent(given, cluster="k8s")
    try:
        intent = nad.parse(given)
    except NadError as error:
        if not error.reason.isalnum():
            raise NotTotalError(f"{error.reason!r} is no reason of a condition") from error
        return refused(error)
    for subnet in intent.subnets:
        nad.check_subnet(subnet, "again")
    return intent.kind


_POLICIES: list[Any] = [
    {
        "apiVersion": "k8s.cni.cncf.io/v1beta1",
        "kind": "MultiNetworkPolicy",
        "metadata": {
            "name": "p",
            "namespace": "default",
            "annotations": {"k8s.v1.cni.cncf.io/policy-for": "a, other/b"},
        },
        "spec": {
            "podSelector": {
                "matchLabels": {"app": "web"},
                "matchExpressions": [{"key": "tier", "operator": "In", "values": ["x"]}],
            },
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {
                    "from": [
                        {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                        {"podSelector": {}, "namespaceSelector": {"matchLabels": {"a": "b"}}},
                    ],
                    "ports": [{"protocol": "TCP", "port": 80, "endPort": 90}, {"port": "http"}],
                }
            ],
            "egress": [{"to": [{"namespaceSelector": {}}]}],
        },
    },
    {"kind": "NetworkPolicy", "metadata": {"name": "q", "namespace": "default"}, "spec": {"podSelector": {}}},
]


def _policy(given: Any) -> str:
    try:
        Policy.of(given)
    except PolicyError as error:
        return refused(error)
    return "read"


def _stored(given: Any) -> Any:
    """What an API server would store of it at least: metadata is of text in any kind of any cluster."""
    made = dict(given) if isinstance(given, dict) else {"spec": given}
    metadata = made.get("metadata")
    metadata = dict(metadata) if isinstance(metadata, dict) else {}
    for key in ("name", "namespace"):
        metadata[key] = metadata[key] if isinstance(metadata.get(key), str) else "default"
    annotations = metadata.get("annotations")
    if not isinstance(annotations, dict):
        annotations = {}
    metadata["annotations"] = {key: text for key, text in annotations.items() if isinstance(text, str)}
    return {**made, "metadata": metadata}


_OBJECTS = st.one_of(
    mutated(_NADS).map(_stored),
    text_of([json.loads(each["spec"]["config"]) for each in _NADS[:2]]).map(
        lambda text: {**_NADS[0], "spec": {"config": text}}
    ),
    damaged_text(_NADS[1]["metadata"]["annotations"]["opencontrail.org/network"]).map(
        lambda text: {
            **_NADS[1],
            "metadata": {"name": "b", "namespace": "x", "annotations": {"opencontrail.org/network": text}},
        }
    ),
    (
        st.text(max_size=20)
        | text_of([["10.1.0.0/24", "fd00::/64"]])
        | damaged_text("10.1.0.0/16, fd00::/64")
    ).map(
        lambda text: {
            **_NADS[0],
            "metadata": {"name": "b", "namespace": "x", "annotations": {"opencontrail.org/cidr": text}},
        }
    ),
)

SUBJECTS = (
    Subject("selection", _SELECTIONS, _selection),
    Subject("selection-classic", _SELECTIONS, _classic_selection),
    Subject("nad", _OBJECTS, _nad),
    Subject("policy", mutated(_POLICIES).map(_stored), _policy),
)
