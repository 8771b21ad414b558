"""Leader election by fake clock: one leader, bounded takeover, and split brain without double addresses."""

import asyncio
import os

import pytest

from multinet.controller.controller import Controller
from multinet.controller.lease import Lease, process_identity, process_is_dead
from multinet.kube.errors import UnreachableError
from multinet.kube.resources import INSTANCE_IPS, LEASES, VIRTUAL_MACHINES
from multinet.model import naming
from multinet.waits import pause


class FakeTime:
    """Seconds that pass only by waiting."""

    def __init__(self):
        self.now = 1000.0

    def time(self):
        return self.now

    async def wait(self, _name, seconds):
        self.now += seconds
        await pause("a turn", 0)


class Cut:
    """A client whose connection can be cut."""

    def __init__(self, client):
        self.client = client
        self.is_cut = False

    def __getattr__(self, name):
        if self.is_cut:
            raise UnreachableError("no route", where="test")
        return getattr(self.client, name)


@pytest.fixture
def made(api, fake_client):
    time = FakeTime()

    def make(identity):
        client = Cut(fake_client(api))
        return Lease(client, identity, clock=time, wait=time.wait, is_dead=lambda who: who == "dead"), client

    return time, make


def holder(api):
    return api.named(LEASES, "kube-system/multinet-controller")["spec"]


async def test_the_first_one_gets_it_and_the_second_stands_by(api, made):
    time, make = made
    (first, _), (second, _) = make("first"), make("second")
    await first.acquire()
    told = []
    standing_by = asyncio.create_task(second.acquire(lambda: told.append("standing by")))
    renewing = asyncio.create_task(first.hold())
    for _ in range(300):
        await pause("a turn", 0)
    assert time.now > 1060.0
    assert not standing_by.done()
    assert told == ["standing by"]
    assert holder(api)["holderIdentity"] == "first"
    assert holder(api)["leaseTransitions"] == 1
    for task in (standing_by, renewing):
        task.cancel()
    await asyncio.gather(standing_by, renewing, return_exceptions=True)


async def test_a_silent_leader_is_succeeded_within_duration_and_retry(api, made):
    time, make = made
    (first, _), (second, _) = make("first"), make("second")
    await first.acquire()
    begun = time.now
    await second.acquire()
    assert 4.0 <= time.now - begun <= 5.0
    assert (holder(api)["holderIdentity"], holder(api)["leaseTransitions"]) == ("second", 2)
    await first.hold()


async def test_a_dead_leader_on_the_same_machine_is_succeeded_at_once(made):
    time, make = made
    (first, _), (second, _) = make("dead"), make("second")
    await first.acquire()
    begun = time.now
    await second.acquire()
    assert time.now == begun


async def test_a_clean_stop_frees_the_lease(made):
    time, make = made
    (first, _), (second, _) = make("first"), make("second")
    await first.acquire()
    await first.release()
    begun = time.now
    await second.acquire()
    assert time.now == begun


async def test_a_cut_off_leader_stops_before_another_one_may_start(made):
    time, make = made
    first, client = make("first")
    await first.acquire()
    client.is_cut = True
    begun = time.now
    await first.hold()
    assert time.now - begun < 4.0


async def test_of_two_standbys_one_wins(api, made):
    _, make = made
    (first, _), (second, _) = make("first"), make("second")
    tasks = {asyncio.create_task(lease.acquire()) for lease in (first, second)}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    assert holder(api)["holderIdentity"] in ("first", "second")
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)


def test_this_process_lives_and_another_one_does_not():
    assert not process_is_dead(process_identity())
    parts = process_identity().rsplit("_", 1)
    assert process_is_dead(f"{parts[0]}_1")
    assert not process_is_dead("elsewhere_boot_ns_1_1")
    assert not process_is_dead("somebody")
    assert str(os.getpid()) in process_identity()


async def test_two_controllers_at_once_never_own_an_address_twice(world, fake_client):
    """The worst case, two that both believe to lead: InstanceIPs are exclusive by name."""
    other = Controller(fake_client(world.api), world.said)
    working = asyncio.create_task(other.run())
    world.nad("default/a", cidr="10.20.0.0/24")
    await world.settle()
    for number in range(20):
        world.pod(f"default/p{number}", "a,a")
    for number in range(20):
        await world.attached(f"default/p{number}")
    await world.settle()
    vmis = [spec for number in range(20) for spec in world.interfaces(f"default/p{number}")]
    used = [
        naming.instance_ip_name(vmi["network"], item["address"]) for vmi in vmis for item in vmi["addresses"]
    ]
    assert len(used) == len(set(used)) == 60
    assert set(used) <= {iip["metadata"]["name"] for iip in world.api.all(INSTANCE_IPS)}
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_a_standby_does_nothing_until_it_leads(api, fake_client, make_world):
    world = make_world(api)
    world.pod("default/p")
    may_work = asyncio.Event()
    standby = Controller(fake_client(api), world.said)
    running = asyncio.create_task(standby.run(may_work=may_work.wait))
    await standby.view.synced()
    await pause("a standby that would work", 0.01)
    assert api.all(VIRTUAL_MACHINES) == []
    may_work.set()
    await world.attached("default/p")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
