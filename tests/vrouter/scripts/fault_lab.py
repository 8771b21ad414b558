"""A lab with the real API server, controller and node agent, in which the test is the kubelet."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from multinet.cni import install
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.informer import Informer
from multinet.kube.resources import EVENTS, INSTANCE_IPS, NADS, PODS, VIRTUAL_MACHINES, VIRTUAL_NETWORKS
from multinet.model.nad import ANNOTATION_DEVICE
from multinet.model.objects import ANNOTATION_SELECTION, section
from topology import audit, roles
from topology.backend import LabSpec
from topology.mininet_backend import MininetBackend

NODE = "node1"
CONFIG = {"cniVersion": "1.1.0", "name": "multinet", "type": "multinet-cni"}
ENTRIES = {
    "apiserver": roles.ENTRIES["apiserver"],
    "controller": roles.ENTRIES["controller"],
    "scheduler": "fault_roles:relay",
    "kubelet": "fault_roles:idle",
    "vrouter": "fault_roles:agent",
}
LIMIT_S = 10.0
# What a runtime could say of an ADD that it had no answer to.
UNANSWERED = {
    "cniVersion": "1.1.0",
    "interfaces": [{"name": f"eth{index}", "sandbox": "/run/netns/p"} for index in range(4)],
    "ips": [],
}
DISK_BYTES = 512 * 1024


@dataclass(frozen=True)
class Answer:
    """What the plugin said: its exit code and what it printed."""

    code: int
    body: dict

    @property
    def error(self):
        return self.body.get("code", 0) if self.code else 0

    def __str__(self):
        return f"exit {self.code}: {json.dumps(self.body)[:400]}"


class FaultLab:
    """One node with an agent that can be killed. Pods are objects and network namespaces, no processes."""

    def __init__(self, directory: Path) -> None:
        self.events: list[tuple[str, dict]] = []
        self.results: dict[str, dict] = {}
        self.home = roles.Paths(directory).node(NODE)
        self.home.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(self.home)]
        subprocess.run(mount, check=True)
        backend = MininetBackend(entries=ENTRIES, nodes_ready=lambda *_: None)
        spec = LabSpec((NODE,), directory)
        self.lab = backend.start(spec, lambda kind, data: self.events.append((kind, data)))
        self.state = self.home / "agent"
        self.plugin = install.plugin_path()
        self.loop = asyncio.new_event_loop()
        self._begin()

    def _begin(self):
        async def begin():
            self.client = await Client(load_kubeconfig(self.lab.kubeconfig)).__aenter__()
            resources = (PODS, VIRTUAL_MACHINES, INSTANCE_IPS, VIRTUAL_NETWORKS, EVENTS)
            self.seen = {each.kind: Informer(self.client, each) for each in resources}
            self.tasks = [asyncio.ensure_future(each.run()) for each in self.seen.values()]
            await asyncio.gather(*(each.synced.wait() for each in self.seen.values()))

        self.loop.run_until_complete(begin())

    def close(self):
        async def end():
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            await self.client.__aexit__(None, None, None)

        self.loop.run_until_complete(end())
        self.loop.close()
        self.lab.close()

    # -- objects

    def until(self, kind, what, predicate, limit_s=LIMIT_S):
        """Wait for what an informer sees; the loop runs only here, so it catches up first."""
        return self.loop.run_until_complete(self.seen[kind].wait_until(what, predicate, limit_s))

    def nic(self, name):
        """A spare NIC of the node, wired to nowhere, and not as the kernel makes one."""
        self.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-far")
        self.run("ip", "link", "set", name, "address", "02:77:00:00:00:01", "mtu", "1400", "up")

    def nad(self, name, cidr, device=""):
        body = {
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {
                "name": name,
                "namespace": "default",
                "annotations": {
                    "opencontrail.org/cidr": cidr,
                    **({ANNOTATION_DEVICE: device} if device else {}),
                },
            },
            "spec": {"config": '{"cniVersion": "0.3.1", "type": "contrail-k8s-cni"}'},
        }
        self.loop.run_until_complete(self.client.create(NADS, body))

    def decide(self, *names, networks="red,blue"):
        """Make pods and wait until the controller has given them addresses; returns their UIDs."""

        async def make():
            metadata = {"namespace": "default", "annotations": {ANNOTATION_SELECTION: networks}}
            spec = {"nodeName": NODE, "containers": [{"name": "c", "image": "none"}]}
            made = await asyncio.gather(
                *(
                    self.client.create(
                        PODS,
                        {
                            "apiVersion": "v1",
                            "kind": "Pod",
                            "metadata": {**metadata, "name": name},
                            "spec": spec,
                        },
                    )
                    for name in names
                )
            )
            return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in made}

        for name in names:
            self.results.pop(name, None)
        uids = self.loop.run_until_complete(make())
        wanted = set(uids.values())

        def decided(store):
            known = {section(obj, "spec")["pod"]["uid"] for obj in store.values() if resolved(obj)}
            return wanted <= known

        self.until("VirtualMachine", "pods to be decided", decided)
        return uids

    def undo(self, uids):
        """Delete pods and wait until the controller has taken their addresses back."""

        async def delete():
            await asyncio.gather(
                *(self.client.delete(PODS, name, "default", grace_seconds=0) for name in uids)
            )

        gone = set(uids.values())
        self.loop.run_until_complete(delete())
        self.until(
            "VirtualMachine",
            "VirtualMachines to go",
            lambda store: not any(section(obj, "spec")["pod"]["uid"] in gone for obj in store.values()),
        )
        self.until(
            "InstanceIP",
            "addresses to be given back",
            lambda store: not any(section(obj, "spec").get("podUID") in gone for obj in store.values()),
        )

    def sandbox(self, name):
        self.run("ip", "netns", "add", name)

    def no_sandbox(self, name):
        self.lab.exec(NODE, ["ip", "netns", "delete", name])

    # -- calls

    def start_call(self, command, pod="", uid="", container="", netns=None, config=None):
        socket = f"/proc/{self.lab.node_pid(NODE)}/root/run/multinet-agent/agent.sock"
        environment = {
            "PATH": os.environ["PATH"],
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container or (f"c-{pod}" if pod else ""),
            "CNI_NETNS": netns if netns is not None else f"/run/netns/{pod}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
            "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_UID={uid}",
            "MULTINET_AGENT_SOCKET": socket,
        }
        child = subprocess.Popen(
            [self.plugin], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        asked = {"prevResult": self.results.get(pod, UNANSWERED)} if command == "CHECK" else config or {}
        child.stdin.write(json.dumps(CONFIG | asked))
        child.stdin.close()
        child.added = pod if command == "ADD" else ""
        return child

    def end_call(self, child):
        with child:
            said = child.stdout.read()
        answer = Answer(child.returncode, json.loads(said or "{}"))
        if child.added and not answer.code:
            self.results[child.added] = answer.body
        return answer

    def call(self, command, pod="", uid="", **more):
        return self.end_call(self.start_call(command, pod, uid, **more))

    # -- faults

    def kill_agent(self):
        self.lab.kill("vrouter", NODE, signal.SIGKILL)
        self.agent_ended()

    def agent_ended(self):
        """Wait until the agent's death is known."""
        assert self.agent_ends(LIMIT_S), "the agent did not end"

    def agent_ends(self, limit_s):
        """Whether the agent's death is known within the limit."""
        deadline = time.monotonic() + limit_s
        while True:
            self.lab.process_events()
            if any(kind == "role-exited" and data["role"] == "vrouter" for kind, data in self.events):
                self.events.clear()
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            select.select([self.lab], [], [], left)

    def restart_agent(self):
        self.lab.restart("vrouter", NODE)
        self.lab.process_events()
        self.events.clear()

    def die_at(self, point):
        """Have the agent killed at a point of the next call (0: at the one that never comes)."""
        (self.home / "die-at").write_text(str(point or 1_000_000))

    def points(self):
        return int((self.home / "points").read_text())

    def api_down(self):
        self.lab.kill("scheduler", "cp", signal.SIGKILL)

    def api_up(self):
        self.lab.restart("scheduler", "cp")

    def fill_disk(self):
        with contextlib.suppress(OSError), (self.home / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

    def free_disk(self):
        (self.home / "filler").unlink(missing_ok=True)

    def damage(self, how, *pods):
        """Damage the state files of pods while no agent runs; there may be none yet."""
        if how == "missing":
            shutil.rmtree(self.state)
            return
        for pod in pods:
            path = self.state / f"c-{pod}.json"
            content = path.read_bytes() if path.exists() else b'{"version": 1, "ports": []}'
            path.write_bytes(
                {
                    "truncated": content[: len(content) // 2],
                    "zeroed": bytes(len(content)),
                    "garbage": bytes(range(256)) * 4,
                }[how]
            )

    # -- looking

    def run(self, *argv):
        done = self.lab.exec(NODE, argv)
        assert done.status == 0, f"{' '.join(argv)}: {done.stderr}"
        return done.stdout

    def audit(self):
        """Everything of the node that a CNI call may change, and the leases of all pods."""
        return audit.of_node(lambda argv: self.lab.exec(NODE, argv)) | audit.of_files(self.state)

    def leases(self):
        """Addresses that are given away, as far as the informers have heard."""
        return frozenset(f"lease {name}" for name in self.seen["InstanceIP"].store)

    def at_rest(self):
        """Wait until nothing changes any more; a lab that is ready has some work left."""
        deadline = time.monotonic() + LIMIT_S
        before = None
        while (now := self.audit()) != before and time.monotonic() < deadline:
            before = now
            select.select([], [], [], 0.5)

    def settled(self, wanted, look, limit_s=LIMIT_S):
        """Look until it is as wanted, or the limit; returns the difference. The kernel tells nobody here."""
        deadline = time.monotonic() + limit_s
        while (different := audit.difference(wanted, look())) and time.monotonic() < deadline:
            select.select([], [], [], 0.03)
        return different

    def inside(self, pod):
        """What is in a pod's network namespace."""
        return audit.of_node(lambda argv: self.lab.exec(NODE, ["ip", "netns", "exec", pod, *argv]))


def resolved(machine):
    conditions = section(machine, "status").get("conditions") or ()
    return any(each["type"] == "Resolved" and each["status"] == "True" for each in conditions)
