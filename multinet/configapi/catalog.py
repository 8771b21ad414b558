"""Builds the catalog of all config objects; again only when something changed since the last request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from multinet.configapi import kinds, read_machines, read_networks, read_places
from multinet.configapi.entries import Catalog, Entry, FqName
from multinet.configapi.notes import Notes
from multinet.configapi.view import View
from multinet.kube.resources import PODS, Resource


class Catalogs:
    """Hands out the catalog as of now."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._current: Catalog | None = None
        view.on_change(self._changed)

    def current(self) -> Catalog:
        """The catalog of what the view shows now."""
        if self._current is None:
            self._current = build(self._view)
        return self._current

    def _changed(self, resource: Resource) -> None:
        # Nothing of a pod is a config object: its machine is.
        if resource is not PODS:
            self._current = None


def build(view: View) -> Catalog:
    """All config objects of a view, in an order in which references can be resolved."""
    catalog = Catalog()
    networks = read_networks.networks(view)
    named = [network.fq_name[:2] for _, network in networks.values()]
    catalog.add([read_places.system()])
    catalog.add(_unique(read_places.domains(view, (domain for domain, _ in named))))
    projects = list(_unique(read_places.projects(view, named)))
    catalog.add(_with_parent(projects, kinds.DOMAIN, catalog))
    by_name = {entry.fq_name: entry for entry in catalog.of_kind(kinds.PROJECT)}
    groups = {project.uuid: read_places.security_group(project) for project in by_name.values()}
    catalog.add(groups.values())
    ipam_names = [
        read_networks.ipam_of(network, Notes.of(vn), subnet, view.cluster)
        for vn, network in networks.values()
        for subnet in network.subnets
    ]
    catalog.add(_with_parent(_unique(read_places.ipams(view, ipam_names)), kinds.PROJECT, catalog))
    catalog.add(
        read_networks.entries(
            networks,
            {fq_name: entry.uuid for fq_name, entry in by_name.items()},
            {entry.fq_name: entry.uuid for entry in catalog.of_kind(kinds.IPAM)},
            view.cluster,
        )
    )
    catalog.add(read_machines.machines(view))
    catalog.add(read_machines.interfaces(view, networks, by_name, groups))
    catalog.add(read_machines.addresses(view, networks))
    catalog.add(read_places.routers(view, read_machines.router_refs(view)))
    return catalog


def _unique(entries: Iterable[Entry]) -> list[Entry]:
    found: dict[FqName, Entry] = {}
    for entry in entries:
        found.setdefault(entry.fq_name, entry)
    return list(found.values())


def _with_parent(entries: list[Entry], kind: str, catalog: Catalog) -> list[Entry]:
    made: list[Entry] = []
    for entry in entries:
        parent = catalog.named(kind, entry.fq_name[:-1])
        made.append(replace(entry, parent_uuid=parent.uuid if parent else ""))
    return made
