"""Specification, status and logs: the parts of the kubelet that need no process."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from multinet.errors import InputError
from multinet.kubelet.containers import Container, Exit, Run
from multinet.kubelet.environment import Sources, environment_of
from multinet.kubelet.launcher import Launcher
from multinet.kubelet.logs import LogOptions, read_existing, stream
from multinet.kubelet.main import parse
from multinet.kubelet.podnetwork import default_addresses
from multinet.kubelet.podspec import PodFacts, command_of, expand, grace_seconds
from multinet.kubelet.status import PodView, pod_status, status_patch

POD = {
    "metadata": {"name": "web", "namespace": "ns", "uid": "u1", "annotations": {"a/b": "c"}, "labels": {}},
    "spec": {"containers": [{"name": "c", "image": "i"}], "serviceAccountName": "robot"},
}
SOURCES = Sources(PodFacts("n1", ("100.64.0.11",), ("10.32.0.7", "fd00::7")), lambda _reference: None)
LOG = (
    b"2026-01-01T00:00:01.000000000Z stdout F one\n"
    b"2026-01-01T00:00:02.500000000Z stderr P tw\n"
    b"2026-01-01T00:00:02.600000000Z stderr F o\n"
    b"2026-01-01T00:00:03.000000000Z stdout F thr"
)


def container(state="new", name="c", code=0, attempts=1):
    made = Container(name, Path("/nowhere"), Launcher.fallback(), lambda: None)
    if state != "new":
        made.attempts = attempts
        made.run = Run(attempts, 1, 2, 100.0)
    if state == "ended":
        made.exit = Exit(code, 0, 100.0, 101.0, "Completed" if code == 0 else "Error")
    return made


def view(*main, init=(), waiting=None, ips=("10.0.0.1",)):
    return PodView(init, main, waiting or {}, True, ips, "100.64.0.11")


def status(*main, policy="Always", **more):
    names = [{"name": item.name, "image": "i"} for item in main]
    pod = {**POD, "spec": {"containers": names, "restartPolicy": policy}}
    if more.get("init"):
        pod["spec"]["initContainers"] = [{"name": item.name} for item in more["init"]]
    return pod_status(pod, view(*main, **more), "2026-01-01T00:00:00Z")


def test_field_references_and_expansion():
    spec = {
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)-$$(A)-$(NONE)"},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "NOTE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['a/b']"}}},
        ]
    }
    env = environment_of(POD, spec, SOURCES)
    assert env["B"] == "1-$(A)-$(NONE)"
    assert (env["IP"], env["NODE"], env["NOTE"], env["HOSTNAME"]) == ("10.32.0.7", "n1", "c", "web")
    assert expand("$(IP)!", env) == "10.32.0.7!"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"env": [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "k"}}}]}, 'secret "k" not found'),
        ({"env": [{"name": "S", "valueFrom": {"fileKeyRef": {}}}]}, "fileKeyRef is not supported"),
        ({"env": [{"name": "S", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}, "unknown field"),
        ({"envFrom": [{"configMapRef": {"name": "c"}}]}, 'configmap "c" not found'),
    ],
)
def test_unsupported_environment_is_an_error_not_a_gap(spec, message):
    with pytest.raises(InputError, match=message):
        environment_of(POD, spec, SOURCES)


def test_commands_arguments_and_idling():
    env = {"PATH": "/usr/bin:/bin", "N": "3"}
    assert command_of({"command": ["sleep"], "args": ["$(N)"]}, env) == ("sleep", "3")
    assert command_of({"args": ["sleep", "1"]}, env) == ("sleep", "1")
    assert command_of({"args": ["--flag-of-an-entrypoint"]}, env) == ()
    assert command_of({}, env) == ()


def test_grace_period_of_deletion_wins():
    assert grace_seconds(POD) == 30
    assert grace_seconds({"metadata": {"deletionGracePeriodSeconds": 0}, "spec": {}}) == 0
    assert grace_seconds({"spec": {"terminationGracePeriodSeconds": 5}}) == 5


@pytest.mark.parametrize(
    ("containers", "policy", "phase"),
    [
        ([container()], "Always", "Pending"),
        ([container("running")], "Always", "Running"),
        ([container("ended"), container("running", "d")], "Never", "Running"),
        ([container("ended"), container("ended", "d")], "Never", "Succeeded"),
        ([container("ended", code=1), container("ended", "d")], "Never", "Failed"),
        ([container("ended", code=1)], "OnFailure", "Running"),
        ([container("ended")], "OnFailure", "Succeeded"),
        ([container("ended")], "Always", "Running"),
    ],
)
def test_phase(containers, policy, phase):
    assert status(*containers, policy=policy)["phase"] == phase


def test_init_containers_decide_first():
    assert status(container(), init=(container("running", "i"),))["phase"] == "Pending"
    assert status(container(), policy="Never", init=(container("ended", "i", code=1),))["phase"] == "Failed"
    found = status(container("running"), init=(container("ended", "i"),))
    assert found["phase"] == "Running"
    assert found["initContainerStatuses"][0]["ready"] is True


def test_status_of_a_running_pod():
    found = status(container("running"), ips=("10.0.0.1", "fd00::1"))
    assert (found["podIP"], found["podIPs"]) == ("10.0.0.1", [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}])
    states = {item["type"]: item["status"] for item in found["conditions"]}
    assert states == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )
    assert found["containerStatuses"][0]["state"] == {"running": {"startedAt": "1970-01-01T00:01:40Z"}}


def test_back_off_shows_the_last_exit():
    found = status(container("ended", code=2, attempts=3), waiting={"c": ("CrashLoopBackOff", "wait")})
    entry = found["containerStatuses"][0]
    assert entry["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "wait"}}
    assert entry["lastState"]["terminated"]["exitCode"] == 2
    assert entry["restartCount"] == 2


def test_condition_times_and_foreign_conditions_are_kept():
    old = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"},
        {"type": "Ready", "status": "False", "lastTransitionTime": "2025-01-01T00:00:00Z"},
        {"type": "Mine", "status": "True"},
    ]
    pod = {**POD, "status": {"conditions": old}}
    found = pod_status(pod, view(container("running")), "2026-01-01T00:00:00Z")
    times = {item["type"]: item.get("lastTransitionTime") for item in found["conditions"]}
    assert times["PodScheduled"] == "2025-01-01T00:00:00Z"
    assert times["Ready"] == "2026-01-01T00:00:00Z"
    assert "Mine" in times


def test_status_patch_has_changes_only_and_removes_what_vanished():
    assert status_patch({"phase": "Running", "podIP": "1", "x": 1}, {"phase": "Running"}) == {"podIP": None}
    assert status_patch({"phase": "Running"}, {"phase": "Running"}) == {}


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({}, b"one\ntwo\n"),
        ({"tailLines": "0"}, b""),
        ({"tailLines": "1"}, b"o\n"),
        ({"sinceTime": "2026-01-01T00:00:02Z"}, b"two\n"),
        ({"sinceSeconds": "7"}, b"two\n"),
        ({"timestamps": "true", "tailLines": "1"}, b"2026-01-01T00:00:02.600000000Z o\n"),
    ],
)
def test_log_options(query, text):
    options = LogOptions.from_query(query, datetime(2026, 1, 1, 0, 0, 9, tzinfo=UTC))
    assert b"".join(read_existing(LOG, options)) == text


@pytest.mark.parametrize("query", [{"tailLines": "-1"}, {"limitBytes": "x"}, {"sinceTime": "yesterday"}])
def test_bad_log_options_are_named(query):
    with pytest.raises(InputError, match=next(iter(query))):
        LogOptions.from_query(query, datetime.now(UTC))


@pytest.mark.parametrize(
    ("result", "addresses"),
    [
        (
            {
                "interfaces": [
                    {"name": "br"},
                    {"name": "eth0", "sandbox": "/x"},
                    {"name": "eth1", "sandbox": "/x"},
                ],
                "ips": [
                    {"address": "10.1.0.1/24", "interface": 2},
                    {"address": "10.32.0.7/12", "interface": 1},
                    {"address": "fd00::7/64", "interface": 1},
                ],
            },
            ("10.32.0.7", "fd00::7"),
        ),
        ({"ips": [{"address": "10.0.0.2/24"}]}, ("10.0.0.2",)),
        ({"ip4": {"ip": "10.0.0.3/24"}}, ("10.0.0.3",)),
        ({}, ()),
    ],
)
def test_pod_ips_come_from_the_default_interface(result, addresses):
    assert default_addresses(result) == addresses


def test_command_line_defaults():
    options = parse(["--kubeconfig", "k", "--node-name", "n", "--node-ip", "1.2.3.4", "--root-dir", "/r"])
    assert options.cni_conf_dir == Path("/r/cni/net.d")
    assert options.cni_bin_dirs == (Path("/r/cni/bin"),)
    given = [
        "--kubeconfig",
        "k",
        "--node-name",
        "n",
        "--node-ip",
        "1.2.3.4,fd00::4",
        "--root-dir",
        "/r",
        "--cni-bin-dir",
        "/a:/b",
    ]
    assert parse(given).cni_bin_dirs == (Path("/a"), Path("/b"))
    assert [(each.node_ip, each.node_ip6) for each in (options, parse(given))] == [
        ("1.2.3.4", ""),
        ("1.2.3.4", "fd00::4"),
    ]


@pytest.mark.parametrize(
    "text", ["1", "", "fd00::4", "fd00::4,1.2.3.4", "1.2.3.4,5.6.7.8", "1.2.3.4,fd00::4,fd00::5"]
)
def test_addresses_that_are_no_nodes(text, capsys):
    with pytest.raises(SystemExit):
        parse(["--kubeconfig", "k", "--node-name", "n", "--root-dir", "/r", "--node-ip", text])
    assert "--node-ip" in capsys.readouterr().err


async def test_a_followed_log_is_read_to_its_end_though_its_file_is_gone(tmp_path):
    path = tmp_path / "1.log"
    path.write_bytes(LOG[: LOG.index(b"\n") + 1])
    alive = True
    with path.open("ab", buffering=0) as writer:
        chunks = stream(path, LogOptions(follow=True), lambda: alive)
        assert await anext(chunks) == b"one\n"
        path.unlink()
        alive = False
        writer.write(b"2026-01-01T00:00:02.000000000Z stdout F last\n")
        assert [chunk async for chunk in chunks] == [b"last\n"]
