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


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def tc(*arguments):
    subprocess.run(["tc", *arguments], check=True, capture_output=True)


def swallow():
    """Lose whatever the loopback device receives (netem isn't everywhere; a redirect to nowhere is)."""
    ip("link", "add", "nowhere", "type", "veth", "peer", "name", "nobody")
    ip("link", "set", "nowhere", "up")
    ip("link", "set", "nobody", "up")
    tc("qdisc", "add", "dev", "lo", "clsact")
    everything = ("protocol", "all", "prio", "1", "u32", "match", "u32", "0", "0")
    redirect = ("action", "mirred", "egress", "redirect", "dev", "nowhere")
    tc("filter", "add", "dev", "lo", "ingress", *everything, *redirect)


async def test_a_dead_link_is_noticed_within_ten_seconds_and_healed(api, running, pauses):
    api.put("a")
    async with Client(api.access, wait=pauses) as client:
        informer = Informer(client, PODS, watch_s=300, wait=pauses)
        async with running(informer):
            await wait_for("sync", informer.synced.wait(), 30)
            await api.signal.until("a watch", lambda: api.watchers)
            loop = asyncio.get_running_loop()
            swallow()
            cut = loop.time()
            try:
                await pauses.signal.until("the loss to be noticed", lambda: pauses.asked, 12)
                noticed = loop.time() - cut
            finally:
                tc("qdisc", "del", "dev", "lo", "clsact")
                ip("link", "del", "nowhere")
            api.put("b")
            await informer.wait_until("b", lambda s: "ns/b" in s, 10)
    assert noticed <= 10.5
    assert pauses.asked[0][0] == "reconnect of the pods informer"
