"""A link that comes back is told at once, by the kernel; and other links are not."""

from __future__ import annotations

import asyncio
import subprocess

import pytest

from multinet.kube import carrier
from multinet.waits import turn, wait_for

pytestmark = pytest.mark.lab
ADDRESS = "192.0.2.1"


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def cable():
    """Two pairs of devices; the first end of the first one has the address."""
    for near, far in (("near", "far"), ("other", "another")):
        ip("link", "add", near, "type", "veth", "peer", "name", far)
        for end in (near, far):
            ip("link", "set", end, "up")
    ip("address", "add", f"{ADDRESS}/24", "dev", "near")
    yield
    ip("link", "delete", "near")
    ip("link", "delete", "other")


async def test_each_outage_of_the_link_ends_with_a_call_and_nothing_else_does(cable):
    calls = asyncio.Queue()

    async def again():
        calls.put_nowait("again")

    watching = asyncio.create_task(carrier.follow(ADDRESS, again))
    await turn()
    for number in (1, 2):
        for end in ("another", "far"):
            ip("link", "set", end, "down")
            ip("link", "set", end, "up")
        await wait_for(f"call {number}", calls.get(), 30)
    assert calls.empty()
    watching.cancel()


async def test_who_has_no_such_address_is_not_kept(cable):
    async def again():
        raise AssertionError

    await wait_for("the end", carrier.follow("192.0.2.77", again), 30)
