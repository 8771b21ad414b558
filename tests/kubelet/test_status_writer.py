"""A pod's status is written in the end, whatever the API says in between."""

from __future__ import annotations

import asyncio

import pytest

from multinet.kube.backoff import Backoff
from multinet.kube.errors import InvalidError, KubeError, NotFoundError, UnreachableError
from multinet.kubelet.statuswriter import StatusWriter
from multinet.waits import pause

POD = {"metadata": {"name": "web", "namespace": "ns", "uid": "u1"}, "status": {}}


class Answers:
    """A client whose patches end as told, then well."""

    pause = staticmethod(pause)

    def __init__(self, *errors):
        self._errors = list(errors)
        self.phases = []
        self.written = asyncio.Event()

    async def patch(self, _resource, _name, body, _namespace, *, subresource):
        assert subresource == "status"
        self.phases.append(body["status"]["phase"])
        if self._errors:
            raise self._errors.pop(0)
        self.written.set()


@pytest.mark.parametrize(
    "error",
    [
        UnreachableError("lost", where="api"),
        KubeError("broke", status=500, reason="InternalError"),
        KubeError("busy", status=429, reason="TooManyRequests"),
    ],
    ids=["unreachable", "500", "429"],
)
async def test_a_status_that_could_not_be_written_is_written_later(error):
    client = Answers(error, error)
    writer = StatusWriter(client, POD, Backoff(first_s=0.001))
    task = asyncio.create_task(writer.run())
    writer.publish({"phase": "Running"})
    async with asyncio.timeout(30):
        await client.written.wait()
    assert client.phases == ["Running"] * 3
    task.cancel()


async def test_a_refused_status_is_not_tried_again_but_the_next_is():
    client = Answers(InvalidError("no", status=422))
    writer = StatusWriter(client, POD, Backoff(first_s=0.001))
    task = asyncio.create_task(writer.run())
    writer.publish({"phase": "Odd"})
    await pause("a window for a second try", 0.05)
    assert client.phases == ["Odd"]
    writer.publish({"phase": "Running"})
    async with asyncio.timeout(30):
        await client.written.wait()
    assert client.phases == ["Odd", "Running"]
    task.cancel()


async def test_the_writer_ends_with_the_pod():
    client = Answers(NotFoundError("gone", status=404))
    writer = StatusWriter(client, POD, Backoff(first_s=0.001))
    writer.publish({"phase": "Running"})
    async with asyncio.timeout(30):
        await writer.run()
    assert client.phases == ["Running"], "asked once, and not again for a pod that is gone"
