"""Requests to the config API: objects of each type, filters, and the actions; then all is listed again.

A refusal is a status below 500 and a line of text that says what is wrong; whatever was stored must be
readable in every form of a list.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from hypothesis import strategies as st

from conformance.fuzz.parsers.confighost import ConfigHost
from conformance.fuzz.parsers.grammar import ODD, damaged_text, mutated, text_of
from conformance.fuzz.parsers.subject import NotTotalError, Subject
from multinet.configapi.kinds import KINDS

_UUIDS = [f"00000000-0000-4000-8000-00000000000{number}" for number in range(1, 8)]
_PROJECT = ["default-domain", "default-project"]
_TO_NETWORK = {"to": [*_PROJECT, "n"], "attr": None}
_SUBNET = {
    "subnet": {"ip_prefix": "10.7.0.0", "ip_prefix_len": 24},
    "default_gateway": "10.7.0.1",
    "dns_server_address": "10.7.0.2",
    "enable_dhcp": True,
    "allocation_pools": [],
    "subnet_uuid": _UUIDS[6],
}
SAMPLES: dict[str, Any] = {
    "project": {"fq_name": ["default-domain", "p"], "uuid": _UUIDS[0], "display_name": "P", "quota": {}},
    "network-ipam": {"fq_name": [*_PROJECT, "i"], "uuid": _UUIDS[1], "network_ipam_mgmt": {}},
    "virtual-network": {
        "fq_name": [*_PROJECT, "n"],
        "parent_type": "project",
        "uuid": _UUIDS[2],
        "display_name": "N",
        "virtual_network_properties": {"forwarding_mode": "l2_l3", "allow_transit": False, "rpf": "enable"},
        "fabric_snat": False,
        "annotations": {"key_value_pair": [{"key": "a", "value": "b"}]},
        "perms2": {"owner": "x", "owner_access": 7, "global_access": 0, "share": []},
        "network_ipam_refs": [
            {
                "to": [*_PROJECT, "default-network-ipam"],
                "attr": {"ipam_subnets": [_SUBNET], "host_routes": None},
            }
        ],
    },
    "virtual-machine": {"fq_name": ["vm"], "uuid": _UUIDS[3], "server_type": "container"},
    "virtual-machine-interface": {
        "fq_name": [*_PROJECT, "vmi"],
        "uuid": _UUIDS[4],
        "virtual_machine_interface_mac_addresses": {"mac_address": ["02:00:00:00:00:07"]},
        "virtual_machine_interface_bindings": {"key_value_pair": [{"key": "host_id", "value": "node1"}]},
        "annotations": {"key_value_pair": [{"key": "index", "value": "0/1"}]},
        "virtual_network_refs": [_TO_NETWORK],
        "virtual_machine_refs": [{"to": ["vm"], "uuid": _UUIDS[3]}],
    },
    "instance-ip": {
        "fq_name": ["ip"],
        "uuid": _UUIDS[5],
        "instance_ip_address": "10.7.0.15",
        "instance_ip_family": "v4",
        "virtual_network_refs": [_TO_NETWORK],
        "virtual_machine_interface_refs": [{"to": [*_PROJECT, "vmi"]}],
    },
}
# An interface is made on a network that the controller has judged, and there is no controller here.
_MADE = list(SAMPLES).index("virtual-machine") + 1
_ACTIONS: list[Any] = [
    {"path": "/fqname-to-id", "body": {"type": "virtual-network", "fq_name": [*_PROJECT, "n"]}},
    {"path": "/id-to-fqname", "body": {"uuid": _UUIDS[2]}},
    {
        "path": "/ref-update",
        "body": {
            "type": "virtual-machine-interface",
            "uuid": _UUIDS[4],
            "ref-type": "virtual-network",
            "ref-uuid": _UUIDS[2],
            "ref-fq-name": [*_PROJECT, "n"],
            "operation": "ADD",
            "attr": {"a": 1},
        },
    },
    {"path": "/ref-relax-for-delete", "body": {"uuid": _UUIDS[4], "ref-uuid": _UUIDS[2]}},
    {"path": "/useragent-kv", "body": {"operation": "STORE", "key": "k", "value": "v"}},
    {"path": "/useragent-kv", "body": {"operation": "RETRIEVE", "key": ["k", "l"]}},
    {
        "path": "/prop-collection-update",
        "body": {
            "uuid": _UUIDS[2],
            "updates": [{"field": "annotations", "operation": "set", "position": "a", "value": {"key": "a"}}],
        },
    },
    {
        "path": "/list-bulk-collection",
        "body": {
            "type": "virtual-network",
            "obj_uuids": [_UUIDS[2]],
            "fields": ["display_name"],
            "filters": 'display_name=="N"',
            "detail": True,
            "count": False,
        },
    },
    {
        "path": f"/virtual-network/{_UUIDS[2]}/ip-alloc",
        "body": {"subnet": _UUIDS[6], "count": 2, "family": "v4"},
    },
    {"path": f"/virtual-network/{_UUIDS[2]}/ip-free", "body": {"subnet": None, "ip_addr": ["10.7.0.16"]}},
    {"path": f"/virtual-network/{_UUIDS[2]}/subnet-ip-count", "body": {"subnet_list": [_UUIDS[6]]}},
    {"path": "/v3/auth/tokens", "body": {"auth": {"identity": {"password": {"user": {"password": "t"}}}}}},
    {"path": "/v2.0/tokens", "body": {"auth": {"passwordCredentials": {"password": "t"}}}},
]
_FILTERS = st.sampled_from(['display_name=="N",is_shared==true', 'fq_name==["a"],name==x', "uuid=="])
_QUERIES: dict[str, st.SearchStrategy[str]] = {
    "filters": _FILTERS | _FILTERS.flatmap(damaged_text),
    "fields": st.sampled_from(["display_name,virtual_machine_interface_back_refs", "x", ",", "fq_name"]),
    "detail": st.sampled_from(["true", "1", "x"]),
    "count": st.sampled_from(["true", "no"]),
    "parent_id": st.sampled_from([_UUIDS[0], "x", ","]),
    "parent_fq_name_str": st.sampled_from([":".join(_PROJECT), ":", "x"]),
    "obj_uuids": st.sampled_from([_UUIDS[2], "x"]),
    "fq_names": st.sampled_from(["a:b,c", ":"]),
    "back_ref_id": st.just(_UUIDS[3]),
    "exclude_hrefs": st.sampled_from(["true", ""]),
    "exclude_back_refs": st.sampled_from(["true", "false"]),
    "exclude_children": st.sampled_from(["true", "x"]),
    "uuid": st.just(_UUIDS[2]),
}


@st.composite
def _requests(draw: st.DrawFn) -> Any:
    """What is made first, of good objects, and one to three requests."""
    made = draw(st.integers(0, _MADE))
    return {"made": made, "requests": [draw(_request()) for _ in range(draw(st.integers(1, 3)))]}


@st.composite
def _request(draw: st.DrawFn) -> Any:
    way = draw(st.sampled_from(["create", "update", "update", "list", "action", "action", "raw", "get"]))
    name = draw(st.sampled_from(sorted(SAMPLES)))
    sample = SAMPLES[name]
    if way == "create":
        return {"method": "POST", "path": f"/{name}s", "body": {name: draw(mutated([sample], ODD, least=1))}}
    if way == "update":
        body = {name: draw(mutated([sample], ODD, least=1))}
        return {"method": "PUT", "path": f"/{name}/{sample['uuid']}", "body": body}
    if way == "action":
        action = draw(st.sampled_from(_ACTIONS))
        return {
            "method": "POST",
            "path": action["path"],
            "body": draw(mutated([action["body"]], ODD, least=1)),
        }
    if way == "raw":
        raw = draw(text_of([{name: sample}]) | st.text(max_size=10))
        return {"method": "POST", "path": f"/{name}s", "raw": raw}
    keys = draw(st.lists(st.sampled_from(sorted(_QUERIES)), max_size=3, unique=True))
    query = {key: draw(_QUERIES[key]) for key in keys}
    paths = (
        [f"/{name}s"]
        if way == "list"
        else [f"/{name}/{sample['uuid']}", "/prop-collection-get", "/obj-perms"]
    )
    return {"method": "GET", "path": draw(st.sampled_from(paths)), "query": query}


def _answer_requests(given: Any) -> str:
    logging.getLogger("multinet.configapi").setLevel(logging.ERROR)
    return asyncio.run(_answered(given))


async def _answered(given: Any) -> str:
    async with ConfigHost.start() as host:
        for name, sample in list(SAMPLES.items())[: given["made"]]:
            status, body = await host.ask({"method": "POST", "path": f"/{name}s", "body": {name: sample}})
            if status != 200:
                raise NotTotalError(f"the sample of {name} is not taken: {status} {body}")
        word = "refused"
        for asked in given["requests"]:
            status, body = await host.ask(asked)
            _check(status, body, asked)
            word = "taken" if status < 300 else word
        for kind in KINDS.values():
            asked = {"method": "GET", "path": f"/{kind.plural}", "query": {"detail": "true"}}
            status, body = await host.ask(asked)
            if status != 200:
                raise NotTotalError(f"what was stored can't be listed: {status} {body}: {asked}")
    return word


def _check(status: int, body: Any, asked: object) -> None:
    if status >= 500 and not (status == 503 and "is the controller running?" in str(body)):
        raise NotTotalError(f"answered {status}: {body}: to {asked!r:.1500}")
    if status >= 400 and (not isinstance(body, str) or not body.strip()):
        raise NotTotalError(f"a refusal without a reason: {status} {body!r:.300}: to {asked!r:.1500}")


SUBJECTS = (Subject("config-api", _requests(), _answer_requests),)
