"""The store of keys and values that clients keep for themselves (the action useragent-kv)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multinet.configapi import records
from multinet.configapi.errors import bad_request, not_found
from multinet.configapi.notes import Notes
from multinet.configapi.view import View
from multinet.configapi.write_records import delete_object
from multinet.kube.client import Client
from multinet.kube.errors import AlreadyExistsError
from multinet.kube.resources import CONFIGMAPS
from multinet.model.objects import Obj, name_of, namespace_of


async def answer(view: View, body: Mapping[str, Any], client: Client) -> Obj:
    """STORE, RETRIEVE (one key, or all without a key) or DELETE."""
    operation, key = body.get("operation"), body.get("key")
    if key is not None and (not isinstance(key, str) or not key):
        raise bad_request(f"Invalid key {key!r}", where=records.KEY_VALUE)
    if operation == "STORE" and key:
        await _store(view, key, body.get("value"), client)
        return {}
    if operation == "RETRIEVE":
        return {"value": _retrieve(view, key)}
    if operation == "DELETE" and key:
        await delete_object(view, client, _found(view, key))
        return {}
    raise bad_request(
        f"Invalid operation {operation!r} with key {key!r}",
        where=records.KEY_VALUE,
        next_step="take STORE, RETRIEVE or DELETE, and a key",
    )


async def _store(view: View, key: str, value: object, client: Client) -> None:
    wanted = records.record(records.KEY_VALUE, Notes("", (key,), properties={"value": value}))
    try:
        made = await client.create(CONFIGMAPS, wanted)
    except AlreadyExistsError:
        found = await client.get(CONFIGMAPS, name_of(wanted), namespace_of(wanted))
        made = await client.replace(CONFIGMAPS, {**found, "data": wanted["data"]})
    await view.settle(CONFIGMAPS, made)


def _retrieve(view: View, key: str | None) -> object:
    if key is not None:
        notes = records.notes_of(_found(view, key))
        return notes.properties.get("value") if notes else None
    listed: list[Obj] = []
    for config_map in view.objects(CONFIGMAPS).values():
        notes = records.notes_of(config_map) if records.kind_of(config_map) == records.KEY_VALUE else None
        if notes is not None:
            listed.append({"key": notes.fq_name[0], "value": notes.properties.get("value")})
    return listed


def _found(view: View, key: str) -> Obj:
    name = records.record_name(records.KEY_VALUE, (key,))
    for config_map in view.objects(CONFIGMAPS).values():
        if name_of(config_map) == name:
            return config_map
    raise not_found(f"Unknown User-Agent key {key}")
