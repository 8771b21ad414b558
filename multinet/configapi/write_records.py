"""Create, update and delete domains, projects and IPAMs: kept as ConfigMaps (see :mod:`records`)."""

from __future__ import annotations

from multinet.configapi.asks import Ask
from multinet.configapi.entries import Entry
from multinet.configapi.errors import conflict
from multinet.configapi.notes import Notes
from multinet.configapi.records import notes_of, record, rewritten
from multinet.configapi.view import View
from multinet.kube.client import Client
from multinet.kube.errors import AlreadyExistsError
from multinet.kube.resources import CONFIGMAPS
from multinet.model.objects import Obj, name_of, namespace_of, uid_of


class RecordWriter:
    """Writes the kinds whose only home is here."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def create(self, ask: Ask) -> str:
        """Create; returns the UUID."""
        notes = Notes(ask.uuid, ask.fq_name, properties={}).with_properties(ask.kept)
        try:
            made = await ask.client.create(CONFIGMAPS, record(ask.kind.name, notes))
        except AlreadyExistsError as error:
            raise conflict(f"{ask.kind.name} {':'.join(ask.fq_name)} already exists") from error
        await self._view.settle(CONFIGMAPS, made)
        return ask.uuid or uid_of(made)

    async def update(self, entry: Entry, ask: Ask) -> None:
        """Change properties."""
        assert entry.source is not None
        found = await ask.client.get(CONFIGMAPS, name_of(entry.source), namespace_of(entry.source))
        notes = notes_of(found) or Notes(entry.uuid, entry.fq_name)
        changed = rewritten(found, notes.with_properties(ask.kept))
        await self._view.settle(CONFIGMAPS, await ask.client.replace(CONFIGMAPS, changed))

    async def delete(self, entry: Entry, client: Client) -> None:
        """Delete."""
        assert entry.source is not None
        await delete_object(self._view, client, entry.source)


async def delete_object(view: View, client: Client, config_map: Obj) -> None:
    """Delete one ConfigMap and wait until the view shows it."""
    await client.delete(
        CONFIGMAPS, name_of(config_map), namespace_of(config_map), uid=uid_of(config_map) or None
    )
    await view.settle_gone(CONFIGMAPS, config_map)
