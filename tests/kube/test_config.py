"""Kubeconfig files: what is read, and how each mistake is told."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest
import yaml

from multinet.errors import InputError
from multinet.kube.client import Client
from multinet.kube.config import ClusterAccess, ExecPlugin, in_cluster, load_kubeconfig
from multinet.kube.credentials import ExecCredential, run_plugin
from multinet.kube.errors import UnauthorizedError, UnreachableError
from multinet.kube.resources import PODS

PEM = "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n"


def write(tmp_path: Path, *, cluster=None, user=None, name="config", **top) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "blue"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://h:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
        **top,
    }
    file = tmp_path / name
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return file


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_token_and_embedded_ca(tmp_path):
    file = write(tmp_path, cluster={"certificate-authority-data": b64(PEM)}, user={"token": "t"})
    access = load_kubeconfig(file)
    assert (access.server, access.token, access.ca, access.namespace) == ("https://h:6443", "t", PEM, "blue")
    assert "token" not in repr(access).replace("token_file", "")


def test_files_are_found_beside_the_kubeconfig(tmp_path):
    (tmp_path / "ca.pem").write_text(PEM)
    (tmp_path / "token").write_text("from-file\n")
    file = write(
        tmp_path,
        cluster={"certificate-authority": "ca.pem"},
        user={"tokenFile": "token", "client-certificate": "ca.pem", "client-key": "ca.pem"},
    )
    access = load_kubeconfig(file)
    assert (access.ca, access.token, access.client_cert, access.client_key) == (PEM, "from-file", PEM, PEM)
    assert access.token_file == tmp_path / "token"


def test_another_context_can_be_named(tmp_path):
    contexts = [
        {"name": "c", "context": {"cluster": "nowhere"}},
        {"name": "d", "context": {"cluster": "k"}},
    ]
    access = load_kubeconfig(write(tmp_path, contexts=contexts), "d")
    assert (access.server, access.namespace, access.token) == ("https://h:6443", "default", None)


@pytest.mark.parametrize(
    ("cluster", "user", "field", "what"),
    [
        ({}, {"username": "a", "password": "b"}, "username", "basic authentication is not supported"),
        ({"server": ""}, {}, "server", "is missing"),
        ({"server": "h:6443"}, {}, "server", "not an http(s) URL"),
        ({"server": 7}, {}, "server", "must be a string, not int"),
        ({"certificate-authority-data": "!"}, {}, "certificate-authority-data", "is not base64 of PEM"),
        ({"certificate-authority-data": b64("x")}, {}, "certificate-authority-data", "holds no PEM block"),
        ({"certificate-authority": "none.pem"}, {}, "certificate-authority", "can't read"),
        ({"insecure-skip-tls-verify": "yes"}, {}, "insecure-skip-tls-verify", "must be true or false"),
        ({"proxy-url": "http://p"}, {}, "proxy-url", "is not supported"),
        ({}, {"client-certificate-data": b64(PEM)}, "client-key", "go together"),
        ({}, {"auth-provider": {"name": "gcp"}}, "auth-provider", "is not supported"),
        ({}, {"exec": {"command": "x", "apiVersion": "v1alpha1"}}, "exec", "is not client.authentication"),
        ({}, {"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}, "exec", "command is missing"),
    ],
)
def test_mistakes_are_told_with_file_line_and_field(tmp_path, cluster, user, field, what):
    file = write(tmp_path, cluster=cluster, user=user)
    with pytest.raises(InputError) as caught:
        load_kubeconfig(file)
    assert what in str(caught.value)
    assert f".{field}:" in caught.value.what
    named, _, number = caught.value.where.rpartition(":")
    assert named == str(file)
    line = file.read_text().splitlines()[int(number) - 1]
    # A field that is missing is told at the entry that lacks it.
    present = field in {**cluster, **user} or field == "server"
    assert line.strip().startswith(f"{field}:" if present else "user:")


def test_broken_files_are_told_with_their_line(tmp_path):
    file = tmp_path / "broken"
    file.write_text("apiVersion: v1\nclusters: [\n")
    with pytest.raises(InputError, match="not YAML") as caught:
        load_kubeconfig(file)
    assert caught.value.where == f"{file}:3"
    file.write_text("just text")
    with pytest.raises(InputError, match="not a mapping"):
        load_kubeconfig(file)
    with pytest.raises(InputError, match="can't be read"):
        load_kubeconfig(tmp_path / "absent")


def test_unknown_names_are_told_with_those_that_exist(tmp_path):
    with pytest.raises(InputError, match="no context named 'x': known: c"):
        load_kubeconfig(write(tmp_path), "x")
    with pytest.raises(InputError, match="current-context"):
        load_kubeconfig(write(tmp_path, **{"current-context": ""}))


def test_several_files_are_merged_and_the_first_wins(tmp_path, monkeypatch):
    first = write(tmp_path, name="one", users=[])
    second = write(tmp_path, name="two", user={"token": "t2"}, cluster={"server": "https://other"})
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'absent'}:{first}:{second}")
    access = load_kubeconfig()
    assert (access.server, access.token) == ("https://h:6443", "t2")


def test_in_a_pod_the_service_account_is_used(tmp_path, monkeypatch):
    for name, text in (("token", "t\n"), ("ca.crt", PEM), ("namespace", "ns")):
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    access = in_cluster(tmp_path)
    assert (access.server, access.token, access.namespace) == ("https://[fd00::1]:6443", "t", "ns")
    with pytest.raises(InputError, match="service account"):
        in_cluster(tmp_path / "absent")


def test_without_file_and_pod_the_next_step_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError) as caught:
        load_kubeconfig()
    assert "--kubeconfig" in caught.value.next_step


def plugin(tmp_path, body) -> ExecPlugin:
    script = tmp_path / "plugin.py"
    script.write_text(body)
    return ExecPlugin("client.authentication.k8s.io/v1", sys.executable, (str(script),), (("EXTRA", "yes"),))


GOOD_PLUGIN = """
import json, os, pathlib
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
count = pathlib.Path(__file__).with_name("count")
number = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(number))
status = {"token": os.environ["EXTRA"] + str(number)}
print(json.dumps({"apiVersion": info["apiVersion"], "kind": info["kind"], "status": status}))
"""


@pytest.mark.programs
async def test_an_exec_plugin_supplies_the_token_and_is_asked_again_after_401(api, tmp_path, kube_status):
    access = ClusterAccess(server=api.access.server, exec_plugin=plugin(tmp_path, GOOD_PLUGIN))
    async with Client(access) as client:
        await client.list(PODS)
        await client.list(PODS)
        api.answers = [(401, kube_status(401, "Unauthorized", "expired"))]
        await client.list(PODS)
    assert [r[2]["Authorization"] for r in api.requests] == [
        "Bearer yes1",
        "Bearer yes1",
        "Bearer yes1",
        "Bearer yes2",
    ]


@pytest.mark.programs
async def test_a_refused_token_is_tried_once_only(api, tmp_path, kube_status):
    access = ClusterAccess(server=api.access.server, exec_plugin=plugin(tmp_path, GOOD_PLUGIN))
    api.answers = [(401, kube_status(401, "Unauthorized", "no"))] * 5
    async with Client(access) as client:
        with pytest.raises(UnauthorizedError):
            await client.list(PODS)
    assert len(api.requests) == 2


async def test_a_renewed_token_file_is_used_after_401(api, tmp_path, kube_status):
    file = tmp_path / "token"
    file.write_text("one")
    access = ClusterAccess(server=api.access.server, token="one", token_file=file)
    async with Client(access) as client:
        await client.list(PODS)
        file.write_text("two")
        api.answers = [(401, kube_status(401, "Unauthorized", "expired"))]
        await client.list(PODS)
    assert [r[2]["Authorization"] for r in api.requests] == ["Bearer one", "Bearer one", "Bearer two"]


@pytest.mark.parametrize("content", [None, "", "\u00e9"])
async def test_a_token_file_that_is_spoilt_leaves_the_last_token(api, tmp_path, caplog, content):
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    access = ClusterAccess(server=api.access.server, token="one", token_file=file)
    async with Client(access) as client:
        await client.list(PODS)
        await client.list(PODS)
    assert [r[2]["Authorization"] for r in api.requests] == ["Bearer one"] * 2
    assert len([r for r in caplog.records if "no new token" in r.message]) == 1


async def test_a_plugin_that_fails_later_is_an_outage_that_ends(api, tmp_path, monkeypatch, kube_status):
    answers = ["one", InputError("ended with status 1", where="exec plugin login", why="no route"), "two"]

    async def run(*_):
        answer = answers.pop(0)
        if isinstance(answer, InputError):
            raise answer
        return ExecCredential(answer, None, None, None)

    monkeypatch.setattr("multinet.kube.credentials.run_plugin", run)
    access = ClusterAccess(
        server=api.access.server, exec_plugin=ExecPlugin("client.authentication.k8s.io/v1", "login")
    )
    async with Client(access) as client:
        await client.list(PODS)
        api.answers = [(401, kube_status(401, "Unauthorized", "expired"))]
        with pytest.raises(UnreachableError, match=r"can't renew the credentials.*no route"):
            await client.list(PODS)
        await client.list(PODS)
    assert [r[2]["Authorization"] for r in api.requests] == ["Bearer one", "Bearer one", "Bearer two"]


@pytest.mark.programs
@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("raise SystemExit('no login')", "no login"),
        ("print('hello')", "did not print an ExecCredential"),
        ("print('{\"status\": {}}')", "did not print an ExecCredential"),
    ],
)
async def test_a_failing_plugin_is_told_with_its_words(tmp_path, body, what):
    with pytest.raises(InputError, match=what):
        await run_plugin(plugin(tmp_path, body), ClusterAccess(server="https://h"))


async def test_a_missing_plugin_is_told_with_the_install_hint():
    missing = ExecPlugin("client.authentication.k8s.io/v1", "/nonexistent/login", install_hint="get it at x")
    with pytest.raises(InputError) as caught:
        await run_plugin(missing, ClusterAccess(server="https://h"))
    assert caught.value.next_step == "get it at x"
