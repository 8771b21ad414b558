"""Two formulations of network policies agree: rule by rule, and as lists of addresses and ports."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from multinet.model.policies import EGRESS, INGRESS, Member, Policy, Traffic, allows
from multinet.vrouter.policy_lists import Lists

LABELS = st.fixed_dictionaries({}, optional={"a": st.sampled_from("xy"), "b": st.sampled_from("xy")})
EXPRESSION = st.one_of(
    st.fixed_dictionaries(
        {"key": st.sampled_from("ab"), "operator": st.sampled_from(["Exists", "DoesNotExist"])}
    ),
    st.fixed_dictionaries(
        {
            "key": st.sampled_from("ab"),
            "operator": st.sampled_from(["In", "NotIn"]),
            "values": st.lists(st.sampled_from("xy"), min_size=1, max_size=2),
        }
    ),
)
SELECTOR = st.fixed_dictionaries(
    {}, optional={"matchLabels": LABELS, "matchExpressions": st.lists(EXPRESSION, max_size=1)}
)
BLOCK = st.fixed_dictionaries(
    {"cidr": st.sampled_from(["10.0.0.0/29", "10.0.0.0/30", "0.0.0.0/0", "fd00::/126"])},
    optional={"except": st.sampled_from([["10.0.0.2/32"], ["10.0.0.0/31"], ["fd00::2/127"]])},
)
PEER = st.one_of(
    st.fixed_dictionaries({"podSelector": SELECTOR}, optional={"namespaceSelector": SELECTOR}),
    st.fixed_dictionaries({"namespaceSelector": SELECTOR}),
    st.fixed_dictionaries({"ipBlock": BLOCK}),
)
PORT = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"port": st.sampled_from([80, 81, "web", "alt"])}),
    st.just({"protocol": "UDP"}),
    st.just({"protocol": "UDP", "port": "web"}),
    st.just({"port": 80, "endPort": 90}),
)


def rules(side):
    rule = st.fixed_dictionaries(
        {side: st.lists(PEER, max_size=2)}, optional={"ports": st.lists(PORT, max_size=2)}
    )
    return st.lists(rule, min_size=1, max_size=2)


@st.composite
def policies(draw, *, multi):
    everybody = st.just({})
    spec = {
        "podSelector": draw(everybody | everybody | SELECTOR),
        "ingress": draw(rules("from")),
        "egress": draw(rules("to")),
    }
    if draw(st.booleans()):
        spec["policyTypes"] = draw(st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]]))
    metadata = {"name": "p", "namespace": draw(st.sampled_from(["one", "one", "two"]))}
    if multi:
        metadata["annotations"] = {"k8s.v1.cni.cncf.io/policy-for": draw(st.sampled_from(["one/n", "n", ""]))}
    kind = "MultiNetworkPolicy" if multi else "NetworkPolicy"
    return Policy.of({"kind": kind, "metadata": metadata, "spec": spec})


@st.composite
def members(draw, *, nad):
    found = []
    named = st.sampled_from([("web", "TCP", 80), ("web", "UDP", 53), ("alt", "TCP", 81)])
    for number in range(1, draw(st.integers(2, 3)) + 1):
        namespace = draw(st.sampled_from(["one", "one", "two", ""]))
        space = {"a": "x"} if namespace == "one" else {}
        addresses = tuple(map(ip_address, (f"10.0.0.{number}", f"fd00::{number}")))
        ports = frozenset(draw(st.lists(named, max_size=2)))
        labels = draw(LABELS)
        member = Member(f"{namespace}/{number}", namespace, labels, space, "net", nad, addresses, ports)
        found.append(member)
    return found


def by_lists(known, everybody, traffic):
    """What the lists say about the packet alone."""
    ends = (traffic.source, traffic.destination)
    of_version = [next(a for a in end.addresses if a.version == traffic.version) for end in ends]
    for direction, subject, peer in (
        (EGRESS, traffic.source, of_version[1]),
        (INGRESS, traffic.destination, of_version[0]),
    ):
        left = Lists(known, everybody).closed(subject)
        lists = None if left is None else (left.egress if direction == EGRESS else left.ingress)
        if lists is None:
            continue
        if not any(each.lets(peer, traffic.protocol, traffic.number) for each in lists):
            return False
    return True


CASES = st.booleans().flatmap(
    lambda multi: st.tuples(
        st.lists(policies(multi=multi), min_size=1, max_size=2), members(nad="one/n" if multi else "")
    )
)


@given(CASES)
def test_the_lists_let_through_what_the_rules_allow(case):
    known, everybody = case
    for version in (4, 6):
        for protocol, number in (("TCP", 80), ("TCP", 53), ("UDP", 53), ("ICMP", None)):
            for source in everybody:
                for destination in everybody:
                    traffic = Traffic(source, destination, protocol, number, version)
                    expected = allows(known, traffic).allowed
                    assert by_lists(known, everybody, traffic) is expected, (known, traffic)
