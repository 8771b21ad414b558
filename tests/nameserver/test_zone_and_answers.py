"""Names of services and endpoints, after the specification of Kubernetes' DNS-based service discovery."""

from __future__ import annotations

import asyncio
import struct

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import pytest

from multinet.nameserver.answers import Answerer
from multinet.nameserver.main import announcement
from multinet.nameserver.server import serving
from multinet.nameserver.zone import Zone

BELOW = "default.svc.cluster.local"
HTTP = {"name": "http", "port": 80, "protocol": "TCP"}


def service(name, **spec):
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}


def sliced(name, endpoints, ports=(HTTP,), number=0):
    labels = {"kubernetes.io/service-name": name}
    metadata = {"name": f"{name}-{number}", "namespace": "default", "labels": labels}
    return {"metadata": metadata, "endpoints": endpoints, "ports": list(ports)}


def endpoint(address, ready=True, **more):
    return {"addresses": [address], "conditions": {"ready": ready}, **more}


@pytest.fixture
def zone():
    made = Zone("cluster.local")
    for each in (
        service("web", clusterIP="10.96.1.1", clusterIPs=["10.96.1.1", "fd00:10:96::1"], ports=[HTTP]),
        service("heads", clusterIP="None", ports=[HTTP]),
        service("out", type="ExternalName", externalName="example.org."),
        service("alias", type="ExternalName", externalName=f"web.{BELOW}"),
        service("nobody", clusterIP="None", ports=[HTTP]),
    ):
        made.service_changed(None, each)
    endpoints = [
        endpoint("10.32.0.1", hostname="db-0"),
        endpoint("10.32.0.2"),
        endpoint("10.32.0.3", ready=False),
    ]
    made.slice_changed(None, sliced("heads", endpoints))
    made.slice_changed(None, sliced("web", [endpoint("10.32.0.1")]))
    return made


@pytest.fixture
def ask(zone):
    answerer = Answerer(zone)

    def asked(name, kind, part="answer"):
        query = dns.message.make_query(name, kind)
        made = dns.message.from_wire(answerer.answer(query.to_wire(), over_tcp=True))
        assert made.id == query.id
        texts = [f"{rrset.rdtype.name} {item}" for rrset in getattr(made, part) for item in rrset]
        return dns.rcode.to_text(made.rcode()), sorted(texts)

    return asked


@pytest.mark.parametrize(
    ("name", "kind", "answers"),
    [
        (f"web.{BELOW}", "A", ["A 10.96.1.1"]),
        (f"WEB.{BELOW}.", "AAAA", ["AAAA fd00:10:96::1"]),
        (f"_http._tcp.web.{BELOW}", "SRV", [f"SRV 0 100 80 web.{BELOW}."]),
        ("1.1.96.10.in-addr.arpa", "PTR", [f"PTR web.{BELOW}."]),
        (f"heads.{BELOW}", "A", ["A 10.32.0.1", "A 10.32.0.2"]),
        (f"db-0.heads.{BELOW}", "A", ["A 10.32.0.1"]),
        (f"10-32-0-2.heads.{BELOW}", "A", ["A 10.32.0.2"]),
        (
            f"_http._tcp.heads.{BELOW}",
            "SRV",
            [f"SRV 0 100 80 10-32-0-2.heads.{BELOW}.", f"SRV 0 100 80 db-0.heads.{BELOW}."],
        ),
        ("1.0.32.10.in-addr.arpa", "PTR", [f"PTR db-0.heads.{BELOW}."]),
        (f"out.{BELOW}", "A", ["CNAME example.org."]),
        (f"out.{BELOW}", "CNAME", ["CNAME example.org."]),
        (f"alias.{BELOW}", "A", ["A 10.96.1.1", f"CNAME web.{BELOW}."]),
        ("dns-version.cluster.local", "TXT", ['TXT "1.1.0"']),
    ],
)
def test_names_that_are_there(ask, name, kind, answers):
    assert ask(name, kind) == ("NOERROR", answers)


@pytest.mark.parametrize(
    ("name", "kind", "code"),
    [
        (f"heads.{BELOW}", "AAAA", "NOERROR"),
        (f"nobody.{BELOW}", "A", "NOERROR"),
        (BELOW, "A", "NOERROR"),
        ("svc.cluster.local", "A", "NOERROR"),
        ("cluster.local", "A", "NOERROR"),
        (f"none.{BELOW}", "A", "NXDOMAIN"),
        (f"web.{BELOW}.{BELOW}", "A", "NXDOMAIN"),
        (f"10-32-0-3.heads.{BELOW}", "A", "NXDOMAIN"),
        (f"_http._udp.web.{BELOW}", "SRV", "NXDOMAIN"),
        ("9.9.9.10.in-addr.arpa", "PTR", "NXDOMAIN"),
    ],
)
def test_what_is_not_there_says_for_how_long(ask, name, kind, code):
    assert ask(name, kind) == (code, [])
    ((soa,),) = [ask(name, kind, "authority")[1]]
    assert soa.startswith("SOA ns.dns.cluster.local.")


@pytest.mark.parametrize("name", ["example.org", "local", "xcluster.local", "."])
def test_names_beyond_the_cluster_are_there_for_nobody(ask, name):
    assert ask(name, "A") == ("NXDOMAIN", [])
    assert ask(name, "A", "authority") == ("NXDOMAIN", [])


def test_the_targets_of_srv_records_come_with_their_addresses(ask):
    assert ask(f"_http._tcp.heads.{BELOW}", "SRV", "additional")[1] == ["A 10.32.0.1", "A 10.32.0.2"]


def test_names_follow_their_objects(zone, ask):
    old = sliced("heads", [endpoint("10.32.0.1", hostname="db-0"), endpoint("10.32.0.2")])
    new = sliced("heads", [endpoint("10.32.0.2"), endpoint("10.32.0.9")])
    zone.slice_changed(old, new)
    assert ask(f"heads.{BELOW}", "A") == ("NOERROR", ["A 10.32.0.2", "A 10.32.0.9"])
    assert ask(f"db-0.heads.{BELOW}", "A")[0] == "NXDOMAIN"
    zone.slice_changed(new, None)
    zone.service_changed(service("heads"), None)
    assert ask(f"heads.{BELOW}", "A")[0] == "NXDOMAIN"
    for name in ("web", "out", "alias", "nobody"):
        zone.service_changed(service(name), None)
    assert ask(BELOW, "A")[0] == "NXDOMAIN"
    assert ask("dns-version.cluster.local", "TXT")[0] == "NOERROR"


def test_any_address_may_be_first(zone):
    answerer = Answerer(zone)
    query = dns.message.make_query(f"heads.{BELOW}", "A").to_wire()
    firsts = {dns.message.from_wire(answerer.answer(query, over_tcp=True)).answer[0][0] for _ in range(60)}
    assert {str(each) for each in firsts} == {"10.32.0.1", "10.32.0.2"}


@pytest.mark.parametrize("query", [b"", b"\0" * 11, b"\0\1\x80\0" + b"\0" * 8])
def test_what_is_no_query_gets_no_answer(zone, query):
    assert Answerer(zone).answer(query, over_tcp=False) == b""


def test_damaged_queries_and_other_requests_are_told_so(zone):
    answerer = Answerer(zone)
    broken = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\x3fweb"
    made = dns.message.from_wire(answerer.answer(broken, over_tcp=False))
    assert (made.id, made.rcode()) == (7, dns.rcode.FORMERR)
    update = dns.message.make_query("cluster.local", "SOA")
    update.set_opcode(dns.opcode.NOTIFY)
    made = dns.message.from_wire(answerer.answer(update.to_wire(), over_tcp=False))
    assert made.rcode() == dns.rcode.NOTIMP


async def test_over_udp_and_where_that_is_too_small_over_tcp(zone):
    endpoints = [endpoint(f"10.33.{number // 250}.{number % 250}") for number in range(600)]
    zone.slice_changed(None, sliced("heads", endpoints, number=1))
    async with serving(Answerer(zone), "127.0.0.1", 0) as port:
        small = dns.message.make_query(f"web.{BELOW}", "A")
        assert (await dns.asyncquery.udp(small, "127.0.0.1", 30, port)).answer
        large = dns.message.make_query(f"heads.{BELOW}", "A", payload=1232)
        cut = await dns.asyncquery.udp(large, "127.0.0.1", 30, port)
        assert cut.flags & dns.flags.TC
        assert not cut.answer
        whole = await dns.asyncquery.tcp(large, "127.0.0.1", 30, port)
        assert len(whole.answer[0]) == 602
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            query = small.to_wire()
            writer.write(struct.pack("!H", len(query)) + query)
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            assert dns.message.from_wire(await reader.readexactly(length)).answer
        writer.close()


def test_the_server_is_announced_at_the_address_that_pods_are_told():
    _, (_, kube_dns), (_, endpoints) = announcement("10.96.0.10", "100.64.0.10")
    assert kube_dns["spec"]["clusterIP"] == "10.96.0.10"
    assert [(each["protocol"], each["port"]) for each in kube_dns["spec"]["ports"]] == [
        ("UDP", 53),
        ("TCP", 53),
    ]
    assert endpoints["endpoints"][0]["addresses"] == ["100.64.0.10"]
