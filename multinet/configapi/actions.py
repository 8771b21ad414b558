"""The actions of the original that its client calls: each takes a request's body and answers with JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multinet.configapi import addressing, keyvalues, kinds
from multinet.configapi.entries import Entry
from multinet.configapi.errors import bad_request, not_found
from multinet.configapi.kinds import KINDS, Kind
from multinet.configapi.listing import answer as list_answer
from multinet.configapi.listing import read_query
from multinet.configapi.notes import ANNOTATION_RESERVED, Notes
from multinet.configapi.read_networks import subnet_uuid
from multinet.configapi.service import Service
from multinet.kube.client import Client
from multinet.kube.resources import INSTANCE_IPS
from multinet.model.naming import instance_ip_name
from multinet.model.networks import VirtualNetwork
from multinet.model.objects import Obj, annotations_of, name_of, section, uid_of

_ALLOC_LIMIT = 1000
_MAPS = frozenset({"annotations", "virtual_machine_interface_bindings"})
_PAIRS = "key_value_pair"


def kind_named(name: object) -> Kind:
    """The kind a request names (``virtual-network`` or ``virtual_network``), or 400."""
    kind = KINDS.get(str(name).replace("_", "-"))
    if kind is None:
        raise bad_request(
            f"Resource type {name!r} is not served here", next_step=f"served are {', '.join(KINDS)}"
        )
    return kind


def name_to_id(service: Service, body: Mapping[str, Any]) -> Obj:
    """``{type, fq_name}`` -> ``{uuid}``."""
    kind = kind_named(body.get("type"))
    named = body.get("fq_name")
    parts = tuple(map(str, named)) if isinstance(named, list) else ()
    found = service.catalog.named(kind.name, parts)
    if found is None:
        raise not_found(f"Name {named!r} not found", where=kind.name)
    return {"uuid": found.uuid}


def id_to_name(service: Service, body: Mapping[str, Any]) -> Obj:
    """``{uuid}`` -> ``{fq_name, type}``."""
    found = _any(service, body.get("uuid"))
    return {"fq_name": list(found.fq_name), "type": found.kind}


async def ref_update(service: Service, body: Mapping[str, Any], client: Client) -> Obj:
    """``{type, uuid, ref-type, ref-uuid, ref-fq-name, operation, attr}`` -> ``{uuid}``."""
    entry = service.entry(kind_named(body.get("type")).name, str(body.get("uuid")))
    target = str(body.get("ref-type", "")).replace("_", "-").removesuffix("-refs")
    field = kinds.ref_field(target)
    ref = {"uuid": body.get("ref-uuid"), "to": body.get("ref-fq-name")}
    operation = str(body.get("operation"))
    await service.change_ref(entry, field, ref, operation, body.get("attr"), client)
    return {"uuid": entry.uuid}


async def ref_relax(service: Service, body: Mapping[str, Any], client: Client) -> Obj:
    """``{uuid, ref-uuid}``: the second may be deleted although the first refers to it."""
    entry, target = _any(service, body.get("uuid")), _any(service, body.get("ref-uuid"))
    await service.relax(entry, target, client)
    return {"uuid": entry.uuid}


def bulk_list(service: Service, body: Mapping[str, Any], base: str) -> Obj:
    """A list request in a body; ``type`` names the collection."""
    return list_answer(kind_named(body.get("type")), read_query(body, base), service.catalog)


async def key_value(service: Service, body: Mapping[str, Any], client: Client) -> Obj:
    """``{operation, key, value}``."""
    return await keyvalues.answer(service.view, body, client)


def _listed(body: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    """A field with a list; 400 when it holds something else."""
    listed = body.get(name) or []
    if not isinstance(listed, list) or not all(isinstance(item, kind) for item in listed):
        what = "objects" if kind is dict else "texts"
        raise bad_request(f"{name} is no list of {what}", where=name, why=repr(listed)[:80])
    return listed


async def change_collection(service: Service, body: Mapping[str, Any], client: Client) -> Obj:
    """``{uuid, updates: [{field, operation: set|delete, value, position}]}`` on maps of keys and values."""
    entry = _any(service, body.get("uuid"))
    updates = _listed(body, "updates", dict)
    await service.alter(entry, lambda now: _with_pairs(now, updates), client)
    return {}


def _with_pairs(entry: Entry, updates: list[Obj]) -> Obj:
    """The fields of an entry as ``updates`` change them."""
    changed: dict[str, dict[str, Obj]] = {}
    for update in updates:
        field = str(update.get("field"))
        pairs = changed.setdefault(field, _pairs(entry, field))
        value = update.get("value")
        if update.get("operation") == "set" and isinstance(value, dict) and value.get("key"):
            pairs[str(value["key"])] = {"key": value["key"], "value": value.get("value")}
        elif update.get("operation") == "delete" and str(update.get("position")) in pairs:
            del pairs[str(update["position"])]
        else:
            raise bad_request(f"Invalid update {update!r}", where="prop-collection-update")
    return {field: {_PAIRS: list(pairs.values())} for field, pairs in changed.items()}


def read_collection(service: Service, query: Mapping[str, Any]) -> Obj:
    """``uuid``, ``fields``, ``position`` -> ``{field: [[element, position], ...]}``."""
    entry = _any(service, query.get("uuid"))
    position = query.get("position")
    return {
        field: [
            [pair, key] for key, pair in _pairs(entry, field).items() if position is None or key == position
        ]
        for field in str(query.get("fields") or "").split(",")
        if field
    }


async def ip_alloc(service: Service, uuid: str, body: Mapping[str, Any], client: Client) -> Obj:
    """Reserve addresses: ``{count, subnet, family}`` -> ``{ip_addr: [...]}``."""
    vn = _network(service, uuid)
    count = body.get("count")
    if type(count) is not int or not 1 <= count <= _ALLOC_LIMIT:
        raise bad_request(f"count {count!r} is no number from 1 to {_ALLOC_LIMIT}", where="ip-alloc")
    network = VirtualNetwork.from_object(vn)
    pools = addressing.pools(service.view, vn, str(body.get("subnet") or ""), str(body.get("family") or ""))
    metadata = {"annotations": {ANNOTATION_RESERVED: "true"}}
    given: list[str] = []
    for _ in range(count):
        made = await addressing.own(client, network, pools, metadata, None)
        await service.view.settle(INSTANCE_IPS, made)
        given.append(str(made["spec"]["address"]))
    return {"ip_addr": given}


async def ip_free(service: Service, uuid: str, body: Mapping[str, Any], client: Client) -> Obj:
    """Give reserved addresses back: ``{ip_addr: [...]}``; one that an interface has is refused."""
    network = VirtualNetwork.from_object(_network(service, uuid))
    listed = body.get("ip_addr")
    if not isinstance(listed, list):
        raise bad_request("ip_addr is no list of addresses", where="ip-free")
    for address in listed:
        iip = service.view.objects(INSTANCE_IPS).get(instance_ip_name(network.pool_name, str(address)))
        is_its_own = iip is not None and section(iip, "spec").get("network") == network.name
        if iip is None or not is_its_own or ANNOTATION_RESERVED not in annotations_of(iip):
            raise bad_request(
                f"{address!r} is not reserved",
                where="ip-free",
                why="no address of that network was taken with ip-alloc and is this",
            )
        await client.delete(INSTANCE_IPS, name_of(iip), uid=uid_of(iip) or None)
        await service.view.settle_gone(INSTANCE_IPS, iip)
    return {}


def ip_count(service: Service, uuid: str, body: Mapping[str, Any]) -> Obj:
    """How many addresses are in use: ``{subnet_list: [uuid, ...]}`` -> ``{ip_count_list: [...]}``."""
    vn = _network(service, uuid)
    network = VirtualNetwork.from_object(vn)
    blocks = {subnet_uuid(vn, Notes.of(vn), subnet): subnet for subnet in network.subnets}
    counts: list[int] = []
    taken = addressing.taken_of_pool(service.view, network.pool_name)
    for asked in _listed(body, "subnet_list", str) or list(blocks):
        if asked not in blocks:
            raise not_found(f"subnet {asked} not found", where=f"virtual-network {uuid}")
        counts.append(sum(address in blocks[asked].cidr for address in taken))
    return {"ip_count_list": counts}


def permissions() -> Obj:
    """What the caller may do, as obj-perms answers; finer rules are Kubernetes'."""
    return {
        "token_info": {},
        "permissions": "RWX",
        "is_cloud_admin_role": True,
        "is_global_read_only_role": False,
    }


def _any(service: Service, uuid: object) -> Entry:
    found = service.catalog.get(str(uuid))
    if found is None:
        raise not_found(f"id {uuid} not found")
    return found


def _network(service: Service, uuid: str) -> Obj:
    source = service.entry(kinds.NETWORK, uuid).source
    assert source is not None
    return source


def _pairs(entry: Entry, field: str) -> dict[str, Obj]:
    if field not in _MAPS:
        raise bad_request(f"{field} is no map of keys and values", where=entry.label)
    held = entry.properties.get(field)
    listed = held.get(_PAIRS) if isinstance(held, dict) else None
    if not isinstance(listed, list):
        return {}
    # Kept properties are stored as they came: what is no pair can't be meant by a key.
    return {str(pair["key"]): pair for pair in listed if isinstance(pair, dict) and "key" in pair}
