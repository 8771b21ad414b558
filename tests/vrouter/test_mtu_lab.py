"""The MTU is right end to end: what fits goes through whole, one byte more does not leave the pod."""

from __future__ import annotations

import json
import subprocess

import pytest

pytestmark = pytest.mark.lab

IPV4, IPV6 = 28, 48  # headers of an echo request


def shown(*argv):
    return json.loads(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


# 1600 is the lab's underlay, 1500 an ordinary one, 1450 one that is a tunnel itself.
@pytest.mark.parametrize(("lab", "mtu"), [(1600, 1500), (1500, 1450), (1450, 1400)], indirect=["lab"])
async def test_the_largest_packet_and_one_more_byte(lab, mtu):
    one, two = lab.node("node1"), lab.node("node2")
    for node in (one, two):
        await node.sync()
    await lab.run(one, "a", ["default", "dual"])
    targets = {
        "on the same node": await lab.run(one, "b", ["default", "dual"]),
        "on another node": await lab.run(two, "c", ["default", "dual"]),
    }
    for device in ("eth0", "eth1"):
        assert shown("ip", "-n", "a", "-j", "link", "show", device)[0]["mtu"] == mtu
    paths = {"the default network's gateway": ("10.47.255.254", IPV4), "a gateway": ("10.1.2.254", IPV4)}
    for where, (_, interfaces) in targets.items():
        paths[f"default network, {where}"] = (interfaces[0].addresses[0].address, IPV4)
        paths[f"NAD, {where}"] = (interfaces[1].addresses[0].address, IPV4)
        paths[f"NAD, IPv6, {where}"] = (interfaces[1].addresses[1].address, IPV6)
    for path, (address, headers) in paths.items():
        reached, said = lab.ping("a", address, "-M", "do", "-s", str(mtu - headers))
        assert reached, f"{path}: {said}"
        reached, said = lab.ping("a", address, "-M", "do", "-s", str(mtu - headers + 1), wait_s=1)
        assert not reached, path
    # More than the MTU goes in fragments.
    reached, said = lab.ping("a", targets["on another node"][1][1].addresses[0].address, "-s", "4000")
    assert reached, said
