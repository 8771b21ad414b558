"""NetworkPolicy and MultiNetworkPolicy in the API: defaults, refusals, kubectl."""

from __future__ import annotations

import pytest

POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
MULTI = "/apis/k8s.cni.cncf.io/{}/namespaces/default/multi-networkpolicies"
BLOCK = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}
MANIFEST = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: In, values: [b, a]}]}
  ingress:
  - from: [{podSelector: {matchLabels: {role: client}}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]
    ports: [{port: 80, endPort: 90, protocol: TCP}, {port: dns, protocol: UDP}]
  egress: [{}]
---
apiVersion: k8s.cni.cncf.io/v1beta1
kind: MultiNetworkPolicy
metadata: {name: left, annotations: {k8s.v1.cni.cncf.io/policy-for: left-network}}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""


def policy(**spec):
    return {"metadata": {"name": "p"}, "spec": {"podSelector": {}, **spec}}


async def test_policy_types_and_protocols_have_defaults(api):
    made = await api.post(POLICIES, policy(ingress=[{"ports": [{"port": 80}]}]))
    assert made.status == 201
    assert made.body["spec"]["policyTypes"] == ["Ingress"]
    assert made.body["spec"]["ingress"] == [{"ports": [{"port": 80, "protocol": "TCP"}]}]
    second = policy(egress=[{"to": [BLOCK]}]) | {"metadata": {"name": "q"}}
    assert (await api.post(POLICIES, second)).body["spec"]["policyTypes"] == ["Ingress", "Egress"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"policyTypes": ["Both"]}, 'spec.policyTypes[0]: Unsupported value: "Both"'),
        ({"ingress": [{"from": [{}]}]}, "spec.ingress[0].from[0]: Required value: must specify a peer"),
        (
            {"egress": [{"to": [BLOCK | {"podSelector": {}}]}]},
            "spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer",
        ),
        (
            {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0"}}]}]},
            'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.0": must be a valid CIDR value',
        ),
        (
            {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/9"]}}]}]},
            'ipBlock.except[0]: Invalid value: "11.0.0.0/9": must be a strict subset of `cidr`: "10.0.0.0/8"',
        ),
        ({"ingress": [{"ports": [{"port": 70000}]}]}, "must be between 1 and 65535, inclusive"),
        (
            {"ingress": [{"ports": [{"port": 80, "endPort": 79}]}]},
            "spec.ingress[0].ports[0].endPort: Invalid value: 79: must be greater than or equal to `port`",
        ),
        (
            {"ingress": [{"ports": [{"port": "http", "endPort": 79}]}]},
            "may not be specified when `port` is non-numeric",
        ),
        (
            {"ingress": [{"ports": [{"protocol": "ICMP"}]}]},
            'spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP"',
        ),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}, "it is one of In, NotIn"),
    ],
)
async def test_what_is_wrong_is_refused_in_the_words_of_kubernetes(api, spec, words):
    refused = await api.post(POLICIES, policy(**spec))
    assert (refused.status, refused.body["reason"]) == (422, "Invalid")
    assert words in refused.body["message"]


async def test_a_multi_network_policy_is_served_in_both_versions(api):
    for_left = {"name": "p", "annotations": {"k8s.v1.cni.cncf.io/policy-for": "left"}}
    wrong = policy(ingress=[{"ports": [{"endPort": "x"}]}])
    assert (await api.post(MULTI.format("v1beta1"), wrong)).status == 422
    written = policy(ingress=[{"ports": [{"port": "http"}, {"port": 80}]}]) | {"metadata": for_left}
    assert (await api.post(MULTI.format("v1beta1"), written)).status == 201
    read = await api.get(MULTI.format("v1beta2") + "/p")
    assert (read.body["apiVersion"], read.body["spec"]) == ("k8s.cni.cncf.io/v1beta2", written["spec"])


@pytest.mark.programs
async def test_kubectl_applies_shows_and_describes_policies(kubectl):
    made = await kubectl.ok("apply", "-f", "-", stdin=MANIFEST)
    assert made.splitlines() == [
        "networkpolicy.networking.k8s.io/web created",
        "multinetworkpolicy.k8s.cni.cncf.io/left created",
    ]
    again = await kubectl.ok("apply", "-f", "-", stdin=MANIFEST)
    assert [line.rpartition(" ")[2] for line in again.splitlines()] == ["unchanged", "unchanged"]
    rows = (await kubectl.ok("get", "netpol")).splitlines()
    assert rows[0].split() == ["NAME", "POD-SELECTOR", "AGE"]
    assert rows[1].startswith("web    app=web,tier in (a,b)")
    described = await kubectl.ok("describe", "networkpolicy", "web")
    for words in ("To Port: dns/UDP", "PodSelector: role=client", "Except: 10.1.0.0/16",
                  "Policy Types: Ingress, Egress"):  # fmt: skip
        assert words in described
    multi = (await kubectl.ok("get", "multi-policy")).splitlines()
    assert multi[1].split()[:2] == ["left", "left-network"]
