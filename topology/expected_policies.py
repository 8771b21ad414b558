"""What network policies leave of the expected reachability, by the rules of multinet.model.policies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from multinet.model.objects import Obj, labels_of, name_of, namespace_of, uid_of
from multinet.model.policies import Decision, Member, Policy, PolicyError, Traffic, allows, named_ports
from topology.expectation import ExpectedInterface, ExpectedPod

#: What a probe of each protocol is to a policy: protocol, and the port it goes to (discard, RFC 863).
_PROBES = {"arp": ("UDP", 9), "icmp": ("ICMP", None), "udp": ("UDP", 9), "tcp": ("TCP", 9)}
_PROBES |= {"nd": ("UDP", 9), "icmp6": ("ICMP", None), "udp6": ("UDP", 9), "tcp6": ("TCP", 9)}
#: Those of IPv6.
PROTOCOLS6 = ("nd", "icmp6", "udp6", "tcp6")


class ExpectedPolicies:
    """Policies of both kinds, with the labels of pods and namespaces they select by.

    A policy that can't be understood is in force for nobody. ``Expected...`` of hosts, which are no pods, are
    peers for blocks of addresses only.
    """

    def __init__(
        self, policies: Iterable[Obj] = (), pods: Iterable[Obj] = (), namespaces: Iterable[Obj] = ()
    ) -> None:
        self._policies: list[Policy] = []
        for policy in policies:
            try:
                self._policies.append(Policy.of(policy))
            except PolicyError:
                continue
        self._pods = {uid_of(pod): pod for pod in pods}
        self._namespaces = {name_of(each): labels_of(each) for each in namespaces}

    def decide(
        self,
        source: tuple[ExpectedPod, ExpectedInterface],
        destination: tuple[ExpectedPod, ExpectedInterface],
        protocol: str,
        addresses: tuple[Sequence[str], Sequence[str]],
    ) -> Decision:
        """Whether a probe of ``protocol`` may pass; ``addresses`` are those seen on the two interfaces.

        Where somebody answers ARP for others, an answer is worth what a UDP probe that follows it finds.
        """
        kind, number = _PROBES[protocol]
        ends = [self._member(*end, seen) for end, seen in zip((source, destination), addresses, strict=True)]
        return allows(
            self._policies, Traffic(ends[0], ends[1], kind, number, 6 if protocol in PROTOCOLS6 else 4)
        )

    def _member(self, pod: ExpectedPod, interface: ExpectedInterface, seen: Sequence[str]) -> Member:
        found = self._pods.get(pod.uid)
        namespace = namespace_of(found) if found is not None else ""
        texts = seen or interface.addresses
        return Member(
            pod=pod.pod,
            namespace=namespace,
            labels=labels_of(found or {}),
            namespace_labels=self._namespaces.get(namespace, {}),
            network=interface.network,
            nad=interface.nad,
            addresses=tuple(ip_address(text.partition("/")[0]) for text in texts),
            named_ports=named_ports(found or {}),
        )
