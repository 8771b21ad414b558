"""What containers are given: environment, volumes, subPaths, and how these follow their objects."""

from __future__ import annotations

import base64
import json
import os
import signal
from pathlib import Path

import pytest

from multinet.kube.errors import InvalidError
from multinet.kube.resources import CONFIGMAPS, PODS, SECRETS
from multinet.waits import pause

pytestmark = pytest.mark.lab
STATUS = "k8s.v1.cni.cncf.io/network-status"


def config_map(name, **data):
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


def secret(name, **data):
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"metadata": {"name": name, "namespace": "default"}, "data": encoded}


def container(script, **more):
    return {"name": "c0", "image": "none", "command": ["sh", "-c", script], **more}


def exists(path):
    return Path(path).exists()


async def output(lab, pod, lines, name="c0", attempt=1):
    """The first lines that a container printed."""
    log = lab.options.root_dir / "kubelet" / "pods" / pod["metadata"]["uid"] / name / f"{attempt}.log"
    for _ in range(400):
        text = log.read_text().splitlines() if log.exists() else []
        if len(text) >= lines:
            return [line.split(" ", 3)[3] for line in text]
        await pause("the container's next line", 0.02)
    raise AssertionError(f"{lines} lines wanted, got {text}")


def waiting(reason):
    def holds(pod):
        state = (pod["status"].get("containerStatuses") or [{}])[0].get("state", {})
        return state.get("waiting", {}).get("reason") == reason and state["waiting"].get("message")

    return holds


async def test_environment_from_all_sources(lab):
    await lab.client.create(CONFIGMAPS, config_map("settings", COLOUR="blue"))
    await lab.client.create(SECRETS, secret("key", token="s3cret"))
    await lab.start_kubelet()
    env = [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "key", "key": "token"}}},
        {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "x", "optional": True}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        {"name": "ALL", "value": "$(TOKEN)-$(P_COLOUR)"},
    ]
    spec = container(
        'echo "$ALL $IP $CPU ${NONE-unset}"; sleep 1000',
        env=env,
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "settings"}}],
        resources={"limits": {"cpu": "1500m"}},
    )
    pod = await lab.pod("web", containers=[spec])
    assert await output(lab, pod, 1) == ["s3cret-blue 10.32.0.7 1500 unset"]


async def test_a_missing_object_is_named_and_waited_for(lab):
    await lab.start_kubelet()
    wanted = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "x"}}}]
    await lab.pod("web", containers=[container("sleep 1000", env=wanted)])
    pod = await lab.until("web", "waiting", waiting("CreateContainerConfigError"))
    assert 'configmap "later" not found' in str(pod["status"]["containerStatuses"])
    await lab.client.create(CONFIGMAPS, config_map("later", x="1"))
    await lab.running("web")


async def test_volumes_of_every_kind_at_paths_the_machine_does_not_have(lab):
    await lab.client.create(CONFIGMAPS, config_map("settings", a="A", b="B"))
    await lab.client.create(SECRETS, secret("key", token="s3cret"))
    shared = Path("/run/for-the-test")
    volumes = [
        {"name": "cm", "configMap": {"name": "settings", "items": [{"key": "b", "path": "deep/b"}]}},
        {"name": "one", "configMap": {"name": "settings"}},
        {
            "name": "all",
            "projected": {
                "sources": [
                    {"secret": {"name": "key"}},
                    {"downwardAPI": {"items": [{"path": "who", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                ]
            },
        },
        {"name": "scratch", "emptyDir": {}},
        {"name": "node", "hostPath": {"path": str(shared), "type": "DirectoryOrCreate"}},
    ]
    mounts = [
        {"name": "cm", "mountPath": "/nowhere/config"},
        {"name": "one", "mountPath": "/etc/only-a", "subPath": "a"},
        {"name": "all", "mountPath": "/var/run/secrets/all"},
        {"name": "scratch", "mountPath": "/data"},
        {"name": "node", "mountPath": "/shared"},
    ]
    script = """
        cat /nowhere/config/deep/b /etc/only-a /var/run/secrets/all/token /var/run/secrets/all/who; echo
        touch /nowhere/config/x 2>/dev/null || echo read-only
        echo from-the-pod > /shared/file; echo kept > /data/file; sleep 1000"""
    paths = ("/nowhere", "/etc/only-a", "/data", "/shared", "/run/secrets")
    made = [path for path in paths if not exists(path)]
    assert "/nowhere" in made
    await lab.start_kubelet()
    reader = {
        **container("until [ -s /mnt/file ]; do sleep 0.05; done; cat /mnt/file; sleep 1000"),
        "name": "c1",
    }
    reader["volumeMounts"] = [{"name": "scratch", "mountPath": "/mnt", "readOnly": True}]
    first = container(script, volumeMounts=mounts)
    pod = await lab.pod("web", volumes=volumes, containers=[first, reader])
    assert await output(lab, pod, 2) == ["BAs3cretweb", "read-only"]
    assert await output(lab, pod, 1, "c1") == ["kept"]
    assert (shared / "file").read_text() == "from-the-pod\n"
    assert not any(exists(path) for path in made)


async def test_files_follow_the_annotation_and_the_config_map(lab):
    await lab.client.create(CONFIGMAPS, config_map("settings", a="old", gone="x"))
    field = {"path": "status", "fieldRef": {"fieldPath": f"metadata.annotations['{STATUS}']"}}
    volumes = [
        {"name": "info", "downwardAPI": {"items": [field]}},
        {"name": "cm", "configMap": {"name": "settings"}},
    ]
    uses = [{"name": "info", "mountPath": "/podinfo"}, {"name": "cm", "mountPath": "/config"}]
    script = """
        echo "[$(cat /podinfo/status)] $(cat /config/a) $(ls /config)"
        until [ -s /podinfo/status ] && [ -e /config/new ]; do sleep 0.05; done
        echo "[$(cat /podinfo/status)] $(cat /config/a) $(ls /config)"; sleep 1000"""
    await lab.start_kubelet()
    pod = await lab.pod("web", volumes=volumes, containers=[container(script, volumeMounts=uses)])
    assert await output(lab, pod, 2) == ["[] old a", "gone"]
    patch = {"metadata": {"annotations": {STATUS: '[{"name": "net"}]'}}}
    await lab.client.patch(PODS, "web", patch, "default")
    change = {"data": {"a": "new", "new": "y", "gone": None}}
    await lab.client.patch(CONFIGMAPS, "settings", change, "default")
    assert (await output(lab, pod, 4))[2:] == ['[[{"name": "net"}]] new a', "new"]


async def test_a_volume_of_an_object_that_comes_later(lab):
    await lab.start_kubelet()
    volumes = [{"name": "v", "secret": {"secretName": "later"}}]
    uses = [{"name": "v", "mountPath": "/v"}]
    pod = await lab.pod(
        "web", volumes=volumes, containers=[container("cat /v/k; sleep 9", volumeMounts=uses)]
    )
    await lab.until("web", "waiting", waiting("ContainerCreating"))
    event = await lab.event("FailedMount")
    assert 'secret "later" not found' in event["message"]
    await lab.client.create(SECRETS, secret("later", k="here\n"))
    assert await output(lab, pod, 1) == ["here"]


@pytest.mark.parametrize(
    "spec",
    [
        {"env": [{"name": "X", "valueFrom": {"fieldRef": "wrong"}}]},
        {"livenessProbe": {"exec": {"command": ["true"]}, "periodSeconds": "x"}},
    ],
)
async def test_fields_of_another_type_are_refused_before_a_kubelet_sees_them(lab, spec):
    with pytest.raises(InvalidError, match="cannot be handled as a Pod"):
        await lab.pod("wrong", containers=[container("sleep 1000", **spec)])


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"readinessProbe": {"grpc": {"port": 1}}}, "type grpc is not supported"),
        ({"livenessProbe": {"tcpSocket": {"port": "web"}}}, "couldn't find port 'web'"),
    ],
)
async def test_wrong_fields_are_told_and_hurt_nobody_else(lab, spec, told):
    await lab.start_kubelet()
    await lab.pod("wrong", containers=[container("sleep 1000", **spec)])
    pod = await lab.until("wrong", "waiting", waiting("CreateContainerConfigError"))
    assert told in pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert told in (await lab.event("Failed"))["message"]
    await lab.pod("right")
    await lab.running("right")
    await lab.client.delete(PODS, "wrong", "default")
    await lab.vanished("wrong")


async def test_a_host_path_is_never_made_outside_the_labs_own_directory(lab):
    await lab.start_kubelet()
    volumes = [{"name": "v", "hostPath": {"path": "/opt/not-here", "type": "DirectoryOrCreate"}}]
    spec = container("sleep 1000", volumeMounts=[{"name": "v", "mountPath": "/v"}])
    await lab.pod("web", volumes=volumes, containers=[spec])
    pod = await lab.until("web", "waiting", waiting("CreateContainerConfigError"))
    assert "below /run only" in pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
    assert not exists("/opt/not-here")


async def test_a_new_sandbox_runs_the_init_containers_again_and_keeps_empty_dirs(lab):
    volumes = [{"name": "v", "emptyDir": {}}]
    uses = [{"name": "v", "mountPath": "/v"}]
    init = {**container("echo again >> /v/file", volumeMounts=uses), "name": "i0"}
    await lab.start_kubelet()
    main = container("wc -l < /v/file; sleep 1000", volumeMounts=uses)
    pod = await lab.pod("web", volumes=volumes, initContainers=[init], containers=[main])
    assert await output(lab, pod, 1) == ["1"]
    os.kill(lab.sandbox(pod)["pid"], signal.SIGKILL)
    assert await output(lab, pod, 1, attempt=2) == ["2"]


async def test_host_ports_and_bandwidth_reach_the_plugin_that_declares_them(lab):
    config = lab.options.cni_conf_dir / "10-net.conflist"
    capable = {"type": "scripted", "capabilities": {"portMappings": True, "bandwidth": True}}
    config.write_text(json.dumps({"cniVersion": "1.1.0", "name": "net", "plugins": [capable]}))
    await lab.start_kubelet()
    manifest = {
        "metadata": {
            "name": "web",
            "namespace": "default",
            "annotations": {"kubernetes.io/ingress-bandwidth": "10M"},
        },
        "spec": {
            "nodeName": "n1",
            "containers": [container("sleep 1000", ports=[{"containerPort": 80, "hostPort": 8080}])],
        },
    }
    await lab.client.create(PODS, manifest)
    await lab.running("web")
    sent = json.loads((lab.plugin / "stdin.ADD").read_text())["runtimeConfig"]
    mapping = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""}
    assert sent == {
        "portMappings": [mapping],
        "bandwidth": {"ingressRate": 10_000_000, "ingressBurst": 2**31 - 1},
    }
    await lab.client.delete(PODS, "web", "default", grace_seconds=1)
    await lab.vanished("web")
    assert json.loads((lab.plugin / "stdin.DEL").read_text())["runtimeConfig"] == sent


async def test_a_host_port_that_no_plugin_can_map_is_told(lab):
    await lab.start_kubelet()
    await lab.pod("web", containers=[container("sleep 9", ports=[{"containerPort": 80, "hostPort": 81}])])
    event = await lab.event("NotSupportedByNetwork")
    assert "portMappings" in event["message"]
    await lab.running("web")
