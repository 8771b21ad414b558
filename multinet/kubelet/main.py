"""The kubelet of an emulated node: pods bound to it become sandboxes with a network and processes.

Stands in for kubelet and container runtime. What others can see is real: the API traffic, the CNI calls,
namespaces, processes, volumes, probes, logs, exec. What is not: images are not pulled or run (a container is
its command on the node's file system; without a command it idles), no resource limits, no users.

Sandboxes and containers live on when this process ends; the next one finds them by their files.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import logging
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from multinet.cni import install
from multinet.cni.runtime import Runtime
from multinet.errors import LabError, MultinetError
from multinet.kube import carrier, notify
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.informer import Informer
from multinet.kube.recorder import EventRecorder
from multinet.kube.resources import PODS
from multinet.kubelet import netns, podnetwork
from multinet.kubelet.context import NodeContext, Timing
from multinet.kubelet.launcher import Launcher
from multinet.kubelet.network import NodeNetwork
from multinet.kubelet.node import KUBELET_PORT, NodeStatus
from multinet.kubelet.podset import PodSet
from multinet.kubelet.references import References
from multinet.kubelet.resolver import NO_RESOLVER, Resolver
from multinet.kubelet.sandbox import SandboxStore
from multinet.kubelet.server import KubeletServer
from multinet.kubelet.staticpods import StaticPods
from multinet.kubelet.wakeup import wait_or_timeout
from multinet.model import nodeaddresses
from multinet.model.networks import CLUSTER_DOMAIN

_log = logging.getLogger(__name__)
# 1.1.0 has STATUS, by which the node's readiness follows the agent's.
_CONFIGURATION = {
    "cniVersion": "1.0.0",
    "cniVersions": ["1.0.0", "1.1.0"],
    "name": "multinet",
    "plugins": [{"type": "multinet-cni", "capabilities": {"bandwidth": True, "portMappings": True}}],
}
_REGISTER_WITHIN_S = 0.3
_AGENT_DIRECTORY = "/run/multinet-agent"


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    kubeconfig: Path
    node_name: str
    node_ip: str
    root_dir: Path
    cni_conf_dir: Path
    cni_bin_dirs: tuple[Path, ...]
    watch_dirs: tuple[Path, ...]
    port: int = KUBELET_PORT
    manifest_dir: Path | None = None
    node_ip6: str = ""
    resolver: Resolver = NO_RESOLVER


def parse(argv: Sequence[str]) -> Options:
    """Read the command line; exits with status 2 and a usage text when it is wrong."""
    parser = argparse.ArgumentParser(prog="kubelet", description="kubelet of an emulated node")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--node-name", required=True)
    parser.add_argument(
        "--node-ip", required=True, type=nodeaddresses.parse, help="IPv4, and IPv6 after a comma"
    )
    parser.add_argument("--root-dir", type=Path, required=True)
    parser.add_argument("--cni-conf-dir", type=Path, help="default: ROOT/cni/net.d")
    parser.add_argument("--cni-bin-dir", help="colon-separated; default: ROOT/cni/bin")
    parser.add_argument(
        "--watch-dir",
        type=Path,
        action="append",
        help=f"ask the plugin's STATUS again when something changes here; default: {_AGENT_DIRECTORY}",
    )
    parser.add_argument("--manifest-dir", type=Path, help="static pods; default: ROOT/manifests")
    parser.add_argument("--cluster-dns", default="", help="name servers of pods, by commas")
    parser.add_argument("--cluster-domain", default=CLUSTER_DOMAIN, help="default: %(default)s")
    parser.add_argument("--port", type=int, default=KUBELET_PORT)
    given = parser.parse_args(list(argv))
    cni = given.root_dir / "cni"
    binaries = given.cni_bin_dir or str(cni / "bin")
    return Options(
        kubeconfig=given.kubeconfig,
        node_name=given.node_name,
        node_ip=given.node_ip[0],
        root_dir=given.root_dir,
        cni_conf_dir=given.cni_conf_dir or cni / "net.d",
        cni_bin_dirs=tuple(Path(part) for part in binaries.split(":") if part),
        watch_dirs=tuple(given.watch_dir or [Path(_AGENT_DIRECTORY)]),
        port=given.port,
        manifest_dir=given.manifest_dir,
        node_ip6=given.node_ip[1],
        resolver=Resolver(tuple(filter(None, given.cluster_dns.split(","))), given.cluster_domain),
    )


def main(argv: list[str]) -> int:
    """Run until SIGTERM; 0 at a clean end, 1 when it could not start."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    options = parse(argv)
    status = 0
    try:
        status = uvloop.run(run(options))
    except* MultinetError as group:
        status = 1
        for error in group.exceptions:
            _log.error("%s", error)
    return status


async def run(options: Options, *, timing: Timing | None = None, launcher: Launcher | None = None) -> int:
    """Run one kubelet in this event loop until SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    install_plugin(options.cni_conf_dir, options.cni_bin_dirs)
    prepare_netns()
    access = load_kubeconfig(options.kubeconfig)
    async with Client(access) as client:
        context = build_context(options, client, timing or Timing.default(), launcher or Launcher.default())
        await _serve(options, context, access.token or "", stop)
        await context.recorder.flush()
    return 0


def build_context(options: Options, client: Client, timing: Timing, launcher: Launcher) -> NodeContext:
    """Wire up what the pods of this node share."""
    state = options.root_dir / "kubelet"
    runtime = Runtime(options.cni_bin_dirs, state / "cni-cache")
    sandboxes = SandboxStore(state / "sandboxes", options.node_name, launcher)
    needed = functools.partial(podnetwork.attachments, sandboxes)
    return NodeContext(
        node=options.node_name,
        node_ip=options.node_ip,
        client=client,
        recorder=EventRecorder(client, "kubelet", options.node_name),
        runtime=runtime,
        network=NodeNetwork(runtime, options.cni_conf_dir, options.watch_dirs, needed),
        sandboxes=sandboxes,
        launcher=launcher,
        references=References(client),
        pods_dir=state / "pods",
        timing=timing,
        node_ip6=options.node_ip6,
        resolver=options.resolver,
    )


async def _serve(options: Options, context: NodeContext, token: str, stop: asyncio.Event) -> None:
    informer = Informer(context.client, PODS, field_selector=f"spec.nodeName={options.node_name}")
    pods = PodSet(context)
    context.network.on_change(pods.wake_all)
    pods.recover()
    static = StaticPods(context, pods, options.manifest_dir or options.root_dir / "manifests")
    static.look()
    server = KubeletServer(context, token, pods.find, informer.store.values)
    async with contextlib.AsyncExitStack() as cleanup, asyncio.TaskGroup() as group:
        cleanup.push_async_callback(pods.close)
        cleanup.callback(context.references.close)
        running = [
            group.create_task(informer.run(), name="pod informer"),
            group.create_task(carrier.follow(options.node_ip, context.client.renew), name="link"),
            group.create_task(context.network.run(), name="pod network"),
            group.create_task(_keep_node(options, context), name="node"),
            group.create_task(static.run(), name="static pods"),
            group.create_task(_listen(options, server, cleanup), name="server"),
        ]
        running.append(group.create_task(_begin(informer, pods, running[-1]), name="start of the pods"))
        await stop.wait()
        for task in running:
            task.cancel()


async def _listen(options: Options, server: KubeletServer, cleanup: contextlib.AsyncExitStack) -> None:
    try:
        runner = await server.start(options.node_ip, options.port)
    except OSError as error:
        where = f"{options.node_ip}:{options.port}"
        raise LabError("the kubelet cannot listen", where=where, why=str(error.strerror)) from error
    cleanup.push_async_callback(runner.cleanup)


async def _begin(informer: Informer, pods: PodSet, listening: asyncio.Task[None]) -> None:
    """Take the pods over as soon as logs and exec can be answered for them."""
    await listening
    await informer.synced.wait()
    pods.adopt(informer)
    notify.ready()
    _log.info("the kubelet serves")


async def _keep_node(options: Options, context: NodeContext) -> None:
    """Register the node, then keep its status and its lease current."""
    network = context.network
    node = NodeStatus(context.client, options.node_name, context.node_ips, network)
    changed = asyncio.Event()
    network.on_change(changed.set)
    # With the answer at hand, the node is registered as ready by one request.
    await wait_or_timeout(network.asked, _REGISTER_WITHIN_S)
    await node.register()
    async with asyncio.TaskGroup() as group:
        group.create_task(_publish(node, changed), name="node status")
        group.create_task(node.heartbeat(), name="node lease")


async def _publish(node: NodeStatus, changed: asyncio.Event) -> None:
    while True:
        await node.publish()
        await changed.wait()
        changed.clear()


def prepare_netns() -> None:
    """Make ``/run/netns`` fit for bind mounts; where that is refused, plugins get ``/proc`` paths."""
    try:
        netns.prepare()
    except OSError as error:
        _log.warning("network namespaces are not published below %s: %s", netns.DIRECTORY, error)


def install_plugin(conf_dir: Path, bin_dirs: Iterable[Path]) -> None:
    """Install our own plugin where the node has no CNI configuration yet; else nothing is touched."""
    conf_dir.mkdir(parents=True, exist_ok=True)
    if any(conf_dir.iterdir()):
        return
    directories = tuple(bin_dirs)
    for directory in directories:
        directory.mkdir(parents=True, exist_ok=True)
    install.put(directories[0] / install.PLUGIN)
    target = conf_dir / "10-multinet.conflist"
    temporary = target.with_suffix(".tmp")
    temporary.write_text(json.dumps(_CONFIGURATION, indent=2) + "\n", encoding="utf-8")
    temporary.replace(target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
