"""A tiny API server whose misbehaviour is scripted: for what a well-behaved server never shows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import orjson
import pytest
from aiohttp import web

from multinet.kube.client import Client
from multinet.kube.config import ClusterAccess
from multinet.waits import pause, wait_for


class Signal:
    """Wakes those who wait for a condition on its owner's state."""

    def __init__(self):
        self._moved = asyncio.Event()

    def bump(self):
        self._moved.set()
        self._moved = asyncio.Event()

    async def until(self, name, predicate, limit_s=3):
        async def wait():
            while not predicate():
                await self._moved.wait()

        await wait_for(name, wait(), limit_s)


class FakeApi:
    """One collection (/api/v1/pods), its watches, and faults on demand."""

    def __init__(self):
        self.objects = {}
        self.version = 0
        self.oldest = 0
        self.requests = []
        self.answers = []  # (status, body) to give instead, in order, to anything but a watch
        self.on_watch: Callable[[web.Request], Awaitable[web.StreamResponse | None]] | None = None
        self.history = []
        self.watchers = set()
        self.port = 0
        self.signal = Signal()
        self._runner = None

    async def start(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self):
        for queue in self.watchers:
            queue.put_nowait(None)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def access(self):
        return ClusterAccess(server=f"http://127.0.0.1:{self.port}", token="secret")

    def put(self, name, *, uid="", **spec):
        self.version += 1
        known = self.objects.get(name)
        obj = pod(name, self.version, uid=uid or (known["metadata"]["uid"] if known else f"u-{name}"), **spec)
        self.objects[name] = obj
        self.send("MODIFIED" if known else "ADDED", obj)
        return obj

    def remove(self, name):
        self.version += 1
        obj = self.objects.pop(name)
        self.send("DELETED", obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self.version)}})

    def send(self, kind, obj):
        self.history.append((int(obj["metadata"]["resourceVersion"]), kind, obj))
        for queue in self.watchers:
            queue.put_nowait((kind, obj))

    def watches(self):
        return [r for r in self.requests if "watch" in r[1]]

    def lists(self):
        return [r for r in self.requests if r[0] == "GET" and "watch" not in r[1]]

    async def _serve(self, request):
        body = await request.read()
        query = dict(request.query)
        self.requests.append((request.method, query, dict(request.headers), body, request.rel_url.raw_path))
        self.signal.bump()
        if "watch" in query:
            return await self._watch(request, query)
        if self.answers:
            status, answer = self.answers.pop(0)
            if status == 0:
                request.transport.abort()
                return web.Response()
            return web.Response(
                status=status, body=answer if isinstance(answer, bytes) else orjson.dumps(answer)
            )
        listed = {
            "kind": "PodList",
            "metadata": {"resourceVersion": str(self.version)},
            "items": list(self.objects.values()),
        }
        return web.Response(body=orjson.dumps(listed))

    async def _watch(self, request, query):
        if self.on_watch is not None:
            answer = await self.on_watch(request)
            if answer is not None:
                return answer
        since = int(query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        queue = asyncio.Queue()
        if since < self.oldest:
            queue.put_nowait(("ERROR", status(410, "Expired", f"too old resource version: {since}")))
            queue.put_nowait(None)
        elif since > self.version:
            large = status(504, "Timeout", f"Too large resource version: {since}, current: {self.version}")
            queue.put_nowait(("ERROR", large))
            queue.put_nowait(None)
        for version, kind, obj in self.history:
            if version > since:
                queue.put_nowait((kind, obj))
        self.watchers.add(queue)
        self.signal.bump()
        try:
            async with asyncio.timeout(float(query["timeoutSeconds"])):
                while (event := await queue.get()) is not None:
                    await response.write(line(*event))
        except TimeoutError:
            return response
        finally:
            self.watchers.discard(queue)
        return response


def pod(name, version, *, uid="", **spec):
    metadata = {"name": name, "namespace": "ns", "uid": uid or f"u-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": spec}


def line(kind, obj):
    return orjson.dumps({"type": kind, "object": obj}) + b"\n"


def status(code, reason, message, **details):
    return {
        "kind": "Status",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }


class Pauses:
    """Stands in for ``waits.pause``: takes (nearly) no time and remembers what was asked."""

    def __init__(self):
        self.asked = []
        self.signal = Signal()

    async def __call__(self, name, seconds):
        self.asked.append((name, seconds))
        self.signal.bump()
        await pause("let the other side run", 0.002)


@pytest.fixture
def pauses():
    return Pauses()


@pytest.fixture
async def api():
    fake = FakeApi()
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def client(api, pauses):
    async with Client(api.access, wait=pauses) as made:
        yield made


@pytest.fixture
def running():
    """A block in which an informer (or any object with ``run()``) runs in the background."""

    @contextlib.asynccontextmanager
    async def run(*runnables):
        tasks = [asyncio.create_task(item.run()) for item in runnables]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return run


@pytest.fixture
def kube_status():
    return status


@pytest.fixture
def make_pod():
    return pod


@pytest.fixture
def watch_line():
    return line
