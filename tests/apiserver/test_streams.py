"""Streams end when either side goes, and representations other than the plain object."""

from __future__ import annotations

import asyncio
import io
import time

import aiohttp
import pytest

from multinet import waits
from multinet.apiserver.server import ApiServer

MAPS = "/api/v1/namespaces/default/configmaps"
V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
PARTIAL = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


def watchers(server):
    return server.operations.store._collections["configmaps"].watchers


async def test_a_watch_ends_with_its_client(api):
    answer = await api.session.get(f"{api.server.url}{MAPS}?watch=1")
    await answer.content.readline()
    assert len(watchers(api.server)) == 1
    answer.close()

    async def gone():
        while watchers(api.server):
            await waits.pause("the server to notice", 0.01)

    await waits.wait_for("the watcher's end", gone(), 30)
    assert not watchers(api.server)


@pytest.mark.programs
async def test_a_watch_ends_at_its_time_limit(api):
    start = time.monotonic()
    async with api.session.get(
        f"{api.server.url}{MAPS}?watch=1&timeoutSeconds=1&resourceVersion=1"
    ) as answer:
        lines = (await answer.read()).splitlines()
    assert 0.9 < time.monotonic() - start < 60
    assert len(lines) == 1


async def test_the_server_stops_at_once_with_streams_open(tmp_path):
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(connector=connector) as session:
        async with ApiServer.start(workdir=tmp_path) as server:
            headers = {"Authorization": f"Bearer {server.token}"}
            answer = await session.get(f"{server.url}{MAPS}?watch=1", headers=headers)
            await answer.content.readline()
            leaving = asyncio.get_running_loop().time()
        rest = await waits.wait_for("the end of the stream", answer.read(), 30)
        assert rest == b""
        assert asyncio.get_running_loop().time() - leaving < 30


async def test_long_command_lines_fit_in_the_url(api):
    answer = await api.get("/api/v1/namespaces/default/pods/none/exec?" + "command=x&" * 6000)
    assert (answer.status, answer.body["message"]) == (404, 'pods "none" not found')


async def test_a_body_too_large_is_413(api):
    url = f"{api.server.url}{MAPS}"
    async with api.session.post(url, data=io.BytesIO(b"x" * (4 * 1024 * 1024))) as answer:
        assert (answer.status, (await answer.json())["reason"]) == (413, "RequestEntityTooLarge")


async def test_a_long_list_arrives_whole(api):
    for number in range(30):
        await api.post(MAPS, {"metadata": {"name": f"m{number}"}, "data": {"a": "x" * 100_000}})
    assert len((await api.get(MAPS)).body["items"]) == 31


async def test_table_watch_and_metadata_only(api):
    await api.post(MAPS, {"metadata": {"name": "m"}, "data": {"a": "b"}})
    async with api.session.get(
        f"{api.server.url}{MAPS}?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dm",
        headers={"Accept": TABLE},
    ) as answer:
        first = (await answer.content.readline()).decode()
    assert '"kind":"Table"' in first
    assert '"cells":["m",1,"0s"]' in first or '"cells":["m",1,"1s"]' in first
    partial = (await api.get(MAPS, Accept=PARTIAL)).body
    assert partial["kind"] == "PartialObjectMetadataList"
    assert {"data"} & set(partial["items"][0]) == set()


async def test_both_forms_of_discovery_agree(api):
    aggregated = await api.get("/apis", Accept=V2)
    assert aggregated.headers["Content-Type"].startswith("application/json;g=apidiscovery.k8s.io;v=v2")
    groups = {item["metadata"]["name"]: item for item in aggregated.body["items"]}
    legacy = {group["name"] for group in (await api.get("/apis")).body["groups"]}
    assert set(groups) == legacy
    nads = groups["k8s.cni.cncf.io"]["versions"][0]["resources"]
    listed = (await api.get("/apis/k8s.cni.cncf.io/v1")).body["resources"]
    assert nads[0]["resource"] == listed[0]["name"] == "network-attachment-definitions"
    assert nads[0]["shortNames"] == ["net-attach-def"]
    index = (await api.get("/openapi/v3")).body["paths"]
    document = (await api.get(index["apis/k8s.cni.cncf.io/v1"]["serverRelativeURL"])).body
    patch = next(path["patch"] for path in document["paths"].values() if "patch" in path)
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}
