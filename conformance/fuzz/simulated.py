"""The model engine: a whole cluster in this process, in virtual time; nothing in it is real but the logic."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from conformance.fuzz import asking, manifests, steps
from conformance.fuzz.engine import UnforeseenError
from conformance.fuzz.seen import Seen
from conformance.fuzz.simcluster import SimulatedCluster
from conformance.fuzz.simlook import Onlooker
from conformance.fuzz.steps import Step
from conformance.fuzz.witness import Witness
from multinet.errors import MultinetError
from multinet.kube.resources import NADS, NAMESPACES
from multinet.model.dialect import DEFAULT, Dialect

_LOSSES, _REPEATS = 0.1, 0.3


class SimulatedEngine:
    """An :class:`~conformance.fuzz.engine.Engine`. A cluster is used again while it comes out empty."""

    def __init__(self, dialect: Dialect = DEFAULT) -> None:
        self._dialect = dialect
        self._cluster: SimulatedCluster | None = None
        self._onlooker: Onlooker | None = None
        self._witness = Witness()
        self._spoiled = False
        self._do: dict[type[Step], Callable[..., None]] = {
            **dict.fromkeys(asking.KINDS, self._ask),
            steps.MakeNetwork: self._make_network,
            steps.RemoveNetwork: self._remove_network,
            steps.RestartController: lambda _step: self.cluster.restart_controller(),
            steps.RestartAgent: self._restart_agent,
            steps.Reboot: self._reboot,
            steps.Cut: self._cut,
            steps.Heal: self._heal,
            steps.RepeatCall: self._repeat_call,
            steps.RefuseDevices: self._refuse_devices,
            steps.LoseAnswers: self._lose_answers,
            steps.Elapse: lambda step: self.cluster.settle(step.seconds),
        }

    @property
    def cluster(self) -> SimulatedCluster:
        """The cluster of this example."""
        if self._cluster is None:
            self._witness.begin()
            self._cluster = SimulatedCluster(dialect=self._dialect)
            self._cluster.loop.on_error = self._witness.see
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}
            self._cluster.do("namespace", self._cluster.client.create(NAMESPACES, body))
        return self._cluster

    def supports(self, kind: type[Step]) -> bool:
        """Everything."""
        return kind in self._do

    def reset(self) -> None:
        """An empty cluster: the one there is, if nothing of the last example is left in it."""
        if self._cluster is None:
            return
        if self._spoiled:
            self.close()
            return
        seen = self.observe()
        made = seen.pods or seen.networks or seen.owners or self.cluster.api.objects(NADS)
        if self._is_broken() or made or seen.leftovers or seen.misled:
            self.close()

    def _is_broken(self) -> bool:
        """Whether a fault of the last example, which may have ended anywhere, is still on."""
        line = self.cluster.controller_line
        nodes = self.cluster.nodes.values()
        return bool(line.losses or line.repeats) or any(n.line.cut or n.kernel.refusing for n in nodes)

    def close(self) -> None:
        """End the cluster."""
        if self._cluster is not None:
            self._cluster.loop.on_error = lambda _what, _error: None
            self._cluster.close()
            self._cluster = self._onlooker = None
            self._witness.end()
            self._witness.take()
            self._spoiled = False

    def do(self, step: Step) -> None:
        """Carry out a step."""
        self._spoiled = True
        self._do[type(step)](step)
        if seen := self._witness.take():
            raise UnforeseenError("; ".join(seen))
        self._spoiled = False

    def observe(self) -> Seen:
        """Look at everything."""
        if self._onlooker is None:
            self._onlooker = Onlooker(self.cluster)
        return self._onlooker.observe()

    def _ask(self, step: Step) -> None:
        self.cluster.do(step.name, asking.ask(self.cluster.client, step))

    def _make_network(self, step: steps.MakeNetwork) -> None:
        self.cluster.do("network", self.cluster.config.create_network(manifests.config_network(step)))

    def _remove_network(self, step: steps.RemoveNetwork) -> None:
        fq_name = (manifests.DOMAIN, manifests.PROJECT, step.network)
        self.cluster.do("network", self.cluster.config.remove_network(fq_name))

    def _restart_agent(self, step: steps.RestartAgent) -> None:
        node = self.cluster.nodes[step.node]

        def restart() -> None:
            node.stop_agent()
            node.start_agent()
            node.resume()

        self.cluster.act("agent restarts", restart)

    def _reboot(self, step: steps.Reboot) -> None:
        self.cluster.act("reboot", self.cluster.nodes[step.node].reboot)

    def _cut(self, step: steps.Cut) -> None:
        self.cluster.act("cut", self.cluster.nodes[step.node].line.cut_off)

    def _heal(self, step: steps.Heal) -> None:
        self.cluster.nodes[step.node].reconnect()
        # A client that was cut off comes back after its longest back-off.
        self.cluster.settle(40.0)

    def _repeat_call(self, step: steps.RepeatCall) -> None:
        for node in self.cluster.nodes.values():
            for sandbox in list(node.sandboxes.values()):
                if sandbox.pod == step.key and sandbox.result is not None:
                    with contextlib.suppress(MultinetError):
                        self.cluster.do(step.verb, node.repeat(step.verb, sandbox))

    def _refuse_devices(self, step: steps.RefuseDevices) -> None:
        self.cluster.nodes[step.node].refuse("no buffer space" if step.on else "")
        self.cluster.settle(3.0)

    def _lose_answers(self, step: steps.LoseAnswers) -> None:
        line = self.cluster.controller_line
        line.luck.seed(0)
        line.losses, line.repeats = (_LOSSES, _REPEATS) if step.on else (0.0, 0.0)
        if not step.on:
            self.cluster.settle(40.0)
