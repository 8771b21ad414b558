"""Static pods: run from a directory, mirrored in the API, whatever becomes of the mirror."""

from __future__ import annotations

import json

import pytest

from multinet.kube.resources import PODS

pytestmark = pytest.mark.lab


def manifest(lab, name="proxy", command="exec sleep 1000", **spec):
    directory = lab.options.root_dir / "manifests"
    directory.mkdir(exist_ok=True)
    container = {"name": "c0", "image": "none", "command": ["sh", "-c", command]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], **spec},
    }
    path = directory / f"{name}.yaml"
    path.write_text(json.dumps(pod))
    return path


def records(lab):
    return [
        json.loads(path.read_text())
        for path in (lab.options.root_dir / "kubelet" / "sandboxes").glob("*.json")
    ]


async def test_a_static_pod_has_a_mirror_that_follows_it(lab):
    path = manifest(lab)
    await lab.start_kubelet()
    mirror = await lab.running("proxy-n1")
    annotations = mirror["metadata"]["annotations"]
    assert annotations["kubernetes.io/config.mirror"] == annotations["kubernetes.io/config.hash"]
    assert mirror["status"]["podIP"] == "10.32.0.7"
    # Its network was asked for as the API knows the pod.
    assert f"K8S_POD_UID={mirror['metadata']['uid']}" in lab.calls("ADD")[0]
    (record,) = records(lab)
    assert record["uid"] == annotations["kubernetes.io/config.hash"]
    path.unlink()
    await lab.vanished("proxy-n1")
    assert not records(lab)
    assert len(lab.calls("DEL")) == 1


async def test_a_deleted_mirror_comes_back_and_a_host_network_pod_runs_on(lab):
    manifest(lab, hostNetwork=True)
    await lab.start_kubelet()
    first = await lab.running("proxy-n1")
    (record,) = records(lab)
    await lab.client.delete(PODS, "proxy-n1", "default")

    def again(pod):
        return pod["metadata"]["uid"] != first["metadata"]["uid"] and pod["status"].get("phase") == "Running"

    second = await lab.until("proxy-n1", "mirrored again", again)
    assert second["status"]["containerStatuses"][0]["restartCount"] == 0
    assert records(lab) == [record]


async def test_a_pod_network_belongs_to_the_mirror_and_is_made_anew_with_it(lab):
    manifest(lab)
    await lab.start_kubelet()
    first = await lab.running("proxy-n1")
    await lab.client.delete(PODS, "proxy-n1", "default")

    def again(pod):
        statuses = pod["status"].get("containerStatuses") or [{}]
        return pod["metadata"]["uid"] != first["metadata"]["uid"] and statuses[0].get("restartCount") == 1

    second = await lab.until("proxy-n1", "attached again", again)
    commands = [call.split()[0] for call in lab.calls()]
    assert [command for command in commands if command in ("ADD", "DEL")] == ["ADD", "DEL", "ADD"]
    assert f"K8S_POD_UID={second['metadata']['uid']}" in lab.calls("ADD")[1]


async def test_a_changed_manifest_is_another_pod_and_a_restart_none(lab):
    manifest(lab, hostNetwork=True)
    kubelet = await lab.start_kubelet()
    await lab.running("proxy-n1")
    (before,) = records(lab)
    await lab.stop_kubelet(kubelet)
    await lab.start_kubelet()
    await lab.pod("other")
    await lab.running("other")
    assert before in records(lab)
    manifest(lab, command="exec sleep 2000", hostNetwork=True)

    def changed(pod):
        return "2000" in str(pod["spec"]) and pod["status"].get("phase") == "Running"

    await lab.until("proxy-n1", "changed", changed)
    assert before not in records(lab)


async def test_a_file_that_is_no_pod_is_passed_over_and_an_orphaned_mirror_removed(lab):
    path = manifest(lab, hostNetwork=True)
    kubelet = await lab.start_kubelet()
    await lab.running("proxy-n1")
    await lab.stop_kubelet(kubelet)
    path.unlink()
    path.with_name("broken.yaml").write_text("kind: [")
    path.with_name("service.yaml").write_text("kind: Service")
    manifest(lab, name="other", hostNetwork=True)
    await lab.start_kubelet()
    await lab.running("other-n1")
    await lab.vanished("proxy-n1")
