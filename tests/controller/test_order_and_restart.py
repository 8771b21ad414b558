"""Late, doubled and shuffled events, lost answers, restarts: one end state, nothing twice or leaked."""

import random

import pytest

from multinet.kube.resources import (
    INSTANCE_IPS,
    NADS,
    PODS,
    VIRTUAL_MACHINE_INTERFACES,
    VIRTUAL_MACHINES,
)
from multinet.model import naming
from multinet.waits import pause

PODS_IN_TEST = 12


def seeds(quick: int, all_of_them: int):
    """The first few among the unit tests, the others with what takes longer."""
    return [
        number if number < quick else pytest.param(number, marks=pytest.mark.programs)
        for number in range(all_of_them)
    ]


def steps(world):
    """What a user does; all of it may happen in any order that respects creation before deletion."""
    selections = ["a,b", "b", "", "a,a", '[{"name": "b", "ips": ["10.21.0.77"]}]', "gone,a"]
    made = [
        lambda: world.nad("default/a", cidr="10.20.0.0/24"),
        lambda: world.nad("default/b", cidr="10.21.0.0/24"),
    ]
    for number in range(PODS_IN_TEST):
        text = selections[number % 5]
        made.append(lambda n=number, t=text: world.pod(f"default/p{n}", t))
    doomed = [(PODS, f"default/p{n}") for n in range(0, PODS_IN_TEST, 3)]
    return made, doomed


def check(world):
    live = {pod["metadata"]["uid"] for pod in world.api.all(PODS)}
    vmis = world.api.all(VIRTUAL_MACHINE_INTERFACES)
    owned = {iip["metadata"]["name"] for iip in world.api.all(INSTANCE_IPS)}
    used = [
        naming.instance_ip_name(vmi["spec"]["network"], address["address"])
        for vmi in vmis
        for address in vmi["spec"]["addresses"]
    ]
    assert len(used) == len(set(used)), "an address is on two interfaces"
    assert set(used) == owned, "an address is leaked or not owned"
    assert {vmi["spec"]["pod"]["uid"] for vmi in vmis} <= live
    assert {vm["spec"]["pod"]["uid"] for vm in world.api.all(VIRTUAL_MACHINES)} == live


def shape(world):
    return {
        key: [(spec["interface"], spec["nad"], spec["of"]) for spec in world.interfaces(key)]
        for key in (f"{p['metadata']['namespace']}/{p['metadata']['name']}" for p in world.api.all(PODS))
    }


@pytest.mark.parametrize("seed", seeds(2, 20))
async def test_any_order_with_restarts_ends_the_same(make_api, make_world, seed):
    mood = random.Random(seed)
    world = make_world(make_api(mood=mood, losses=0.03, bundles=seed % 2 == 0))
    await world.start()
    made, doomed = steps(world)
    mood.shuffle(made)
    for step in made:
        step()
        for _ in range(mood.randrange(12)):
            await pause("the controller works", 0)
        if mood.random() < 0.15:
            await world.stop()
            await world.start()
    mood.shuffle(doomed)
    for resource, key in doomed:
        world.api.remove(resource, key)
        if mood.random() < 0.3:
            await world.stop()
            await world.start()
    await world.settle()
    # p4 and p9 ask for one address: one of the two is refused, the other has it.
    contested = [world.resolved(f"default/p{n}") for n in (4, 9) if world.vm(f"default/p{n}")]
    doomed_keys = {key for _, key in doomed}
    check(world)
    expected = {
        "a,b": [("eth0", "", 3), ("eth1", "default/a", 3), ("eth2", "default/b", 3)],
        "b": [("eth0", "", 2), ("eth1", "default/b", 2)],
        "": [("eth0", "", 1)],
        "a,a": [("eth0", "", 3), ("eth1", "default/a", 3), ("eth2", "default/a", 3)],
    }
    for key, found in shape(world).items():
        assert key not in doomed_keys
        text = world.api.named(PODS, key)["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"]
        if text in expected:
            assert found == expected[text], key
    assert [item["status"] for item in contested] == ["True"]
    for resource in (PODS, NADS):
        for key in list(world.api.objects[resource]):
            world.api.remove(resource, key)
    await world.settle()
    assert world.api.all(INSTANCE_IPS) == []
    assert world.api.all(VIRTUAL_MACHINE_INTERFACES) == []
    assert world.api.all(VIRTUAL_MACHINES) == []
    assert world.networks() == ["default-domain.k8s-default.k8s-default-pod-network"]
    await world.stop()


async def test_a_burst_of_pods_takes_few_requests(world):
    for number in range(4):
        world.nad(f"default/n{number}", cidr=f"10.{100 + number}.0.0/16")
    await world.settle()
    before = world.api.requests
    for number in range(100):
        world.pod(f"default/p{number}", "n0,n1,n2,n3")
    done = [f"default/p{number}" for number in range(100)]
    await world.api.until(
        "100 pods",
        lambda: (
            len(world.api.all(VIRTUAL_MACHINES)) == 100
            and all("status" in vm for vm in world.api.all(VIRTUAL_MACHINES))
        ),
    )
    requests = world.api.requests - before
    assert {world.resolved(key)["status"] for key in done} == {"True"}
    assert len(world.api.all(INSTANCE_IPS)) == 500
    assert requests <= 2 * 100, "a pod with five interfaces is one bundle"


@pytest.mark.parametrize("seed", seeds(2, 12))
async def test_damage_by_hand_and_restarts_end_as_if_nothing_had_been(make_api, make_world, seed):
    """Objects are removed at random moments; afterwards each pod has what it had, address for address."""
    mood = random.Random(seed)
    world = make_world(make_api(mood=mood, losses=0.02, bundles=seed % 2 == 0))
    await world.start()
    world.nad("default/a", cidr="10.20.0.0/24, 2001:db8::/64")
    world.nad("default/b", cidr="10.21.0.0/24")
    for number in range(6):
        world.pod(f"default/p{number}", ("a,b", "b", "a,a")[number % 3])
    await world.settle()
    before = {f"default/p{number}": world.interfaces(f"default/p{number}") for number in range(6)}
    for _ in range(8):
        kind = mood.choice((VIRTUAL_MACHINES, VIRTUAL_MACHINE_INTERFACES, INSTANCE_IPS))
        there = sorted(world.api.objects[kind])
        if there:
            world.api.remove(kind, mood.choice(there))
        for _turn in range(mood.randrange(30)):
            await pause("the controller works", 0)
        if mood.random() < 0.3:
            await world.stop()
            await world.start()
    await world.settle()
    assert {key: world.interfaces(key) for key in before} == before
    check(world)
    await world.stop()
