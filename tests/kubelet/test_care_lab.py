"""Probes, hooks, sidecars, grace: what happens to a container while it runs and when it stops."""

from __future__ import annotations

import time

import pytest

from multinet.kube.resources import PODS
from multinet.waits import pause

pytestmark = pytest.mark.lab
TERM_TO = "trap 'echo term; exit 0' TERM; while :; do sleep 0.05; done"


def container(script, name="c0", **more):
    return {"name": name, "image": "none", "command": ["sh", "-c", script], **more}


def status_of(pod, name="c0", kind="containerStatuses"):
    return next((item for item in pod["status"].get(kind) or () if item["name"] == name), {})


def ready(pod):
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def probe(script, **more):
    return {"exec": {"command": ["sh", "-c", script]}, "periodSeconds": 1, **more}


async def test_readiness_follows_its_probe_and_startup_holds_it_back(lab, tmp_path):
    up, fit = tmp_path / "up", tmp_path / "fit"
    await lab.start_kubelet()
    spec = container(
        "sleep 1000",
        startupProbe=probe(f"test -e {up}", failureThreshold=30),
        readinessProbe=probe(f"test -e {fit}", failureThreshold=1),
    )
    fit.touch()
    await lab.pod("web", containers=[spec])
    pod = await lab.running("web")
    assert (status_of(pod)["started"], status_of(pod)["ready"], ready(pod)) == (False, False, False)
    up.touch()
    pod = await lab.until("web", "Ready", ready)
    assert status_of(pod)["started"]
    fit.unlink()
    pod = await lab.until("web", "unready", lambda pod: not ready(pod))
    assert status_of(pod)["started"]
    assert status_of(pod)["restartCount"] == 0
    assert "probe failed: command exited with 1" in (await lab.event("Unhealthy"))["message"]


async def test_a_container_that_fails_its_liveness_probe_is_restarted(lab, tmp_path):
    alive = tmp_path / "alive"
    alive.touch()
    await lab.start_kubelet()
    alive_probe = probe(f"cat {alive}", failureThreshold=1, terminationGracePeriodSeconds=1)
    await lab.pod("web", containers=[container("sleep 1000", livenessProbe=alive_probe)])
    await lab.until("web", "Ready", ready)
    alive.unlink()
    await lab.until("web", "restarted", lambda pod: status_of(pod).get("restartCount"))
    assert "No such file" in (await lab.event("Unhealthy"))["message"]
    assert "failed liveness probe, will be restarted" in (await lab.event("Killing"))["message"]


async def test_probes_by_http_and_tcp_come_from_the_node(lab):
    """The pod is in the node's namespace: the scripted plugin of these tests gives a pod no way out."""
    server = "import http.server as h; h.HTTPServer(('127.0.0.1', 18080), h.SimpleHTTPRequestHandler)"
    server += ".serve_forever()"
    await lab.start_kubelet()
    spec = container(
        'exec python3 -c "$SERVER"',
        env=[{"name": "SERVER", "value": server}],
        ports=[{"name": "web", "containerPort": 18080}],
        readinessProbe={"httpGet": {"port": "web", "path": "/etc/hostname"}, "periodSeconds": 1},
        livenessProbe={"tcpSocket": {"port": 18080}, "periodSeconds": 1, "initialDelaySeconds": 2},
    )
    await lab.pod("web", hostNetwork=True, containers=[spec])
    await lab.until("web", "Ready", ready)
    broken = container(
        "sleep 1000", readinessProbe={"httpGet": {"port": 18080, "path": "/no/such"}, "periodSeconds": 1}
    )
    await lab.pod("broken", hostNetwork=True, containers=[broken])
    event = await lab.event("Unhealthy")
    while "statuscode: 404" not in event["message"]:
        event = await lab.event("Unhealthy")


async def test_pre_stop_then_term_within_the_grace_period(lab, tmp_path):
    trace = tmp_path / "trace"
    await lab.start_kubelet()
    spec = container(
        f"trap 'echo term >> {trace}; exit 0' TERM; touch {trace}; while :; do sleep 0.05; done",
        lifecycle={"preStop": {"exec": {"command": ["sh", "-c", f"echo hook >> {trace}"]}}},
    )
    await lab.pod("web", containers=[spec])
    await lab.running("web")
    while not trace.exists():
        await pause("the trap", 0.02)
    await lab.client.delete(PODS, "web", "default", grace_seconds=20)
    await lab.vanished("web")
    assert trace.read_text() == "hook\nterm\n"


async def test_a_pre_stop_hook_that_never_ends_uses_up_the_grace_and_no_more(lab):
    await lab.start_kubelet()
    spec = container("trap '' TERM; sleep 1000", lifecycle={"preStop": {"sleep": {"seconds": 60}}})
    await lab.pod("web", containers=[spec])
    await lab.running("web")
    begun = time.monotonic()
    await lab.client.delete(PODS, "web", "default", grace_seconds=1)
    await lab.vanished("web")
    # The hook's second, and the two that a command gets after it; not the hook's minute.
    assert 2.5 < time.monotonic() - begun < 50


async def test_post_start_holds_back_readiness_and_its_failure_kills(lab, tmp_path):
    await lab.start_kubelet()
    gate = tmp_path / "gate"
    hook = {"postStart": {"exec": {"command": ["sh", "-c", f"until [ -e {gate} ]; do sleep 0.05; done"]}}}
    await lab.pod("good", containers=[container("sleep 1000", lifecycle=hook)])
    pod = await lab.running("good")
    assert not status_of(pod)["ready"]
    gate.touch()
    await lab.until("good", "Ready", ready)
    bad = {"postStart": {"exec": {"command": ["sh", "-c", "echo no; exit 3"]}}}
    await lab.pod("bad", containers=[container("exec sleep 1000", lifecycle=bad)], restartPolicy="Never")
    await lab.until("bad", "Failed", lambda pod: pod["status"].get("phase") == "Failed")
    assert (await lab.event("FailedPostStartHook"))["message"] == "PostStartHook failed: no"


async def test_a_sidecar_starts_before_and_stops_after_the_main_container(lab, tmp_path):
    trace = tmp_path / "trace"

    def traced(name, **more):
        script = f"trap 'echo {name} stops >> {trace}; exit 0' TERM; echo {name} starts >> {trace};"
        return container(script + " while :; do sleep 0.05; done", name, **more)

    sidecar = traced("side", restartPolicy="Always", startupProbe=probe(f"grep side {trace}"))
    await lab.start_kubelet()
    await lab.pod("web", initContainers=[sidecar], containers=[traced("main")])
    pod = await lab.until("web", "Ready", ready)
    assert status_of(pod, "side", "initContainerStatuses")["ready"]
    while "main starts" not in trace.read_text():
        await pause("the main container's trap", 0.02)
    await lab.client.delete(PODS, "web", "default", grace_seconds=20)
    await lab.vanished("web")
    assert trace.read_text().splitlines() == ["side starts", "main starts", "main stops", "side stops"]


async def test_a_sidecar_does_not_keep_a_finished_pod(lab):
    await lab.start_kubelet()
    side = container(TERM_TO, "side", restartPolicy="Always")
    await lab.pod("web", initContainers=[side], containers=[container("true")], restartPolicy="Never")
    await lab.until("web", "Succeeded", lambda pod: pod["status"].get("phase") == "Succeeded")


async def test_a_pod_past_its_deadline_fails(lab):
    await lab.start_kubelet()
    await lab.pod("web", containers=[container("exec sleep 1000")], activeDeadlineSeconds=1)
    pod = await lab.until("web", "Failed", lambda pod: pod["status"].get("phase") == "Failed")
    assert pod["status"]["reason"] == "DeadlineExceeded"


async def test_a_pod_that_is_never_attached_reaches_its_deadline(lab):
    await lab.start_kubelet()
    lab.fail("ADD", 100, "no such network")
    await lab.pod("web", containers=[container("exec sleep 1000")], activeDeadlineSeconds=1)
    pod = await lab.until("web", "Failed", lambda pod: pod["status"].get("phase") == "Failed")
    assert pod["status"]["reason"] == "DeadlineExceeded"


async def test_readiness_gates_and_others_conditions_survive_our_writes(lab):
    await lab.start_kubelet()
    await lab.pod("web", readinessGates=[{"conditionType": "example.org/linked"}])
    pod = await lab.running("web")
    assert not ready(pod)
    gate = {"type": "example.org/linked", "status": "True"}
    conditions = [*pod["status"]["conditions"], gate]
    await lab.client.patch(
        PODS, "web", {"status": {"conditions": conditions}}, "default", subresource="status"
    )
    pod = await lab.until("web", "Ready", ready)
    assert gate.items() <= pod["status"]["conditions"][-1].items()


async def test_fields_without_effect_are_said_once(lab):
    await lab.start_kubelet()
    await lab.pod("web", hostPID=True, containers=[container("sleep 9", resources={"limits": {"cpu": "1"}})])
    event = await lab.event("FieldsIgnored")
    assert "spec.hostPID, spec.containers[].resources.limits" in event["message"]
    await lab.running("web")
