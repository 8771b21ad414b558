"""The state machine: hypothesis chooses what happens next, out of what may happen now.

The pools of names are small on purpose, so that steps meet: the same NAD name in two namespaces, blocks that
overlap, a network with four addresses, addresses and MACs that two pods may ask for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from conformance.fuzz import steps
from conformance.fuzz.choosing import LUCK, Choosing, Luck
from conformance.fuzz.engine import Engine, Patient, RestlessError, UnforeseenError
from conformance.fuzz.judge import IN_TIME, Violation, judge
from conformance.fuzz.model import Model
from conformance.fuzz.steps import NODES, Pick, Step

NAD_KEYS = ("default/a", "default/b", "other/a")
POD_KEYS = ("default/p1", "default/p2", "default/p3", "other/p1")
MADE = ("blue", "green")
CIDRS = ("10.2.0.0/29", "10.1.0.0/24", "10.2.0.8/29", "fd00:1::/64", "10.3.0.0/24,fd00:3::/64")
SMALL = ("10.2.0.0/29", "10.2.0.8/29")
"""Taken more often than the others: they are soon full."""
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
        except Exception as error:
            raise self._unforeseen(error) from error
        self.model.apply(step)
        try:
            self.check()
        except RuleBrokenError:
            raise
        except Exception as error:
            raise self._unforeseen(error) from error

    def _unforeseen(self, error: Exception) -> RuleBrokenError:
        evidence = str(error) if isinstance(error, UnforeseenError) else repr(error)
        return RuleBrokenError([Violation("fails-as-foreseen", evidence)], list(self.taken))

    def check(self) -> None:
        """Judge the world as it is."""
        violations = judge(self.model, self.engine.observe())
        while violations and self._may_pass(violations):
            violations = judge(self.model, self.engine.observe())
        if violations:
            raise RuleBrokenError(violations, list(self.taken))

    def _may_pass(self, violations: list[Violation]) -> bool:
        """Whether nothing but time may be lacking; then some has passed."""
        engine = self.engine
        late = all(item.rule in IN_TIME for item in violations)
        return late and isinstance(engine, Patient) and engine.more_time()

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


def _running(model: Model) -> list[str]:
    return sorted(key for key, pod in model.pods.items() if not pod.ending)


def _attached(model: Model) -> list[str]:
    return sorted(key for key, pod in model.pods.items() if pod.held is not None and not pod.ending)


def _free(model: Model) -> list[str]:
    return [key for key in POD_KEYS if key not in model.pods]


def _whole(model: Model) -> list[str]:
    return [node for node in NODES if node not in model.cut]


def _can(kind: type[Step]) -> Callable[[Any], bool]:
    return lambda machine: machine.engine.supports(kind)


def _some(choose: Callable[[Model], list[Any]]) -> Callable[[Any], bool]:
    return lambda machine: bool(choose(machine.driver.model))


def _usable(model: Model) -> list[str]:
    """NADs that stand for a network now; any at all, where there is none."""
    return [key for key in NAD_KEYS if model.network_of(key)] or list(NAD_KEYS)


def _picks(luck: Luck, nads: Sequence[str]) -> tuple[Pick, ...]:
    return tuple(Pick(luck.one_of(nads)) for _ in range(luck.below(4)))


def _requests(luck: Luck) -> tuple[Pick, ...]:
    return tuple(
        Pick(
            luck.one_of(NAD_KEYS),
            luck.one_of(("", *INTERFACES)),
            luck.one_of(("", *IPS)),
            luck.one_of(("", *MACS)),
        )
        for _ in range(1 + luck.below(2))
    )


def _filling(model: Model) -> list[tuple[Pick, ...]]:
    """One network as often as it has room, a little less or more: what fills small blocks, and what waits."""
    found = []
    for nad in _usable(model):
        room = model.room(model.network_of(nad))
        found += [(Pick(nad),) * times for times in range(1, min(room, MOST) + 2)]
    return found


class AttachmentMachine(RuleBasedStateMachine):
    """One example: a cluster from empty to empty."""

    engine: Engine
    broken: RuleBrokenError | None = None
    WEIGHTS: ClassVar[dict[str, int]] = {"create_pod_that_starts": 3, "nad_with_cidr": 2}
    """Rules that are taken more often than others: what nothing else can follow without."""
    swarm: bool = True
    number: int = 0
    """Of the batch of examples."""

    def __init__(self) -> None:
        super().__init__()
        self._rules_strategy: Any = Choosing(self, swarm=self.swarm)
        self.driver = Driver(self.engine)
        self.ended = False

    @property
    def model(self) -> Model:
        """What there must be now."""
        return self.driver.model

    def _take(self, step: Step) -> None:
        begun = time.perf_counter()
        try:
            self.driver.take(step)
        except RuleBrokenError as error:
            self.ended = True
            type(self).broken = error
            raise
        except BaseException:
            self.ended = True
            raise
        self.taken(step, time.perf_counter() - begun)

    def taken(self, step: Step, seconds: float) -> None:
        """Called after each step that broke no rule, with the time it took."""

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

    @rule(luck=LUCK)
    def nad_with_cidr(self, luck: Luck) -> None:
        """An administrator creates or changes a NAD."""
        self._take(steps.ApplyNad(luck.one_of(NAD_KEYS), cidr=luck.one_of((*CIDRS, *SMALL))))

    @precondition(_can(steps.MakeNetwork))
    @rule(luck=LUCK)
    def nad_that_maps(self, luck: Luck) -> None:
        """An administrator maps a NAD to a network that may or may not be there."""
        self._take(steps.ApplyNad(luck.one_of(NAD_KEYS), maps_to=luck.one_of(MADE)))

    @rule(luck=LUCK)
    def nad_broken(self, luck: Luck) -> None:
        """An administrator makes a mistake, or a NAD for another plugin."""
        key, how = luck.one_of(NAD_KEYS), luck.one_of(("config", "foreign", *BAD_CIDRS))
        if how in BAD_CIDRS:
            self._take(steps.ApplyNad(key, cidr=how))
        else:
            self._take(steps.ApplyNad(key, cidr=CIDRS[1], broken=how))

    @precondition(_some(lambda model: list(model.nads)))
    @rule(luck=LUCK)
    def delete_nad(self, luck: Luck) -> None:
        """An administrator deletes a NAD, in use or not."""
        self._take(steps.DeleteNad(luck.one_of(sorted(self.model.nads))))

    @precondition(_can(steps.MakeNetwork))
    @rule(luck=LUCK)
    def make_network(self, luck: Luck) -> None:
        """An administrator makes a network in the config API."""
        self._take(steps.MakeNetwork(luck.one_of(MADE), luck.one_of(CIDRS[:2])))

    @precondition(_some(lambda model: list(model.config)))
    @precondition(_can(steps.RemoveNetwork))
    @rule(luck=LUCK)
    def remove_network(self, luck: Luck) -> None:
        """An administrator removes it, in use or not."""
        self._take(steps.RemoveNetwork(luck.one_of(sorted(self.model.config))))

    @precondition(_some(_free))
    @rule(luck=LUCK)
    def create_pod(self, luck: Luck) -> None:
        """A user creates a pod."""
        self._create(luck, _picks(luck, NAD_KEYS if luck.below(2) else _usable(self.model)))

    @precondition(_some(_free))
    @rule(luck=LUCK)
    def create_pod_that_starts(self, luck: Luck) -> None:
        """A user selects networks that are there."""
        if luck.below(4):
            self._create(luck, luck.one_of(_filling(self.model)))
        else:
            self._create(luck, _picks(luck, _usable(self.model)))

    @precondition(_some(_free))
    @rule(luck=LUCK)
    def create_pod_with_requests(self, luck: Luck) -> None:
        """A user asks for names, addresses and MACs."""
        self._create(luck, _requests(luck))

    @precondition(_some(_free))
    @rule(luck=LUCK)
    def create_pod_with_nonsense(self, luck: Luck) -> None:
        """A user writes a selection that nobody can read."""
        self._create(luck, text=luck.one_of(BAD_SELECTIONS))

    def _create(self, luck: Luck, picks: tuple[Pick, ...] = (), text: str = "") -> None:
        key, node = luck.one_of(_free(self.model)), luck.one_of(NODES)
        self._take(steps.CreatePod(key, node, picks, text))

    @precondition(_some(_running))
    @rule(luck=LUCK)
    def edit_selection(self, luck: Luck) -> None:
        """A user edits the annotation of a pod."""
        self._take(steps.EditSelection(luck.one_of(_running(self.model)), _picks(luck, NAD_KEYS)))

    @precondition(_some(_attached))
    @precondition(_can(steps.DamageStatus))
    @rule(luck=LUCK)
    def damage_status(self, luck: Luck) -> None:
        """Somebody overwrites a status."""
        self._take(steps.DamageStatus(luck.one_of(_attached(self.model))))

    @precondition(_some(_running))
    @rule(luck=LUCK)
    def delete_pod(self, luck: Luck) -> None:
        """A user deletes a pod."""
        self._take(steps.DeletePod(luck.one_of(_running(self.model)), luck.one_of((1, 0))))

    @precondition(_can(steps.RestartController))
    @rule(luck=LUCK)
    def restart_controller(self, luck: Luck) -> None:
        """The controller ends and starts again."""
        del luck
        self._take(steps.RestartController())

    @precondition(_can(steps.RestartAgent))
    @rule(luck=LUCK)
    def restart_agent(self, luck: Luck) -> None:
        """An agent ends and starts again."""
        self._take(steps.RestartAgent(luck.one_of(NODES)))

    @precondition(_can(steps.Reboot))
    @rule(luck=LUCK)
    def reboot(self, luck: Luck) -> None:
        """A node reboots."""
        self._take(steps.Reboot(luck.one_of(NODES)))

    @precondition(_some(_whole))
    @precondition(_can(steps.Cut))
    @rule(luck=LUCK)
    def cut(self, luck: Luck) -> None:
        """A node loses the API."""
        self._take(steps.Cut(luck.one_of(_whole(self.model))))

    @precondition(_some(lambda model: list(model.cut)))
    @precondition(_can(steps.Heal))
    @rule(luck=LUCK)
    def heal(self, luck: Luck) -> None:
        """A node finds the API again."""
        self._take(steps.Heal(luck.one_of(sorted(self.model.cut))))

    @precondition(_some(_attached))
    @precondition(_can(steps.RepeatCall))
    @rule(luck=LUCK)
    def repeat_call(self, luck: Luck) -> None:
        """A runtime repeats a call."""
        self._take(steps.RepeatCall(luck.one_of(_attached(self.model)), luck.one_of(("ADD", "CHECK", "DEL"))))

    @precondition(_can(steps.RefuseDevices))
    @rule(luck=LUCK)
    def refuse_devices(self, luck: Luck) -> None:
        """A kernel refuses devices, or no longer."""
        self._take(steps.RefuseDevices(luck.one_of(NODES), bool(luck.below(2))))

    @precondition(_can(steps.LoseAnswers))
    @rule(luck=LUCK)
    def lose_answers(self, luck: Luck) -> None:
        """The controller's connection gets bad, or good again."""
        self._take(steps.LoseAnswers(bool(luck.below(2))))

    @rule(luck=LUCK)
    def elapse(self, luck: Luck) -> None:
        """A minute passes."""
        del luck
        self._take(steps.Elapse())

    def teardown(self) -> None:
        """From everything to nothing."""
        if self.ended:
            return
        for step in self.driver.ending():
            self._take(step)
