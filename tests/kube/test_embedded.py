"""The client against the embedded API: TLS, custom resources, conflicts, and a restart under an informer."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

import pytest
import trustme

from multinet.apiserver.server import ApiServer
from multinet.kube.client import Client
from multinet.kube.config import load_kubeconfig
from multinet.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    InvalidError,
    NotFoundError,
    UnauthorizedError,
    UnreachableError,
)
from multinet.kube.informer import Informer
from multinet.kube.recorder import EventRecorder
from multinet.kube.resources import CONFIGMAPS, EVENTS, NADS, NAMESPACES
from multinet.waits import wait_for


def configmap(name, **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"},
        "data": data,
    }


@pytest.fixture
async def server(tmp_path, pki):
    async with ApiServer.start(workdir=tmp_path, pki_dir=pki) as started:
        yield started


async def test_all_verbs(server):
    async with Client(load_kubeconfig(server.kubeconfig)) as client:
        made = await client.create(CONFIGMAPS, configmap("a", x="1"))
        with pytest.raises(AlreadyExistsError):
            await client.create(CONFIGMAPS, configmap("a"))
        changed = await client.replace(CONFIGMAPS, made | {"data": {"x": "2"}})
        with pytest.raises(ConflictError):
            await client.replace(CONFIGMAPS, made | {"data": {"x": "3"}})
        merged = await client.patch(CONFIGMAPS, "a", {"data": {"y": "1"}}, "default")
        assert merged["data"] == {"x": "2", "y": "1"}
        patch = [{"op": "remove", "path": "/data/x"}]
        patched = await client.patch(CONFIGMAPS, "a", patch, "default", kind="json")
        assert patched["data"] == {"y": "1"}
        assert await client.get(CONFIGMAPS, "a", "default") == patched
        with pytest.raises(ConflictError):
            await client.delete(CONFIGMAPS, "a", "default", uid="another")
        await client.delete(CONFIGMAPS, "a", "default", uid=changed["metadata"]["uid"])
        with pytest.raises(NotFoundError):
            await client.get(CONFIGMAPS, "a", "default")
        with pytest.raises(InvalidError):
            await client.create(CONFIGMAPS, configmap("Not A Name"))
        listed = await client.list(NADS)
        assert (listed.items, listed.resource_version.isdigit()) == ([], True)


async def test_a_wrong_token_and_a_wrong_authority_are_told(server):
    access = load_kubeconfig(server.kubeconfig)
    async with Client(dataclasses.replace(access, token="wrong")) as client:
        with pytest.raises(UnauthorizedError):
            await client.list(NAMESPACES)
    other = trustme.CA().cert_pem.bytes().decode()
    async with Client(dataclasses.replace(access, ca=other)) as client:
        with pytest.raises(UnreachableError, match="not trusted"):
            await client.list(NAMESPACES)
    async with Client(dataclasses.replace(access, ca=None, insecure=True)) as client:
        assert len((await client.list(NAMESPACES)).items) == 4


async def test_an_informer_sees_events_quickly(server, running):
    async with Client(load_kubeconfig(server.kubeconfig)) as client:
        informer = Informer(client, CONFIGMAPS, namespace="default", label_selector="mine=yes")
        async with running(informer):
            await wait_for("sync", informer.synced.wait(), 30)
            labelled = configmap("a")
            labelled["metadata"]["labels"] = {"mine": "yes"}
            await client.create(CONFIGMAPS, configmap("other"))
            await client.create(CONFIGMAPS, labelled)
            await informer.wait_until("a", lambda s: "default/a" in s, 30)
            assert list(informer.store) == ["default/a"]
            await client.patch(CONFIGMAPS, "a", {"metadata": {"labels": {"mine": None}}}, "default")
            await informer.wait_until("a left the selection", lambda s: not s, 30)


async def test_a_server_restarted_with_an_empty_store_is_followed(tmp_path, running, pauses):
    """Same address, authority and token (all kept in the directory); versions start over."""
    async with contextlib.AsyncExitStack() as stack:
        async with ApiServer.start(workdir=tmp_path) as first:
            port = int(first.url.rpartition(":")[2])
            client = await stack.enter_async_context(Client(load_kubeconfig(first.kubeconfig)))
            informer = Informer(client, CONFIGMAPS, namespace="default", wait=pauses)
            await stack.enter_async_context(running(informer))
            await wait_for("sync", informer.synced.wait(), 30)
            for number in range(20):
                await client.create(CONFIGMAPS, configmap(f"old{number}"))
            await informer.wait_until("the old ones", lambda s: "default/old19" in s, 30)
        async with ApiServer.start(workdir=tmp_path, port=port):
            await client.create(CONFIGMAPS, configmap("new"))
            await informer.wait_until("the new one", lambda s: "default/new" in s, 30)
            assert [key for key in informer.store if "old" in key] == []


async def test_events_show_their_count(server):
    async with Client(load_kubeconfig(server.kubeconfig)) as client:
        made = await client.create(CONFIGMAPS, configmap("a"))
        recorder = EventRecorder(client, "test", "node1")
        for _ in range(10):
            recorder.record(made, "Warning", "Odd", "again")
        await recorder.flush()
        (event,) = (await client.list(EVENTS, "default")).items
        assert (event["count"], event["reason"], event["involvedObject"]["name"]) == (10, "Odd", "a")


async def test_a_burst_of_requests_shares_a_few_connections(server):
    async with Client(load_kubeconfig(server.kubeconfig)) as client:
        await asyncio.gather(*(client.create(CONFIGMAPS, configmap(f"m{n}")) for n in range(200)))
        assert len((await client.list(CONFIGMAPS, "default")).items) == 201
