"""Whole pods on one node: embedded API, real sandboxes and processes, scripted CNI plugin."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from pathlib import Path

import pytest

from multinet.cni.runtime_exec import exited
from multinet.kube.resources import LEASES, NODES, PODS
from multinet.kubelet import netns
from multinet.kubelet.launcher import Launcher
from multinet.kubelet.sandbox import SandboxStore
from multinet.waits import pause

pytestmark = pytest.mark.lab


def ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def names(directory):
    return [str(path) for path in Path(directory).iterdir()]


def namespace(path):
    return Path(path).readlink()


async def test_pod_becomes_ready_with_the_address_of_its_default_interface_only(lab):
    await lab.start_kubelet()
    await lab.pod("web", ["sleep", "1000"], ["sleep", "1000"])
    pod = await lab.until("web", "Ready", ready)
    assert pod["status"]["podIP"] == "10.32.0.7"
    assert pod["status"]["podIPs"] == [{"ip": "10.32.0.7"}]
    assert pod["status"]["hostIP"] == "127.0.0.1"
    assert [c["ready"] for c in pod["status"]["containerStatuses"]] == [True, True]
    sandbox = lab.sandbox(pod)
    assert sandbox["netns"] == f"/proc/{sandbox['pid']}/ns/net"
    add = lab.calls("ADD")[0].split()
    assert add[1] == sandbox["containerID"]
    assert add[2].startswith("/run/netns/cni-")
    assert f"K8S_POD_UID={pod['metadata']['uid']}" in add[4]
    assert namespace(sandbox["netns"]) != namespace("/proc/self/ns/net")


async def test_a_pod_has_its_own_names_and_no_name_server_to_wait_for(lab):
    await lab.start_kubelet()
    ask = (
        "import socket, time; t = time.monotonic(); socket.getfqdn('192.0.2.1'); print(time.monotonic() - t)"
    )
    script = f'cat /etc/hostname; getent hosts web; getent hosts localhost; python3 -c "{ask}"; sleep 1000'
    pod = await lab.pod("web", ["sh", "-c", script])
    await lab.running("web")
    log = lab.options.root_dir / "kubelet" / "pods" / pod["metadata"]["uid"] / "c0" / "1.log"
    while len(lines := log.read_text().splitlines()) < 4:
        await pause("the container's next line", 0.02)
    hostname, itself, localhost, seconds = [line.split(" ", 3)[3].split() for line in lines]
    assert hostname == ["web"]
    assert itself == ["10.32.0.7", "web"]
    assert localhost[0] in ("127.0.0.1", "::1")
    assert float(seconds[0]) < 4.5, "a resolver waits five seconds for its name server"


def mounting(**mount):
    return {"name": "c0", "image": "none", "command": ["sleep", "1000"], "volumeMounts": [mount]}


async def test_a_container_does_not_run_without_a_volume_it_mounts(lab):
    await lab.start_kubelet()
    volumes = [{"name": "data", "nfs": {"server": "files", "path": "/"}}]
    await lab.pod("web", volumes=volumes, containers=[mounting(name="data", mountPath="/data")])
    pod = await lab.until("web", "waiting", config_error)
    state = pod["status"]["containerStatuses"][0]["state"]["waiting"]
    assert "volume data of type nfs" in state["message"]
    assert "/data" in state["message"]
    assert pod["status"]["phase"] == "Pending"
    patch = {"metadata": {"labels": {"looked": "again"}}}
    await lab.client.patch(PODS, "web", patch, "default")
    await pause("the kubelet's second look", 0.2)
    event = await lab.event("Failed")
    assert event["message"] == f"Error: {state['message']}"
    assert event.get("count", 1) == 1


def config_error(pod):
    statuses = pod["status"].get("containerStatuses") or [{}]
    return statuses[0].get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError"


async def test_the_service_account_token_is_left_out_silently(lab):
    await lab.start_kubelet()
    volumes = [{"name": "kube-api-access-x7k2p", "projected": {"sources": []}}]
    mount = {"name": "kube-api-access-x7k2p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    await lab.pod("web", volumes=volumes, containers=[mounting(**mount)])
    await lab.running("web")


async def test_deletion_runs_del_kills_the_sandbox_and_removes_every_trace(lab):
    await lab.start_kubelet()
    await lab.pod("web")
    pod = await lab.running("web")
    sandbox = lab.sandbox(pod)
    await lab.client.delete(PODS, "web", "default")
    await lab.vanished("web")
    assert len(lab.calls("DEL")) == 1
    assert lab.calls("DEL")[0].split()[1:] == lab.calls("ADD")[0].split()[1:]
    assert not list((lab.options.root_dir / "kubelet" / "sandboxes").iterdir())
    assert sandbox["cniNetns"] not in names("/run/netns")
    assert not list((lab.options.root_dir / "kubelet" / "pods").iterdir())


async def test_a_failed_add_is_told_and_undone_and_tried_again(lab):
    lab.fail("ADD", 100, "PoolExhausted: no address left")
    await lab.start_kubelet()
    await lab.pod("web")
    event = await lab.event("FailedCreatePodSandBox")
    assert "PoolExhausted: no address left" in event["message"]
    assert "the plugin's own words" in event["message"]
    pod = await lab.until("web", "waiting", lambda pod: pod["status"].get("containerStatuses"))
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ContainerCreating"
    assert len(lab.calls("DEL")) >= 1
    lab.mend("ADD")
    await lab.running("web")


async def test_deleting_a_pod_interrupts_its_pending_add(lab):
    plugin = lab.options.cni_bin_dirs[0] / "scripted"
    text = plugin.read_text().replace("ADD)\n", "ADD)\n  sleep 60\n")
    plugin.write_text(text)
    await lab.start_kubelet()
    await lab.pod("web")
    await lab.called("ADD")
    await lab.client.delete(PODS, "web", "default")
    await lab.vanished("web")  # sooner than the plugin's minute
    assert len(lab.calls("DEL")) == 1


def sandboxes_of(launcher):
    """PIDs of all sandbox processes of a helper, those still being made included."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes().decode().split("\0")
        except OSError:
            continue
        if arguments[: len(launcher.helper) + 1] == [*launcher.helper, "sandbox"]:
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("launcher", [Launcher.default(), Launcher.fallback()], ids=["default", "python"])
async def test_a_sandbox_nobody_waits_for_any_more_is_ended(launcher, tmp_path):
    """Whenever in the 60 ms that it may take to make one the pod is deleted."""
    store = SandboxStore(tmp_path, "n1", launcher)
    others = sandboxes_of(launcher)
    for number in range(30):
        metadata = {"name": f"p{number}", "namespace": "default", "uid": f"u{number}"}
        making = asyncio.create_task(store.create({"metadata": metadata, "spec": {"hostNetwork": True}}))
        await asyncio.wait({making}, timeout=0.002 * number)
        if making.done():
            await store.end(making.result())
            continue
        making.cancel()
        await asyncio.wait({making})
        assert making.cancelled()
    assert sandboxes_of(launcher) == others


async def test_a_sandbox_that_a_killed_kubelet_was_making_is_ended_by_the_next(tmp_path):
    launcher = Launcher.default()
    others = sandboxes_of(launcher)
    netns.prepare()
    for number, host_network in enumerate((True, False)):
        container_id = uuid.uuid4().hex
        pid = await launcher.sandbox("web", container_id, host_network=host_network)
        if not host_network:
            netns.publish(pid, netns.path_of(container_id))
        (tmp_path / f"{container_id}.making").touch()
        assert len(sandboxes_of(launcher)) == len(others) + 1, number
        store = SandboxStore(tmp_path, "n1", launcher)
        store.end_unfinished()
        await exited(pid)
        assert sandboxes_of(launcher) == others
        assert str(netns.path_of(container_id)) not in names("/run/netns")
        assert not list(tmp_path.glob("*.making"))


async def test_a_finished_sandbox_is_not_taken_for_an_unfinished_one(tmp_path):
    store = SandboxStore(tmp_path, "n1", Launcher.default())
    sandbox = await store.create(
        {"metadata": {"name": "web", "namespace": "default", "uid": "u"}, "spec": {}}
    )
    assert not list(tmp_path.glob("*.making"))
    (tmp_path / f"{sandbox.container_id}.making").touch()
    store.end_unfinished()
    assert sandbox.is_alive()
    assert sandbox.cni_netns in names("/run/netns")
    await store.end(sandbox)


async def test_a_deaf_container_is_killed_and_leaves_no_task_behind(lab):
    await lab.start_kubelet()
    deaf = ["sh", "-c", "trap '' TERM; while true; do sleep 1; done"]
    await lab.pod("web", deaf, terminationGracePeriodSeconds=1)
    await lab.running("web")
    before = len(waiting_for_events())
    await lab.client.delete(PODS, "web", "default")
    await lab.vanished("web")
    assert len(waiting_for_events()) <= before


def waiting_for_events():
    return [task for task in asyncio.all_tasks() if "Event.wait" in repr(task.get_coro())]


async def test_a_sandbox_that_takes_too_long_is_told_and_the_pod_can_be_deleted(lab, monkeypatch, tmp_path):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 1000\n")
    slow.chmod(0o755)
    monkeypatch.setattr("multinet.kubelet.launcher._START_LIMIT_S", 0.2)
    monkeypatch.setattr(Launcher, "default", classmethod(lambda cls: cls((str(slow),))))
    await lab.start_kubelet()
    await lab.pod("web")
    event = await lab.event("FailedCreatePodSandBox")
    assert "could not start sandbox: waited 0.2 s" in event["message"]
    await lab.client.delete(PODS, "web", "default", grace_seconds=1)
    await lab.vanished("web")


async def test_sandbox_and_containers_survive_a_kubelet_restart(lab):
    first = await lab.start_kubelet()
    await lab.pod("web")
    await lab.pod("gone")
    before = await lab.running("web")
    gone = lab.sandbox(await lab.running("gone"))
    sandbox = lab.sandbox(before)
    await lab.stop_kubelet(first)
    await lab.client.delete(PODS, "gone", "default", grace_seconds=0)
    await lab.start_kubelet()
    await lab.pod("later")
    await lab.running("later")
    after = await lab.running("web")
    assert lab.sandbox(after) == sandbox
    assert after["status"]["containerStatuses"][0]["restartCount"] == 0
    assert len([call for call in lab.calls("ADD") if "K8S_POD_NAME=web" in call]) == 1
    await lab.client.delete(PODS, "web", "default")
    await lab.vanished("web")
    assert any(gone["containerID"] in call for call in lab.calls("DEL"))
    assert len(list((lab.options.root_dir / "kubelet" / "sandboxes").iterdir())) == 1


async def test_a_killed_sandbox_is_replaced_by_del_then_add(lab):
    await lab.start_kubelet()
    await lab.pod("web")
    pod = await lab.running("web")
    old = lab.sandbox(pod)
    os.kill(old["pid"], signal.SIGKILL)
    await lab.event("SandboxChanged")
    await lab.until(
        "web", "restarted", lambda p: p["status"]["containerStatuses"][0]["restartCount"] and ready(p)
    )
    new = lab.sandbox(pod)
    assert new["containerID"] != old["containerID"]
    commands = [call.split()[0] for call in lab.calls() if "VERSION" not in call]
    assert commands == ["GC", "ADD", "DEL", "ADD"]


async def test_restart_policies_exit_codes_and_phases(lab):
    await lab.start_kubelet()
    await lab.pod("good", ["true"], restartPolicy="Never")
    await lab.pod("bad", ["sh", "-c", "exit 3"], restartPolicy="Never")
    await lab.pod("loop", ["sh", "-c", "exit 4"])
    await lab.pod("wrong", ["/no/such/program"], restartPolicy="Never")
    good = await lab.until("good", "Succeeded", lambda p: p["status"].get("phase") == "Succeeded")
    assert good["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    bad = await lab.until("bad", "Failed", lambda p: p["status"].get("phase") == "Failed")
    assert bad["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3
    wrong = await lab.until("wrong", "Failed", lambda p: p["status"].get("phase") == "Failed")
    state = wrong["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (state["exitCode"], state["reason"]) == (128, "StartError")
    assert "/no/such/program" in state["message"]

    def crash_loop(pod):
        status = pod["status"].get("containerStatuses", [{}])[0]
        return status.get("restartCount", 0) >= 2 and status["state"].get("waiting")

    loop = await lab.until("loop", "CrashLoopBackOff", crash_loop)
    status = loop["status"]["containerStatuses"][0]
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert status["lastState"]["terminated"]["exitCode"] == 4


async def test_a_pod_that_is_done_gets_no_other_sandbox_and_keeps_its_address(lab):
    await lab.start_kubelet()
    names = [f"done{number}" for number in range(4)]
    for name in names:
        await lab.pod(name, ["true"], ["sh", "-c", "exit 3"], restartPolicy="Never")
    for name in names:
        await lab.until(name, "Failed", lambda p: p["status"].get("phase") == "Failed")
    await lab.pod("later")
    await lab.running("later")
    pods = [lab.pods.store[f"default/{name}"] for name in names]
    assert [pod["status"].get("podIP") for pod in pods] == ["10.32.0.7"] * 4
    for name in names:
        assert sum(f"K8S_POD_NAME={name};" in call for call in lab.calls("ADD")) == 1


async def test_init_containers_run_in_order_before_the_others(lab, tmp_path):
    trace = tmp_path / "trace"
    init = [
        {"name": f"i{n}", "image": "none", "command": ["sh", "-c", f"echo i{n} >> {trace}"]} for n in (1, 2)
    ]
    await lab.start_kubelet()
    await lab.pod("web", ["sh", "-c", f"echo main >> {trace}; sleep 1000"], initContainers=init)
    pod = await lab.until("web", "Ready", ready)
    assert [s["state"]["terminated"]["exitCode"] for s in pod["status"]["initContainerStatuses"]] == [0, 0]
    while trace.read_text().split() != ["i1", "i2", "main"]:
        await pause("the main container's line", 0.02)


async def test_host_network_pod_has_the_nodes_namespace_and_address(lab):
    await lab.start_kubelet()
    await lab.pod("agent", hostNetwork=True)
    pod = await lab.running("agent")
    assert pod["status"]["podIP"] == "127.0.0.1"
    assert namespace(lab.sandbox(pod)["netns"]) == namespace("/proc/self/ns/net")
    assert not lab.calls("ADD")


async def test_node_follows_the_plugins_status(lab, node_condition):
    lab.fail("STATUS", 50, "the agent is away")
    await lab.start_kubelet()
    condition = await node_condition(lab, "False")
    assert condition["reason"] == "KubeletNotReady"
    assert "container runtime network not ready" in condition["message"]
    assert "the agent is away" in condition["message"]
    lab.mend("STATUS")
    await node_condition(lab, "True")
    node = await lab.client.get(NODES, "n1")
    assert node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] == 10250
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "n1"
    lease = await lab.client.get(LEASES, "n1", "kube-node-lease")
    assert lease["spec"]["holderIdentity"] == "n1"


async def test_a_node_that_is_gone_from_the_api_is_registered_again(lab, node_condition, monkeypatch):
    monkeypatch.setattr("multinet.kubelet.node.RENEW_S", 0.05)
    await lab.start_kubelet()
    await node_condition(lab, "True")
    first = await lab.client.get(NODES, "n1")
    await lab.client.delete(NODES, "n1")
    again = await node_condition(lab, "True")
    assert again["reason"] == "KubeletReady"
    assert (await lab.client.get(NODES, "n1"))["metadata"]["uid"] != first["metadata"]["uid"]


async def test_del_failure_is_told_and_tried_again(lab):
    await lab.start_kubelet()
    await lab.pod("web")
    await lab.running("web")
    lab.fail("DEL", 11, "come back later")
    await lab.client.delete(PODS, "web", "default")
    event = await lab.event("FailedKillPodSandBox")
    assert "come back later" in event["message"]
    lab.mend("DEL")
    await lab.vanished("web")
