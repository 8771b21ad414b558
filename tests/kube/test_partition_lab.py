"""A link that swallows packets without a word: only TCP keepalive can notice under a long watch."""

from __future__ import annotations

import asyncio
import subprocess

import pytest

from multinet.kube.client import Client
from multinet.kube.informer import Informer
from multinet.kube.resources import PODS
from multinet.waits import wait_for

pytestmark = pytest.mark.lab


def tc(*arguments):
    subprocess.run(["tc", "qdisc", *arguments], check=True, capture_output=True)


async def test_a_dead_link_is_noticed_within_ten_seconds_and_healed(api, running, pauses):
    api.put("a")
    async with Client(api.access, wait=pauses) as client:
        informer = Informer(client, PODS, watch_s=300, wait=pauses)
        async with running(informer):
            await wait_for("sync", informer.synced.wait(), 3)
            await api.signal.until("a watch", lambda: api.watchers)
            loop = asyncio.get_running_loop()
            tc("add", "dev", "lo", "root", "netem", "loss", "100%")
            cut = loop.time()
            try:
                await pauses.signal.until("the loss to be noticed", lambda: pauses.asked, 12)
                noticed = loop.time() - cut
            finally:
                tc("del", "dev", "lo", "root")
            api.put("b")
            await informer.wait_until("b", lambda s: "ns/b" in s, 10)
    assert noticed <= 10.5
    assert pauses.asked[0][0] == "reconnect of the pods informer"
