"""Rows O.. and D..: objects, network-status and the default network, in both dialects where these differ."""

import json

import pytest

from multinet.kube.resources import (
    INSTANCE_IPS,
    PODS,
    VIRTUAL_MACHINE_INTERFACES,
    VIRTUAL_MACHINES,
    VIRTUAL_NETWORKS,
)
from multinet.model import status
from multinet.model.attachments import Interface
from multinet.model.status import NetworkStatus

DEFAULT = "default-domain.k8s-default.k8s-default-pod-network"
ISOLATED = "default-domain.k8s-iso.k8s-iso-pod-network"
BOTH = pytest.mark.parametrize("each", ["world", "classic"], indirect=True)


@pytest.fixture
def each(request):
    """The world of the dialect that the parameter names."""
    return request.getfixturevalue(request.param)


async def furnish(each):
    each.namespace("other")
    each.nad("default/left", cidr="10.1.1.0/24")
    each.nad("default/right", cidr="10.2.2.0/24")
    each.nad("other/left", cidr="10.3.3.0/24")
    await each.settle()


async def attached_by_the_agent(each, key):
    """What the node agent does after ADD: the machine's status, and the annotation in the standard form."""
    interfaces = [Interface.from_object({"spec": spec}) for spec in each.interfaces(key)]
    seen = [
        {
            "index": item.index,
            "interface": item.interface,
            "mac": item.mac,
            "ips": [address.address for address in item.addresses],
            "mtu": 1450,
            "network": item.status_name,
            "default": item.is_default,
        }
        for item in interfaces
    ]
    vm = each.vm(key)
    each.api.put(VIRTUAL_MACHINES, vm | {"status": vm["status"] | {"interfaces": seen}})
    each.touch(
        key,
        **{"k8s.v1.cni.cncf.io/network-status": status.encode(map(NetworkStatus.planned, interfaces))},
    )
    await each.settle()


@BOTH
async def test_O1_a_mac_is_02_and_five_bytes_of_the_interface(each):
    await furnish(each)
    each.pod("default/p", "left,left")
    macs = [vmi["mac"] for vmi in await each.attached("default/p")]
    assert all(mac.startswith("02:") and len(mac) == 17 for mac in macs)
    assert len(set(macs)) == 3


@pytest.mark.parametrize("bundles", [True, False])
@BOTH
async def test_O3_addresses_before_interfaces_before_the_machine_before_the_status(each, bundles):
    each.api.bundles = bundles
    await furnish(each)
    begun = len(each.api.history)
    each.pod("default/p", "left")
    await each.attached("default/p")
    await each.settle()
    kinds = [kind for _, kind, event in each.api.history[begun:] if event.type == "ADDED"]
    assert kinds == [
        PODS,
        INSTANCE_IPS,
        INSTANCE_IPS,
        VIRTUAL_MACHINE_INTERFACES,
        VIRTUAL_MACHINE_INTERFACES,
        VIRTUAL_MACHINES,
    ]
    changed = [kind for _, kind, event in each.api.history[begun:] if event.type == "MODIFIED"]
    # In a bundle the machine comes with its status.
    expected = ([] if bundles else [VIRTUAL_MACHINES]) + ([PODS] if each.status("default/p") else [])
    assert changed == expected


async def test_O5_who_writes_the_status_and_when(world, classic):
    for each in (world, classic):
        await furnish(each)
        each.pod("default/p", "left")
        await each.attached("default/p")
        await each.settle()
    assert world.status("default/p") is None
    assert "interfaces" not in classic.vm("default/p")["status"]
    assert classic.status("default/p") is not None


async def test_O5_what_the_agent_writes_is_written_over_in_classic_and_stays_by_default(world, classic):
    texts = []
    for each in (world, classic):
        await furnish(each)
        each.pod("default/p", "left")
        await each.attached("default/p")
        await each.settle()
        texts.append(each.status("default/p"))
        await attached_by_the_agent(each, "default/p")
    assert [entry["default"] for entry in json.loads(world.status("default/p"))] == [True, False]
    assert classic.status("default/p") == texts[1]


async def test_O5_damage_is_mended_by_default_and_stays_in_classic(world, classic):
    for each in (world, classic):
        await furnish(each)
        each.pod("default/p", "left")
        await each.attached("default/p")
        await attached_by_the_agent(each, "default/p")
        each.touch("default/p", **{"k8s.v1.cni.cncf.io/network-status": "damaged"})
        await each.settle()
    assert [entry["name"] for entry in json.loads(world.status("default/p"))] == [
        "cluster-wide-default",
        "default/left",
    ]
    assert classic.status("default/p") == "damaged"


async def test_O6_the_form_of_the_classic_status_to_the_byte(classic):
    await furnish(classic)
    classic.pod("default/p", "left")
    eth0, eth1 = await classic.attached("default/p")
    await classic.settle()
    assert classic.status("default/p") == (
        "[\n"
        "    {\n"
        '        "ips": "10.47.255.252",\n'
        f'        "mac": "{eth0["mac"]}",\n'
        '        "name": "cluster-wide-default"\n'
        "    },\n"
        "    {\n"
        '        "ips": "10.1.1.252",\n'
        f'        "mac": "{eth1["mac"]}",\n'
        '        "name": "left"\n'
        "    }\n"
        "]"
    )


async def test_O7_O8_one_entry_per_bare_name_in_classic_and_per_attachment_by_default(world, classic):
    for each in (world, classic):
        await furnish(each)
        each.pod("default/p", "left,right,left,other/left")
        assert len(await each.attached("default/p")) == 5
        await each.settle()
        await attached_by_the_agent(each, "default/p")
    entries = json.loads(classic.status("default/p"))
    assert [(entry["name"], entry["ips"]) for entry in entries] == [
        ("cluster-wide-default", "10.47.255.252"),
        ("left", "10.3.3.252"),
        ("right", "10.2.2.252"),
    ]
    assert [entry["name"] for entry in json.loads(world.status("default/p"))] == [
        "cluster-wide-default",
        "default/left",
        "default/right",
        "default/left",
        "other/left",
    ]


async def test_O9_a_plain_pod_has_a_status_too(world, classic):
    for each in (world, classic):
        each.pod("default/p")
        await each.attached("default/p")
        await each.settle()
    assert [entry["name"] for entry in json.loads(classic.status("default/p"))] == ["cluster-wide-default"]
    await attached_by_the_agent(world, "default/p")
    assert [entry["name"] for entry in json.loads(world.status("default/p"))] == ["cluster-wide-default"]


@BOTH
async def test_O10_the_pods_own_status_is_not_written(each):
    each.pod("default/p")
    await each.attached("default/p")
    await each.settle()
    assert each.api.named(PODS, "default/p")["status"] == {"phase": "Pending"}


@BOTH
async def test_D1_D2_D3_D4_the_default_network(each):
    await each.settle()
    spec = each.api.named(VIRTUAL_NETWORKS, DEFAULT)["spec"]
    assert spec["fqName"] == ["default-domain", "k8s-default", "k8s-default-pod-network"]
    assert spec["forwardingMode"] == "l3"
    assert spec["subnets"] == [{"cidr": "10.32.0.0/12", "gateway": "10.47.255.254", "dns": "10.47.255.253"}]
    for number in range(2):
        each.pod(f"default/p{number}")
        (eth0,) = await each.attached(f"default/p{number}")
        assert eth0["addresses"][0]["address"] == f"10.47.255.{252 - number}"


@BOTH
@pytest.mark.parametrize("networks", [None, "", "left", "[]"])
async def test_D6_every_pod_gets_interface_0(each, networks):
    await furnish(each)
    each.pod("default/p", networks)
    made = await each.attached("default/p")
    assert (made[0]["index"], made[0]["interface"], made[0]["network"]) == (0, "eth0", DEFAULT)


@BOTH
async def test_D7_an_isolated_namespace_has_its_own_network_in_the_same_pool(each):
    each.namespace("iso", isolation="true")
    await each.settle()
    spec = each.api.named(VIRTUAL_NETWORKS, ISOLATED)["spec"]
    assert (spec["forwardingMode"], spec["subnets"][0]["cidr"]) == ("l3", "10.32.0.0/12")
    each.pod("default/p")
    await each.attached("default/p")
    each.pod("iso/p")
    (eth0,) = await each.attached("iso/p")
    assert eth0["network"] == ISOLATED
    assert eth0["addresses"][0]["address"] == "10.47.255.251"
    assert eth0["vni"] != each.interfaces("default/p")[0]["vni"]
    each.api.remove(PODS, "iso/p")
    await each.settle()
    each.pod("default/q")
    assert (await each.attached("default/q"))[0]["addresses"][0]["address"] == "10.47.255.251"


async def test_D7_a_namespace_that_is_isolated_later_counts_for_new_pods(world):
    world.namespace("iso")
    world.pod("iso/before")
    await world.attached("iso/before")
    world.namespace("iso", isolation="true")
    await world.settle()
    world.pod("iso/after")
    assert (await world.attached("iso/after"))[0]["network"] == ISOLATED
    assert world.interfaces("iso/before")[0]["network"] == DEFAULT
    world.namespace("iso")
    await world.settle()
    assert ISOLATED in world.networks()
    world.api.remove(PODS, "iso/after")
    await world.settle()
    assert ISOLATED not in world.networks()
