"""Our bytes as pyroute2 understands them: the second opinion on every request."""

from __future__ import annotations

import struct

import pytest
from pyroute2.netlink.nfnetlink.nftsocket import nft_set_elem_list_msg
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from multinet.vrouter import addressing, guard, links, netlink, nftsets, rules

MESSAGES = {16: ifinfmsg, 17: ifinfmsg, 19: ifinfmsg, 20: ifaddrmsg, 21: ifaddrmsg,
            24: rtmsg, 25: rtmsg, 28: ndmsg, 29: ndmsg,
            32: fibmsg, 33: fibmsg}  # fmt: skip


def decoded(request):
    data = request.encoded(7, ack=True)
    message = MESSAGES[request.kind](data)
    message.decode()
    assert message["header"]["length"] == len(data)
    assert message["header"]["type"] == request.kind
    assert message["header"]["sequence_number"] == 7
    return message


def flat(message):
    return dict(message["attrs"])


def test_a_veth_with_its_peer_in_a_namespace():
    peer = links.Peer("eth1", 101, "02:00:00:00:00:01", 9)
    message = decoded(
        links.veth("tap1-1", 70000, peer, mtu=1450, group=5, master=42, mac="00:00:5e:00:01:00")
    )
    assert message["index"] == 70000
    assert message["flags"] & 1
    top = flat(message)
    assert (top["IFLA_IFNAME"], top["IFLA_MTU"], top["IFLA_MASTER"], top["IFLA_GROUP"]) == (
        "tap1-1",
        1450,
        42,
        5,
    )
    assert top["IFLA_ADDRESS"] == "00:00:5e:00:01:00"
    assert (top["IFLA_NUM_TX_QUEUES"], top["IFLA_NUM_RX_QUEUES"]) == (1, 1)
    info = message.get_attr("IFLA_LINKINFO")
    assert info.get_attr("IFLA_INFO_KIND") == "veth"
    far = info.get_attr("IFLA_INFO_DATA").get_attr("VETH_INFO_PEER")
    assert far["index"] == 101
    assert far["flags"] == 0  # the kernel refuses a peer that is up (ENOTCONN)
    inner = flat(far)
    assert (inner["IFLA_IFNAME"], inner["IFLA_ADDRESS"]) == ("eth1", "02:00:00:00:00:01")
    assert (inner["IFLA_MTU"], inner["IFLA_NET_NS_FD"]) == (1450, 9)


def test_a_bridge_and_a_vxlan_device():
    message = decoded(links.bridge("br-22", 5, mac="02:57:00:00:00:22", mtu=1550, group=1))
    data = message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    assert data.get_attr("IFLA_BR_MCAST_SNOOPING") == 0
    assert data.get_attr("IFLA_BR_STP_STATE") == 0
    assert not message["flags"] & 0x80  # with IFF_NOARP a bridge would not answer for remote members
    message = decoded(
        links.vxlan("vx-22", 6, vni=0x22, local="100.64.0.11", mac="02:58:00:00:00:22", mtu=1550, group=1)
    )
    data = message.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
    assert data.get_attr("IFLA_VXLAN_ID") == 0x22
    assert data.get_attr("IFLA_VXLAN_LOCAL") == "100.64.0.11"
    assert data.get_attr("IFLA_VXLAN_PORT") == 4789
    assert data.get_attr("IFLA_VXLAN_LEARNING") == 0


def test_settings_of_a_link():
    assert decoded(links.set_master(3, 4, "x")).get_attr("IFLA_MASTER") == 4
    assert decoded(links.set_group(3, 0x6D6E0001)).get_attr("IFLA_GROUP") == 0x6D6E0001
    assert decoded(links.delete_group(0x6D6E0001)).get_attr("IFLA_GROUP") == 0x6D6E0001
    assert decoded(links.set_alias(3, "multinet pod a/b")).get_attr("IFLA_IFALIAS") == "multinet pod a/b"
    up = decoded(links.set_up(3, "lo"))
    assert (up["index"], up["flags"], up["change"]) == (3, 1, 1)


@pytest.mark.parametrize(
    ("cidr", "broadcast"), [("10.1.1.252/24", "10.1.1.255"), ("10.47.255.254/32", None), ("fd00::5/64", None)]
)
def test_addresses(cidr, broadcast):
    message = decoded(addressing.address(9, cidr, scope=addressing.SCOPE_HOST))
    plain, _, length = cidr.partition("/")
    assert message.get_attr("IFA_LOCAL") == message.get_attr("IFA_ADDRESS") == plain
    assert (message["prefixlen"], message["index"], message["scope"]) == (int(length), 9, 254)
    assert message.get_attr("IFA_BROADCAST") == broadcast


def test_routes():
    message = decoded(
        addressing.route("10.47.255.252/32", 9, via="100.64.0.12", source="100.64.0.11", onlink=True)
    )
    assert (message["dst_len"], message["table"], message["type"], message["scope"]) == (32, 254, 1, 0)
    assert message["flags"] & 4
    assert message.get_attr("RTA_DST") == "10.47.255.252"
    assert message.get_attr("RTA_GATEWAY") == "100.64.0.12"
    assert message.get_attr("RTA_PREFSRC") == "100.64.0.11"
    assert message.get_attr("RTA_OIF") == 9
    default = decoded(addressing.route("0.0.0.0/0", 9, via="10.47.255.254"))
    assert (default["dst_len"], default.get_attr("RTA_DST")) == (0, None)


def test_routes_of_other_tables_and_their_end():
    table = rules.table_of(0x44)
    message = decoded(addressing.route("10.47.255.252/32", 9, table=table))
    assert (message["table"], message.get_attr("RTA_TABLE")) == (0, 0x6D000044)
    assert decoded(addressing.delete_route("10.47.255.252/32", 9, table=table)).get_attr("RTA_TABLE") == table
    for request in (addressing.unreachable(table), addressing.delete_unreachable(table)):
        message = decoded(request)
        assert (message["type"], message["dst_len"], message.get_attr("RTA_TABLE")) == (7, 0, table)
        assert message.get_attr("RTA_OIF") is None


def test_rules():
    rule = rules.of_device("tap1-0", 0x44)
    assert str(rule) == "1001: iif tap1-0 lookup 1828716612"
    for request in (rule.add(), rule.delete()):
        message = decoded(request)
        assert (message["family"], message["action"], message["dst_len"]) == (2, 1, 0)
        top = flat(message)
        assert (top["FRA_IIFNAME"], top["FRA_PRIORITY"], top["FRA_TABLE"]) == ("tap1-0", 1001, 0x6D000044)
        assert message.get_attr("FRA_PROTOCOL") == 109
    underlay, node, entry = rules.common("eth0", "100.64.0.0/24")
    message = decoded(underlay.add())
    assert (message["dst_len"], message.get_attr("FRA_DST")) == (24, "100.64.0.0")
    assert message.get_attr("FRA_TABLE") == 254
    assert decoded(node.add()).get_attr("FRA_IIFNAME") == "lo"
    message = decoded(entry.add())
    assert (message["src_len"], message.get_attr("FRA_SRC")) == (24, "100.64.0.0")
    assert str(entry) == "1002: from 100.64.0.0/24 iif eth0 lookup 1845493760"


def test_neighbours_and_forwarding_entries():
    message = decoded(addressing.neighbour(9, "10.47.255.252", "02:00:00:00:00:01"))
    assert (message["family"], message["ifindex"], message["state"]) == (2, 9, 0x80)
    assert message.get_attr("NDA_DST") == "10.47.255.252"
    assert message.get_attr("NDA_LLADDR") == "02:00:00:00:00:01"
    message = decoded(addressing.tunnel(9, addressing.FLOOD_MAC, "100.64.0.12"))
    assert (message["family"], message["flags"]) == (7, 2)
    assert message.get_attr("NDA_LLADDR") == "00:00:00:00:00:00"
    message = decoded(addressing.station(9, "02:00:00:00:00:01"))
    assert (message["family"], message["flags"], message["state"]) == (7, 0x44, 0x42)


def test_a_damaged_attribute_ends_the_list():
    good = netlink.u32(5, 7)
    assert list(netlink.attributes(good + b"\xff\xff\x01\x00")) == [(5, b"\x07\0\0\0")]
    assert list(netlink.attributes(good + b"\x01\x00\x01\x00")) == [(5, b"\x07\0\0\0")]


def test_set_elements():
    key = nftsets.concatenated(
        nftsets.index_key(0x10001), netlink.mac_bytes("02:00:00:00:00:01"), b"\x0a\1\2\3"
    )
    assert len(key) == 16  # each field in registers of its own
    group = nftsets.Elements(nftsets.BRIDGE, "guard", "ipv4", (key, key), (b"\1\0\0\0",) * 2)
    data = nftsets._message(10 << 8 | 12, netlink.CREATE, 7, nftsets._body(group), family=group.family)
    message = nft_set_elem_list_msg(data)
    message.decode()
    assert (message["header"]["type"], message["nfgen_family"], message["res_id"]) == (0xA0C, 7, 0)
    assert message.get_attr("NFTA_SET_ELEM_LIST_TABLE") == "guard"
    assert message.get_attr("NFTA_SET_ELEM_LIST_SET") == "ipv4"
    first, second = message.get_attr("NFTA_SET_ELEM_LIST_ELEMENTS")
    assert first.get_attr("NFTA_SET_ELEM_KEY").get_attr("NFTA_DATA_VALUE") == key
    assert second.get_attr("NFTA_SET_ELEM_DATA").get_attr("NFTA_DATA_VALUE") == b"\1\0\0\0"
    assert struct.pack(">H", 10) in nftsets._message(16, 0, 1, b"", resource=10)


def test_link_local_addresses_are_made_of_the_mac():
    assert guard.link_local("02:00:00:11:22:33") == bytes.fromhex("fe80000000000000000000fffe112233")
