"""A pod's ``resolv.conf``: whom its resolver asks, by ``dnsPolicy`` and ``dnsConfig``.

Source: "DNS for Services and Pods", kubernetes ``pkg/kubelet/network/dns``. A pod that asks nobody of the
cluster (``Default``, or a node without a cluster DNS) gets no name server at all: the node's is beyond the
lab, and a resolver would wait for it in vain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from multinet.model.objects import Obj, namespace_of, section

_NOBODY = """\
# The lab has no name server.
options timeout:1 attempts:1
"""
#: As Kubernetes has them, and less patience than the resolver's: who does not answer in a lab is not there.
_OPTIONS = {"ndots": "5", "timeout": "1", "attempts": "2"}
_SERVERS, _SEARCHES = 3, 32


@dataclass(frozen=True, slots=True)
class Resolver:
    """The cluster's name servers, if there are any, and its domain."""

    servers: tuple[str, ...] = ()
    domain: str = "cluster.local"

    def text(self, pod: Obj) -> str:
        """The content of the file."""
        spec = section(pod, "spec")
        config = spec.get("dnsConfig") or {}
        servers: tuple[str, ...] = ()
        searches: tuple[str, ...] = ()
        options: dict[str, str] = {}
        if self.serves(pod):
            below = f"svc.{self.domain}"
            servers, options = self.servers, dict(_OPTIONS)
            searches = (f"{namespace_of(pod)}.{below}", below, self.domain)
        servers = _joined(servers, config.get("nameservers"))[:_SERVERS]
        searches = _joined(searches, config.get("searches"))[:_SEARCHES]
        options |= {str(each["name"]): str(each.get("value") or "") for each in config.get("options") or ()}
        lines = [f"search {' '.join(searches)}"] if searches else []
        lines += [f"nameserver {server}" for server in servers]
        if options:
            words = (f"{name}:{value}" if value else name for name, value in options.items())
            lines.append(f"options {' '.join(words)}")
        return "\n".join(lines) + "\n" if servers else _NOBODY

    def serves(self, pod: Obj) -> bool:
        """Whether the pod asks the cluster's name servers."""
        spec = section(pod, "spec")
        policy = spec.get("dnsPolicy") or "ClusterFirst"
        if policy == "ClusterFirst" and spec.get("hostNetwork"):
            policy = "Default"
        return bool(self.servers) and policy in ("ClusterFirst", "ClusterFirstWithHostNet")

    def domain_of(self, pod: Obj) -> str:
        """The domain that the pod's subdomain makes; empty without one."""
        subdomain = section(pod, "spec").get("subdomain")
        return f"{subdomain}.{namespace_of(pod)}.svc.{self.domain}" if subdomain else ""


#: Where the cluster has no name server.
NO_RESOLVER = Resolver()


def _joined(first: tuple[str, ...], more: Iterable[object] | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *map(str, more or ()))))
