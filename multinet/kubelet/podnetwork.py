"""A pod's sandbox together with its network: made as one, ended as one.

Either both are there or neither: a failed ADD is followed by a DEL (CNI 1.1.0, section 4) and the sandbox
goes with it, so that each try starts from nothing. What is being undone or torn down goes on to its end even
when the caller is cancelled (:mod:`multinet.kubelet.cleanup`).
"""

from __future__ import annotations

import logging
from ipaddress import ip_address
from typing import Any

from multinet.cni.runtime import Attachment, NetworkConfig, PluginError
from multinet.errors import MultinetError, NetworkingError
from multinet.kubelet import etcfiles
from multinet.kubelet.cleanup import completed
from multinet.kubelet.context import NodeContext
from multinet.kubelet.runtimeargs import capability_args
from multinet.kubelet.sandbox import Sandbox, SandboxStore
from multinet.kubelet.wakeup import wait_or_timeout
from multinet.model.objects import Obj, section, uid_of

_log = logging.getLogger(__name__)
INTERFACE = "eth0"
_FIRST_ANSWER_S = 10.0


def attachment_of(sandbox: Sandbox, capability_args: Obj | None = None) -> Attachment:
    """The parameters every CNI call for this sandbox gets, those of containerd and CRI-O.

    ``capability_args`` are needed at ADD only: the runtime remembers them for the other calls.
    """
    return Attachment(
        container_id=sandbox.container_id,
        netns=sandbox.cni_netns,
        ifname=INTERFACE,
        args=(
            ("IgnoreUnknown", "1"),
            ("K8S_POD_NAMESPACE", sandbox.namespace),
            ("K8S_POD_NAME", sandbox.name),
            ("K8S_POD_INFRA_CONTAINER_ID", sandbox.container_id),
            ("K8S_POD_UID", sandbox.api_uid or sandbox.uid),
        ),
        capability_args=capability_args or {},
    )


async def set_up(context: NodeContext, pod: Obj, *, api_uid: str = "") -> Sandbox:
    """Make the sandbox and attach it; raises what hindered it, with nothing left behind."""
    arguments = capability_args(pod)
    if section(pod, "spec").get("hostNetwork"):
        etc = etcfiles.write_resolver(context.pods_dir / uid_of(pod), pod, context.resolver)
        sandbox = await context.sandboxes.create(pod, etc)
        return context.sandboxes.attached(sandbox, context.node_ips)
    # A kubelet that has just started is not a network that is not ready.
    if not context.network.ready:
        await wait_or_timeout(context.network.asked, _FIRST_ANSWER_S)
    if not context.network.ready:
        raise NetworkingError(context.network.message)
    etc = etcfiles.write(context.pods_dir / uid_of(pod), pod, context.resolver)
    sandbox = await context.sandboxes.create(pod, etc, api_uid=api_uid)
    config = context.network.config
    try:
        if config is None:
            raise NetworkingError(context.network.message)
        _tell_unserved(context, pod, config, arguments)
        result = await context.runtime.add(config, attachment_of(sandbox, arguments))
        addresses = default_addresses(result)
        if not addresses:
            raise PluginError(config.name, "ADD", f"the result has no address for {INTERFACE}")
        etcfiles.add_addresses(etc, pod, addresses, context.resolver)
        return context.sandboxes.attached(sandbox, addresses)
    except BaseException:
        # A cancelled ADD (the pod is being deleted) too: what the plugin did so far must be undone.
        await completed(_undo(context, sandbox, config))
        raise


def _tell_unserved(context: NodeContext, pod: Obj, config: NetworkConfig, arguments: Obj) -> None:
    """Say which wishes of the pod no plugin of the node's network can meet."""
    capabilities = [plugin.get("capabilities") or {} for plugin in config.plugins]
    for name in sorted(arguments):
        if any(declared.get(name) for declared in capabilities):
            continue
        message = f"no plugin of network {config.name} has the capability {name}: it is not done for this pod"
        context.recorder.record(pod, "Warning", "NotSupportedByNetwork", message)


def attachments(sandboxes: SandboxStore) -> list[Attachment]:
    """The attachments that the sandboxes on file need; any other is left over and may be taken down."""
    return [attachment_of(sandbox) for sandbox in sandboxes.recorded() if not sandbox.host_network]


async def tear_down(context: NodeContext, sandbox: Sandbox) -> None:
    """Detach the sandbox, kill what runs in it, forget it. Raises, with the sandbox kept, if DEL fails."""
    config = context.network.config
    if config is None and not sandbox.host_network:
        raise NetworkingError(f"cannot detach {sandbox.name}: {context.network.problem}")
    await completed(_take_down(context, sandbox, config))


async def _take_down(context: NodeContext, sandbox: Sandbox, config: NetworkConfig | None) -> None:
    if config is not None and not sandbox.host_network:
        await context.runtime.delete(config, attachment_of(sandbox))
    await context.sandboxes.end(sandbox)
    context.sandboxes.forget(sandbox)


async def _undo(context: NodeContext, sandbox: Sandbox, config: NetworkConfig | None) -> None:
    """DEL with the configuration of the ADD, which the node may have lost meanwhile."""
    try:
        await _take_down(context, sandbox, config)
    except MultinetError as error:
        # The namespace goes with the sandbox; what the plugin keeps elsewhere its next GC collects.
        _log.warning("DEL after a failed ADD of %s failed too: %s", sandbox.name, error)
        await _take_down(context, sandbox, None)


def default_addresses(result: Obj) -> tuple[str, ...]:
    """The addresses of the pod's default interface in a CNI result, without prefix; first of each family.

    Other interfaces of the result are secondary networks: they are no pod IPs.
    """
    found: dict[int, str] = {}
    interfaces: list[dict[str, Any]] = result.get("interfaces") or []
    for entry in result.get("ips") or []:
        index = entry.get("interface")
        if index is not None and 0 <= index < len(interfaces):
            interface = interfaces[index]
            if interface.get("name") != INTERFACE or not interface.get("sandbox"):
                continue
        address = str(entry.get("address", "")).partition("/")[0]
        found.setdefault(ip_address(address).version, address)
    for key in ("ip4", "ip6"):  # results before 0.3.0
        if result.get(key):
            address = str(result[key]["ip"]).partition("/")[0]
            found.setdefault(ip_address(address).version, address)
    return tuple(found.values())
