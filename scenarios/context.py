"""What a step's action gets, and what it gives back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from multinet.errors import InputError, NetworkingError
from multinet.kube import resources
from multinet.kube.client import Client
from reports.verdicts import Verdict
from scenarios.cluster import Cluster, Emit
from scenarios.loader import LoadedStep, Scenario
from scenarios.schema import split
from topology.backend import Lab
from topology.expectation import ExpectedPod, Oracle
from topology.expected_hosts import expect_hosts
from topology.expected_policies import ExpectedPolicies

Snapshot = dict[tuple[str, str, str], str]
"""``(pod, interface, field) -> value`` as one check saw it, from annotation and kernel together."""


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a step; ``facts`` are sentences for the report."""

    verdict: Verdict = Verdict.PASS
    reason: str = ""
    next_step: str = ""
    facts: tuple[str, ...] = ()


@contextlib.contextmanager
def _deciding() -> Iterator[None]:
    """Objects of any content come through the API; what can't be understood is theirs, not the harness's."""
    what = "what the interfaces must have can't be decided from the objects in the API"
    try:
        yield
    except InputError as error:
        why = ": ".join(part for part in (error.where, error.what, error.why) if part)
        raise NetworkingError(what, why=why, next_step=error.next_step) from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise NetworkingError(what, why=f"{type(error).__name__}: {error}") from error


@dataclass(slots=True)
class Context:
    """One run's state; actions change only ``snapshot``.

    ``baseline`` has the names of the links that each node had before any pod.
    """

    scenario: Scenario
    lab: Lab
    client: Client
    cluster: Cluster
    run_dir: Path
    emit: Emit
    expectations: Oracle
    baseline: Mapping[str, frozenset[str]]
    snapshot: Snapshot = field(default_factory=dict)

    def expected_pods(self) -> tuple[ExpectedPod, ...]:
        """What each pod must have, decided when it was first seen; to be called after each step."""
        objects = self.cluster.all
        with _deciding():
            return self.expectations.observe(
                objects(resources.PODS),
                objects(resources.NADS),
                objects(resources.VIRTUAL_NETWORKS),
                objects(resources.NAMESPACES),
            )

    def chosen_pods(self, pods: Sequence[str] | str) -> tuple[ExpectedPod, ...]:
        """Those of :meth:`expected_pods` that can be attached and are in ``pods``, or all."""
        wanted = None if isinstance(pods, str) else {"/".join(split(name)) for name in pods}
        return tuple(
            pod for pod in self.expected_pods() if not pod.problem and (wanted is None or pod.pod in wanted)
        )

    def hosts(self) -> dict[str, str]:
        """``name -> path of its network namespace`` of the plain hosts."""
        return {name: self.lab.node_netns(name) for name in self.lab.hosts}

    def expected_hosts(self) -> tuple[ExpectedPod, ...]:
        """What each plain host must have now, by the objects made through the config API."""
        objects = self.cluster.all
        vmis, networks = objects(resources.VIRTUAL_MACHINE_INTERFACES), objects(resources.VIRTUAL_NETWORKS)
        with _deciding():
            return expect_hosts(self.hosts(), vmis, networks)

    def expected_policies(self) -> ExpectedPolicies:
        """The network policies of both kinds, as they are now."""
        objects = self.cluster.all
        policies = [
            {"kind": resource.kind, **policy}
            for resource in (resources.NETWORK_POLICIES, resources.MULTI_NETWORK_POLICIES)
            for policy in objects(resource)
        ]
        with _deciding():
            return ExpectedPolicies(policies, objects(resources.PODS), objects(resources.NAMESPACES))

    def sandboxes(self) -> dict[str, str]:
        """``namespace/name -> path of its network namespace`` of all pods that have a sandbox."""
        return {f"{one.namespace}/{one.pod}": one.netns for one in self.lab.sandboxes()}

    def tell(self, kind: str, step: LoadedStep, **data: Any) -> None:
        """Emit an event that belongs to a step."""
        self.emit(kind, {"step": step.index, **data})


class Action(Protocol):
    """Carries out one kind of step. May raise ``MultinetError``; the runner makes a verdict of it."""

    async def __call__(self, context: Context, step: LoadedStep) -> Result:
        """Do it."""
