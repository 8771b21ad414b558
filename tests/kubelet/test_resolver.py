"""A pod's resolv.conf and hosts by its dnsPolicy, dnsConfig, subdomain and hostAliases."""

from __future__ import annotations

import pytest

from multinet.kubelet import etcfiles
from multinet.kubelet.resolver import NO_RESOLVER, Resolver

CLUSTER = Resolver(("10.96.0.10",))
SEARCH = "search team.svc.cluster.local svc.cluster.local cluster.local"
OPTIONS = "options ndots:5 timeout:1 attempts:2"


def pod(**spec):
    return {"metadata": {"name": "p", "namespace": "team"}, "spec": spec}


@pytest.mark.parametrize(
    ("spec", "lines"),
    [
        ({}, [SEARCH, "nameserver 10.96.0.10", OPTIONS]),
        ({"dnsPolicy": "ClusterFirst"}, [SEARCH, "nameserver 10.96.0.10", OPTIONS]),
        (
            {"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True},
            [SEARCH, "nameserver 10.96.0.10", OPTIONS],
        ),
        ({"dnsPolicy": "Default"}, ["# The lab has no name server.", "options timeout:1 attempts:1"]),
        (
            {
                "dnsPolicy": "None",
                "dnsConfig": {
                    "nameservers": ["10.1.1.1"],
                    "searches": ["a.b"],
                    "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
                },
            },
            ["search a.b", "nameserver 10.1.1.1", "options ndots:2 edns0"],
        ),
        (
            {
                "dnsConfig": {
                    "nameservers": ["10.1.1.1"],
                    "searches": ["a.b"],
                    "options": [{"name": "ndots", "value": "1"}],
                }
            },
            [f"{SEARCH} a.b", "nameserver 10.96.0.10", "nameserver 10.1.1.1", OPTIONS.replace("5", "1", 1)],
        ),
    ],
)  # fmt: skip
def test_whom_a_pod_asks(spec, lines):
    assert CLUSTER.text(pod(**spec)).splitlines() == lines


def test_without_a_cluster_dns_nobody_is_waited_for():
    assert "nameserver" not in NO_RESOLVER.text(pod())
    assert NO_RESOLVER.text(pod(dnsPolicy="None", dnsConfig={"nameservers": ["10.1.1.1"]})) == (
        "nameserver 10.1.1.1\n"
    )


def test_hosts_has_aliases_and_the_pods_full_name(tmp_path):
    spec = {
        "hostname": "db-0",
        "subdomain": "db",
        "hostAliases": [{"ip": "10.9.9.9", "hostnames": ["x", "y"]}],
    }
    directory = etcfiles.write(tmp_path, pod(**spec), CLUSTER)
    etcfiles.add_addresses(directory, pod(**spec), ["10.32.0.1"], CLUSTER)
    lines = (directory / "hosts").read_text().splitlines()
    assert "10.9.9.9\tx y" in lines
    assert lines[-1] == "10.32.0.1\tdb-0.db.team.svc.cluster.local\tdb-0"


def test_a_pod_in_the_nodes_network_has_the_nodes_files_but_for_the_resolver_it_asks_for(tmp_path):
    assert etcfiles.write_resolver(tmp_path, pod(hostNetwork=True), CLUSTER) is None
    asks = pod(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet")
    directory = etcfiles.write_resolver(tmp_path, asks, CLUSTER)
    assert [each.name for each in directory.iterdir()] == ["resolv.conf"]
