"""MultiNetworkPolicies that are in force for nobody, and their users don't know: says so on the policy.

The standard has the annotation ``k8s.v1.cni.cncf.io/policy-for`` name NADs. A policy without it, or one that
names a NAD which does not exist, closes nothing. What else can be wrong with a policy the nodes tell, which
read it to enforce it.

A policy and its NAD are often made together, and news of them come in any order: a policy is looked at a
moment later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from multinet.controller.announcer import Announcer
from multinet.controller.view import View
from multinet.kube.client import Client
from multinet.kube.informer import Informer
from multinet.kube.resources import MULTI_NETWORK_POLICIES
from multinet.model.objects import Obj, key_of, namespace_of
from multinet.model.policies import ANNOTATION_POLICY_FOR, nads_of

_BY_NAD = "nad"
_MOMENT_S = 1.0


class Policies:
    """Looks at policies when they change, and when a NAD that they name comes or goes.

    ``later(key, seconds)`` queues a look.

    Its informer is no part of the view: the API of a cluster need not have such policies.
    """

    def __init__(
        self, client: Client, view: View, announcer: Announcer, later: Callable[[str, float], None]
    ) -> None:
        self.informer = Informer(client, MULTI_NETWORK_POLICIES)
        self.informer.add_index(_BY_NAD, _named)
        self._view = view
        self._announcer = announcer
        self._later = later

    def changed(self, old: Obj | None, new: Obj | None) -> None:
        """A policy is there, has changed or is gone (informer callback)."""
        self._later(key_of(new or old or {}), _MOMENT_S)

    def nad_changed(self, old: Obj | None, new: Obj | None) -> None:
        """A NAD came or went: who names it is looked at again."""
        if old is None or new is None:
            for policy in self.informer.by_index(_BY_NAD, key_of(new or old or {})):
                self._later(key_of(policy), _MOMENT_S)

    async def reconcile(self, key: str) -> None:
        """One look at the policy ``namespace/name``."""
        found = self.informer.store.get(key)
        if found is None:
            return
        # In lists, objects don't say what they are.
        kind = {"apiVersion": MULTI_NETWORK_POLICIES.api_version, "kind": MULTI_NETWORK_POLICIES.kind}
        policy = {**kind, **found}
        names = sorted(_named(policy))
        missing = [name for name in names if name not in self._view.nads.store]
        if not names:
            self._announcer.warn(
                policy,
                "PolicyForNobody",
                f"it names no network, so it is in force for nobody. To mend it: name NADs in the annotation "
                f"{ANNOTATION_POLICY_FOR}",
            )
        elif missing:
            self._announcer.warn(
                policy,
                "NetworkNotFound",
                f"{ANNOTATION_POLICY_FOR} names {', '.join(missing)}: there is no such NAD, so for it the "
                f"policy is in force for nobody. To mend it: correct the name, or make the NAD",
            )
        else:
            self._announcer.recovered(policy)


def _named(policy: Obj) -> Iterable[str]:
    return nads_of(policy, namespace_of(policy))
