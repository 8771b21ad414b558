"""The runtime side of CNI: what a container runtime does with a network configuration list.

Follows the CNI specification 1.1.0 (sections 3 to 5), and libcni where that leaves room:

* ADD and CHECK go through the list in order and stop at the first error; DEL goes in reverse;
* each plugin gets the previous one's result as prevResult; CHECK and DEL get the final result of ADD;
* the result and the very parameters of ADD are kept for DEL (:mod:`multinet.cni.runtime_cache`), so a
  configuration that changed meanwhile does not change how an attachment is taken down;
* operations on one container never overlap, and GC overlaps none.

A caller must follow every ADD, the failed ones too, by a DEL.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from multinet.cni import results, spec
from multinet.cni.runtime_cache import Attachment, CachedAttachment, ResultCache
from multinet.cni.runtime_config import NetworkConfig, load_network, parse_network
from multinet.cni.runtime_errors import PluginError
from multinet.cni.runtime_invoke import invoke, plugin_config
from multinet.cni.spec import SUPPORTED_VERSIONS, CNIError
from multinet.errors import InputError
from multinet.model.objects import Obj

__all__ = ["Attachment", "NetworkConfig", "PluginError", "Runtime", "load_network"]

_log = logging.getLogger(__name__)
# What only asks must not take as long as what changes the network.
_QUESTIONS = ("STATUS", "VERSION")
_QUESTION_LIMIT_S = 5.0


@dataclass(slots=True)
class _Turns:
    """Who may run: one operation per container, or GC alone."""

    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    busy: set[str] = field(default_factory=set)
    collecting: bool = False

    @contextlib.asynccontextmanager
    async def container(self, container_id: str) -> AsyncIterator[None]:
        async with self.changed:
            await self.changed.wait_for(lambda: not self.collecting and container_id not in self.busy)
            self.busy.add(container_id)
        try:
            yield
        finally:
            async with self.changed:
                self.busy.discard(container_id)
                self.changed.notify_all()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        async with self.changed:
            await self.changed.wait_for(lambda: not self.collecting)
            self.collecting = True
        try:
            async with self.changed:
                await self.changed.wait_for(lambda: not self.busy)
            yield
        finally:
            async with self.changed:
                self.collecting = False
                self.changed.notify_all()


class Runtime:
    """Calls the plugins found in ``bin_dirs``; remembers attachments below ``cache_dir``."""

    def __init__(self, bin_dirs: Sequence[Path], cache_dir: Path, *, limit_s: float = 60.0) -> None:
        self._bin_dirs = tuple(bin_dirs)
        self._cache = ResultCache(cache_dir)
        self._limit_s = limit_s
        self._turns = _Turns()

    async def add(self, net: NetworkConfig, attachment: Attachment) -> Obj:
        """Attach; return the final result as the last plugin gave it. ``PluginError`` at a failure."""
        async with self._turns.container(attachment.container_id):
            result: Obj | None = None
            for plugin in net.plugins:
                config = plugin_config(net, plugin, attachment, result)
                answer = await self._invoke(plugin["type"], "ADD", config, attachment)
                result = _checked_result(net, plugin["type"], answer)
            final = result if result is not None else {"cniVersion": net.cni_version}
            try:
                self._cache.store(CachedAttachment(net.name, attachment, net.source, final))
            except OSError as error:
                # Without it, DEL would not have the parameters of ADD: the caller undoes the attachment.
                raise CNIError(
                    spec.IO_FAILURE, "the result of ADD can't be kept for DEL", str(error)
                ) from error
            return final

    async def check(self, net: NetworkConfig, attachment: Attachment) -> None:
        """Ask whether the attachment is still as ADD left it; nothing is asked where CHECK is not allowed."""
        if net.disable_check or not net.at_least("0.4.0"):
            return
        async with self._turns.container(attachment.container_id):
            net, attachment, result = self._as_added(net, attachment)
            if result is None:
                raise PluginError(net.plugins[0]["type"], "CHECK", "no result of an ADD is remembered")
            for plugin in net.plugins:
                config = plugin_config(net, plugin, attachment, result)
                await self._invoke(plugin["type"], "CHECK", config, attachment)

    async def delete(self, net: NetworkConfig, attachment: Attachment) -> None:
        """Take the attachment down with the parameters of its ADD, and forget it."""
        async with self._turns.container(attachment.container_id):
            await self._delete(net, attachment)

    async def gc(self, net: NetworkConfig, valid: Callable[[], Iterable[Attachment]]) -> None:
        """Take down what is remembered and no longer valid, then let the plugins (1.1.0) do the same.

        ``valid`` is asked while nothing else runs, so that no attachment can be missing that was just made.
        Goes on after an error and raises the first one at the end. With ``disableGC`` nothing is done: the
        network's name is shared with others, whose attachments we don't know.
        """
        if net.disable_gc:
            return
        errors: list[PluginError] = []
        async with self._turns.alone():
            keep = {(item.container_id, item.ifname) for item in valid()}
            for cached in list(self._cache.entries(net.name)):
                held = cached.attachment
                if (held.container_id, held.ifname) not in keep:
                    await _collect(errors, self._delete(net, held))
            if net.at_least("1.1.0"):
                listed = [{"containerID": container, "ifname": ifname} for container, ifname in sorted(keep)]
                for plugin in net.plugins:
                    config = plugin_config(net, plugin, None, None)
                    # The text of 1.1.0 first had the second name; libcni sends both as well.
                    config["cni.dev/valid-attachments"] = config["cni.dev/attachments"] = listed
                    await _collect(errors, self._invoke(plugin["type"], "GC", config, None))
        if errors:
            raise errors[0]

    async def status(self, net: NetworkConfig) -> None:
        """Raise ``PluginError`` unless the network can take an ADD now.

        STATUS exists since 1.1.0; of an older configuration only the plugins' VERSION can be asked.
        """
        for plugin in net.plugins:
            if net.at_least("1.1.0"):
                await self._invoke(plugin["type"], "STATUS", plugin_config(net, plugin, None, None), None)
            elif net.cni_version not in await self.versions(plugin["type"]):
                raise PluginError(plugin["type"], "VERSION", f"does not speak version {net.cni_version}")

    async def versions(self, plugin: str) -> tuple[str, ...]:
        """The versions a plugin speaks; 0.1.0 where it doesn't know VERSION, as specified."""
        answer = await self._invoke(plugin, "VERSION", {"cniVersion": SUPPORTED_VERSIONS[-1]}, None)
        supported = (answer or {}).get("supportedVersions")
        return tuple(map(str, supported)) if isinstance(supported, list) else ("0.1.0",)

    async def _delete(self, net: NetworkConfig, attachment: Attachment) -> None:
        name = net.name
        net, held, result = self._as_added(net, attachment)
        previous = result if net.at_least("0.4.0") else None
        for plugin in reversed(net.plugins):
            await self._invoke(plugin["type"], "DEL", plugin_config(net, plugin, held, previous), held)
        self._cache.remove(name, attachment)

    def _as_added(
        self, net: NetworkConfig, attachment: Attachment
    ) -> tuple[NetworkConfig, Attachment, Obj | None]:
        cached = self._cache.load(net.name, attachment)
        if cached is None:
            return net, attachment, None
        try:
            net = parse_network(cached.source, where=f"cached configuration of {net.name}")
        except InputError as error:
            _log.warning("%s: the present configuration is used instead", error)
        return net, cached.attachment, cached.result

    async def _invoke(
        self, plugin: str, command: str, config: Obj, attachment: Attachment | None
    ) -> Obj | None:
        return await invoke(
            plugin,
            command,
            config,
            attachment=attachment,
            bin_dirs=self._bin_dirs,
            limit_s=min(self._limit_s, _QUESTION_LIMIT_S) if command in _QUESTIONS else self._limit_s,
        )


async def _collect(errors: list[PluginError], operation: Awaitable[object]) -> None:
    try:
        await operation
    except PluginError as error:
        _log.warning("GC goes on after: %s", error)
        errors.append(error)


def _checked_result(net: NetworkConfig, plugin: str, answer: Obj | None) -> Obj:
    """The result in the version that was asked for, which the next plugin and our caller go by."""
    if answer is None:
        raise PluginError(plugin, "ADD", "printed no result")
    # libcni does the same: a result without a version has the one that was asked for.
    version = answer.setdefault("cniVersion", net.cni_version)
    if version not in SUPPORTED_VERSIONS:
        raise PluginError(plugin, "ADD", f"result has unknown cniVersion {version!r}")
    if version == net.cni_version:
        return answer
    try:
        return results.as_version(answer, net.cni_version)
    except CNIError as error:
        raise PluginError(plugin, "ADD", error.msg, details=error.details) from error
