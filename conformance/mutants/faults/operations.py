"""Faults in order, failures, lists and versions: NPWG 6 and 7, CNI's rules for runtimes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from conformance.mutants.chain import Attachment, RefusedError
from conformance.mutants.faults.table import fault
from conformance.mutants.meta import Meta
from multinet.model.objects import Obj
from multinet.model.selected import NetworkSelection


@fault("NPWG-6.2-a")
class DefaultNetworkLast(Meta):
    """The default network is attached after the others."""

    def order(self, planned: list[Attachment]) -> list[Attachment]:
        return [*planned[1:], planned[0]]


@fault("NPWG-6-a")
class NoDefaultNetworkForOthers(Meta):
    """A pod with networks of its own gets no default network."""

    def attach(self, attached: Attachment) -> None:
        if attached.default and self.annotation(self.read_pod()):
            attached.result = {}
            return
        super().attach(attached)


@fault("NPWG-6.1.2-b")
class DoesNotWait(Meta):
    """Attaches before the default network is ready."""

    def wait_until_ready(self) -> None:
        return


@fault("NPWG-7.2-a")
class SwallowsErrors(Meta):
    """A network that can't be attached is left out."""

    def attach(self, attached: Attachment) -> None:
        try:
            super().attach(attached)
        except RefusedError:
            if attached.default:
                raise
            attached.result = {}


@fault("NPWG-7.2-b")
class SwallowsDefaultErrors(Meta):
    """A default network that can't be attached is left out."""

    def attach(self, attached: Attachment) -> None:
        try:
            super().attach(attached)
        except RefusedError:
            if not attached.default:
                raise
            attached.result = {}


@fault("NPWG-7.2-c")
class TriesTheRest(Meta):
    """After a failure the other networks are attached, and the failure told at the end."""

    def add(self) -> Obj:
        failed = None
        planned = [self.default(), *self.selected(self.read_pod())]
        self.save(planned)
        for attached in planned:
            try:
                self.attach(attached)
            except RefusedError as error:
                failed = failed or error
        if failed:
            raise failed
        self.save(planned)
        self.publish(planned)
        return self.to_runtime(planned[0].result or {})


@fault("NPWG-7.2-d")
class DropsADel(Meta):
    """One attachment is forgotten on teardown."""

    def teardown_order(self, known: list[Attachment]) -> list[Attachment]:
        return super().teardown_order(known)[1:] if len(known) > 1 else known


@fault("CNI-RT-11")
class RemembersSuccessesOnly(Meta):
    """What could not be attached is not detached."""

    def save(self, attachments: Sequence[Attachment]) -> None:
        super().save([one for one in attachments if one.result is not None])


@fault("NPWG-7.2-e")
class StopsAtADelError(Meta):
    """One failed detachment stops the teardown."""

    def on_failed_detachment(self, attached: Attachment, error: RefusedError, failed: list[str]) -> None:
        raise error


@fault("NPWG-7.2-f")
class SwallowsDelErrors(Meta):
    """The runtime is told that all is well."""

    def on_failed_detachment(self, attached: Attachment, error: RefusedError, failed: list[str]) -> None:
        return


@fault("NPWG-7.2-g")
class GivesUpOnDamagedState(Meta):
    """State that can't be read means that there is nothing to do."""

    def on_damaged_state(self) -> list[Attachment]:
        return []


@fault("NPWG-7.2-h")
class NeedsThePodForDel(Meta):
    """Detaches only while the pod is there."""

    def known(self) -> list[Attachment]:
        self.read_pod()
        return super().known()


@fault("NPWG-4.2.1-e")
class PlansDelAgain(Meta):
    """DEL goes by what NADs and annotation say now."""

    def known(self) -> list[Attachment]:
        return self.planned_again()


@fault("NPWG-4.2.1-a")
class OtherContainerIdOnDel(Meta):
    """DEL has a container id of its own."""

    def environment(self, command: str, attached: Attachment) -> dict[str, str]:
        env = super().environment(command, attached)
        return env if command == "ADD" else {**env, "CNI_CONTAINERID": f"{env['CNI_CONTAINERID']}-x"}


@fault("NPWG-7.3-a")
class AttachesSideBySide(Meta):
    """Selected networks are attached at the same time."""

    def add(self) -> Obj:
        planned = [self.default(), *self.selected(self.read_pod())]
        self.save(planned)
        self.attach(planned[0])
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.attach, planned[1:]))
        self.save(planned)
        self.publish(planned)
        return self.to_runtime(planned[0].result or {})


@fault("NPWG-7.4-b")
class DoesNotIsolate(Meta):
    """NADs of all namespaces are for everybody."""

    def isolated(self, one: NetworkSelection) -> None:
        return


@fault("NPWG-7.5-a")
class LeaksRuntimeConfig(Meta):
    """What the runtime gives for the pod reaches every network."""

    def for_selected(self, wishes: Obj) -> Obj:
        return wishes


@fault("NPWG-7.5-b")
class DropsRuntimeConfig(Meta):
    """What the runtime gives for the pod reaches nobody."""

    def for_default(self, wishes: Obj) -> Obj:
        return {}


@fault("CNI-RT-1")
class DelForwards(Meta):
    """DEL goes through a list in its order."""

    def plugins(self, command: str, attached: Attachment) -> list[Obj]:
        return list(attached.network["plugins"])


@fault("NPWG-3.2-d")
class FirstPluginOnly(Meta):
    """Only the first plugin of a list is called."""

    def plugins(self, command: str, attached: Attachment) -> list[Obj]:
        return super().plugins("ADD", attached)[:1]


@fault("CNI-RT-3")
class ForgetsResults(Meta):
    """DEL has no ``prevResult``."""

    def request(self, command: str, plugin: Obj, attached: Attachment, previous: Obj | None) -> Obj:
        return super().request(command, plugin, attached, previous if command == "ADD" else None)


@fault("CNI-RT-7")
class KnownKeysOnlyOnDel(Meta):
    """DEL loses what it does not know of a configuration."""

    def request(self, command: str, plugin: Obj, attached: Attachment, previous: Obj | None) -> Obj:
        kept: Obj = {key: plugin[key] for key in ("type", "capabilities", "args") if key in plugin}
        return super().request(command, plugin if command == "ADD" else kept, attached, previous)


@fault("CNI-RT-6")
class NoWishesOnDel(Meta):
    """DEL has no ``runtimeConfig``."""

    def request(self, command: str, plugin: Obj, attached: Attachment, previous: Obj | None) -> Obj:
        made = super().request(command, plugin, attached, previous)
        if command == "DEL":
            made.pop("runtimeConfig", None)
        return made


@fault("CNI-RT-8")
class PassesCapabilities(Meta):
    """Plugins receive ``capabilities``."""

    def request(self, command: str, plugin: Obj, attached: Attachment, previous: Obj | None) -> Obj:
        made = super().request(command, plugin, attached, previous)
        return {**made, "capabilities": plugin["capabilities"]} if "capabilities" in plugin else made


@fault("NPWG-7.1-b")
class OwnVersionForPlugins(Meta):
    """Plugins of a list receive a version of the implementation's own."""

    def request(self, command: str, plugin: Obj, attached: Attachment, previous: Obj | None) -> Obj:
        return {**super().request(command, plugin, attached, previous), "cniVersion": "0.4.0"}


@fault("NPWG-7.1-c")
class ResultAsItCame(Meta):
    """The runtime gets the result in the delegate's version."""

    def to_runtime(self, result: Obj) -> Obj:
        return result
