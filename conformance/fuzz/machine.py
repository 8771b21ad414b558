"""The state machine: hypothesis chooses what happens next, out of what may happen now.

The pools of names are small on purpose, so that steps meet: the same NAD name in two namespaces, blocks that
overlap, a network with four addresses, addresses and MACs that two pods may ask for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from conformance.fuzz import steps
from conformance.fuzz.engine import Engine, RestlessError
from conformance.fuzz.judge import Violation, judge
from conformance.fuzz.model import Model
from conformance.fuzz.steps import NODES, Pick, Step

T = TypeVar("T")
NAD_KEYS = ("default/a", "default/b", "other/a")
POD_KEYS = ("default/p1", "default/p2", "default/p3", "other/p1")
MADE = ("blue", "green")
CIDRS = ("10.2.0.0/29", "10.1.0.0/24", "10.2.0.8/29", "fd00:1::/64", "10.3.0.0/24,fd00:3::/64")
MOST = 4
"""Of a large network nobody takes more attachments than this and one."""
BAD_CIDRS = ("10.4.0.0/31", "10.5.0.0/33")
IPS = ("10.1.0.10", "10.1.0.11", "10.2.0.2", "10.1.0.254")
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02")
INTERFACES = ("net1", "eth2", "eth0")
SHAPE = ("nads", "made", "config", "attached", "waiting", "cut", "refusing", "unsettled")
"""What :meth:`AttachmentMachine.shape` counts."""
BAD_SELECTIONS = ("a,,b", "a/b/c", '[{"name": 5}]', "[{", '[{"name": "a", "ips": []}]', "A_B")


class RuleBrokenError(AssertionError):
    """A rule does not hold. ``violations`` are all that were found after the last of ``taken``."""

    def __init__(self, violations: list[Violation], taken: list[Step]) -> None:
        super().__init__("\n".join(map(str, violations)))
        self.violations = violations
        self.taken = taken


class Driver:
    """Takes steps on an engine and judges the world after each; what the machine and a replay share."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.model = Model()
        self.taken: list[Step] = []
        engine.reset()

    def take(self, step: Step) -> None:
        """Carry out a step; ``RuleBrokenError`` when a rule does not hold afterwards."""
        self.taken.append(step)
        try:
            self.engine.do(step)
        except RestlessError as error:
            raise RuleBrokenError([Violation("comes-to-rest", str(error))], list(self.taken)) from error
        self.model.apply(step)
        self.check()

    def check(self) -> None:
        """Judge the world as it is."""
        violations = judge(self.model, self.engine.observe())
        if violations:
            raise RuleBrokenError(violations, list(self.taken))

    def finish(self) -> None:
        """Take everything down, as an administrator would; nothing may be left."""
        for step in self.ending():
            self.take(step)

    def ending(self) -> list[Step]:
        """Steps that end every fault and delete everything."""
        model = self.model
        closing: list[Step] = [steps.LoseAnswers(False)] if model.unsettled else []
        closing += [steps.RefuseDevices(node, False) for node in sorted(model.refusing)]
        closing += [steps.Heal(node) for node in sorted(model.cut)]
        closing += [steps.DeletePod(key) for key in _running(model)]
        closing += [steps.DeleteNad(key) for key in sorted(model.nads)]
        closing += [steps.RemoveNetwork(name) for name in sorted(model.config)]
        return closing


def _one_of(choose: Callable[[Model], list[T]]) -> st.SearchStrategy[T]:
    """One of what the model offers now."""
    return st.runner().flatmap(lambda machine: st.sampled_from(choose(machine.driver.model)))


def _running(model: Model) -> list[str]:
    return sorted(key for key, pod in model.pods.items() if not pod.ending)


def _attached(model: Model) -> list[str]:
    return sorted(key for key, pod in model.pods.items() if pod.held is not None and not pod.ending)


def _free(model: Model) -> list[str]:
    return [key for key in POD_KEYS if key not in model.pods]


def _can(kind: type[Step]) -> Callable[[Any], bool]:
    return lambda machine: machine.engine.supports(kind)


def _some(choose: Callable[[Model], list[Any]]) -> Callable[[Any], bool]:
    return lambda machine: bool(choose(machine.driver.model))


def _usable(model: Model) -> list[str]:
    """NADs that stand for a network now; any at all, where there is none."""
    return [key for key in NAD_KEYS if model.network_of(key)] or list(NAD_KEYS)


_PICKS = st.lists(st.builds(Pick, st.sampled_from(NAD_KEYS)), max_size=3).map(tuple)
_ASKING = st.builds(
    Pick,
    st.sampled_from(NAD_KEYS),
    interface=st.sampled_from(("", *INTERFACES)),
    ip=st.sampled_from(("", *IPS)),
    mac=st.sampled_from(("", *MACS)),
)
_REQUESTS = st.lists(_ASKING, min_size=1, max_size=2).map(tuple)


def _filling(model: Model) -> list[tuple[Pick, ...]]:
    """One network as often as it has room, a little less or more: what fills small blocks, and what waits."""
    found = []
    for nad in _usable(model):
        room = model.room(model.network_of(nad))
        found += [(Pick(nad),) * times for times in range(1, min(room, MOST) + 2)]
    return found


_SAME = _one_of(_filling)


class AttachmentMachine(RuleBasedStateMachine):
    """One example: a cluster from empty to empty."""

    engine: Engine
    broken: RuleBrokenError | None = None

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver(self.engine)
        self.ended = False

    def _take(self, step: Step) -> None:
        try:
            self.driver.take(step)
        except RuleBrokenError as error:
            self.ended = True
            type(self).broken = error
            raise
        except BaseException:
            self.ended = True
            raise
        self.taken(step)

    def taken(self, step: Step) -> None:
        """Called after each step that broke no rule."""

    def shape(self) -> tuple[object, ...]:
        """The state as coverage counts it: how much there is of what."""
        model = self.driver.model
        return (
            len(model.nads),
            len(model.made),
            len(model.config),
            sum(pod.held is not None for pod in model.pods.values()),
            sum(pod.held is None for pod in model.pods.values()),
            bool(model.cut),
            bool(model.refusing),
            model.unsettled,
        )

    @rule(key=st.sampled_from(NAD_KEYS), cidr=st.sampled_from(CIDRS))
    def nad_with_cidr(self, key: str, cidr: str) -> None:
        """An administrator creates or changes a NAD."""
        self._take(steps.ApplyNad(key, cidr=cidr))

    @rule(key=st.sampled_from(NAD_KEYS), network=st.sampled_from(MADE))
    def nad_that_maps(self, key: str, network: str) -> None:
        """An administrator maps a NAD to a network that may or may not be there."""
        self._take(steps.ApplyNad(key, maps_to=network))

    @rule(key=st.sampled_from(NAD_KEYS), how=st.sampled_from(("config", "foreign", *BAD_CIDRS)))
    def nad_broken(self, key: str, how: str) -> None:
        """An administrator makes a mistake, or a NAD for another plugin."""
        if how in BAD_CIDRS:
            self._take(steps.ApplyNad(key, cidr=how))
        else:
            self._take(steps.ApplyNad(key, cidr=CIDRS[1], broken=how))

    @precondition(_some(lambda model: list(model.nads)))
    @rule(key=_one_of(lambda model: sorted(model.nads)))
    def delete_nad(self, key: str) -> None:
        """An administrator deletes a NAD, in use or not."""
        self._take(steps.DeleteNad(key))

    @rule(network=st.sampled_from(MADE), cidr=st.sampled_from(CIDRS[:2]))
    def make_network(self, network: str, cidr: str) -> None:
        """An administrator makes a network in the config API."""
        self._take(steps.MakeNetwork(network, cidr))

    @precondition(_some(lambda model: list(model.config)))
    @rule(network=_one_of(lambda model: sorted(model.config)))
    def remove_network(self, network: str) -> None:
        """An administrator removes it, in use or not."""
        self._take(steps.RemoveNetwork(network))

    @precondition(_some(_free))
    @rule(key=_one_of(_free), node=st.sampled_from(NODES), picks=_PICKS)
    def create_pod(self, key: str, node: str, picks: tuple[Pick, ...]) -> None:
        """A user creates a pod."""
        self._take(steps.CreatePod(key, node, picks))

    @precondition(_some(_free))
    @rule(
        key=_one_of(_free),
        node=st.sampled_from(NODES),
        picks=st.lists(st.builds(Pick, _one_of(_usable)), max_size=3).map(tuple) | _SAME,
    )
    def create_pod_that_starts(self, key: str, node: str, picks: tuple[Pick, ...]) -> None:
        """A user selects networks that are there."""
        self._take(steps.CreatePod(key, node, picks))

    @precondition(_some(_free))
    @rule(key=_one_of(_free), node=st.sampled_from(NODES), picks=_REQUESTS)
    def create_pod_with_requests(self, key: str, node: str, picks: tuple[Pick, ...]) -> None:
        """A user asks for names, addresses and MACs."""
        self._take(steps.CreatePod(key, node, picks))

    @precondition(_some(_free))
    @rule(key=_one_of(_free), node=st.sampled_from(NODES), text=st.sampled_from(BAD_SELECTIONS))
    def create_pod_with_nonsense(self, key: str, node: str, text: str) -> None:
        """A user writes a selection that nobody can read."""
        self._take(steps.CreatePod(key, node, text=text))

    @precondition(_some(_running))
    @rule(key=_one_of(_running), picks=_PICKS)
    def edit_selection(self, key: str, picks: tuple[Pick, ...]) -> None:
        """A user edits the annotation of a pod."""
        self._take(steps.EditSelection(key, picks))

    @precondition(_some(_attached))
    @rule(key=_one_of(_attached))
    def damage_status(self, key: str) -> None:
        """Somebody overwrites a status."""
        self._take(steps.DamageStatus(key))

    @precondition(_some(_running))
    @rule(key=_one_of(_running), grace=st.sampled_from((1, 0)))
    def delete_pod(self, key: str, grace: int) -> None:
        """A user deletes a pod."""
        self._take(steps.DeletePod(key, grace))

    @rule()
    def restart_controller(self) -> None:
        """The controller ends and starts again."""
        self._take(steps.RestartController())

    @rule(node=st.sampled_from(NODES))
    def restart_agent(self, node: str) -> None:
        """An agent ends and starts again."""
        self._take(steps.RestartAgent(node))

    @rule(node=st.sampled_from(NODES))
    def reboot(self, node: str) -> None:
        """A node reboots."""
        self._take(steps.Reboot(node))

    @precondition(_some(lambda model: [node for node in NODES if node not in model.cut]))
    @rule(node=_one_of(lambda model: [node for node in NODES if node not in model.cut]))
    def cut(self, node: str) -> None:
        """A node loses the API."""
        self._take(steps.Cut(node))

    @precondition(_some(lambda model: list(model.cut)))
    @rule(node=_one_of(lambda model: sorted(model.cut)))
    def heal(self, node: str) -> None:
        """A node finds the API again."""
        self._take(steps.Heal(node))

    @precondition(_some(_attached))
    @rule(key=_one_of(_attached), verb=st.sampled_from(("ADD", "CHECK", "DEL")))
    def repeat_call(self, key: str, verb: str) -> None:
        """A runtime repeats a call."""
        self._take(steps.RepeatCall(key, verb))

    @precondition(_can(steps.RefuseDevices))
    @rule(node=st.sampled_from(NODES), on=st.booleans())
    def refuse_devices(self, node: str, on: bool) -> None:
        """A kernel refuses devices, or no longer."""
        self._take(steps.RefuseDevices(node, on))

    @precondition(_can(steps.LoseAnswers))
    @rule(on=st.booleans())
    def lose_answers(self, on: bool) -> None:
        """The controller's connection gets bad, or good again."""
        self._take(steps.LoseAnswers(on))

    @rule()
    def elapse(self) -> None:
        """A minute passes."""
        self._take(steps.Elapse())

    def teardown(self) -> None:
        """From everything to nothing."""
        if self.ended:
            return
        for step in self.driver.ending():
            self._take(step)
