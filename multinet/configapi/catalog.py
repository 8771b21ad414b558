"""Builds the catalog of all config objects; again only when something changed since the last request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from multinet.configapi import kinds, read_machines, read_networks, read_places
from multinet.configapi.entries import Catalog, Entry, FqName
from multinet.configapi.known import Known
from multinet.configapi.notes import Notes
from multinet.configapi.read_machines import Places
from multinet.configapi.view import View
from multinet.kube.resources import (
    INSTANCE_IPS,
    NADS,
    PODS,
    VIRTUAL_MACHINE_INTERFACES,
    VIRTUAL_MACHINES,
    VIRTUAL_NETWORKS,
    Resource,
)
from multinet.model.networks import VirtualNetwork

_OFTEN = frozenset({VIRTUAL_MACHINES, VIRTUAL_MACHINE_INTERFACES, INSTANCE_IPS})


class Catalogs:
    """Hands out the catalog as of now."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._current: Catalog | None = None
        self._builder = Builder(view)
        view.on_change(self._changed)

    def current(self) -> Catalog:
        """The catalog of what the view shows now."""
        if self._current is None:
            self._current = self._builder.build()
        return self._current

    def _changed(self, resource: Resource) -> None:
        # Neither is a config object; a pod's machine and a NAD's network are.
        if resource in (NADS, PODS):
            return
        self._current = None
        if resource == VIRTUAL_NETWORKS:
            self._builder.networks_changed()
        elif resource not in _OFTEN:
            self._builder = Builder(self._view)


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where everything else is: the system, domains, projects and their security groups, as entries."""

    named: tuple[FqName, ...]
    """The projects that networks name."""
    entries: tuple[Entry, ...]
    projects: dict[FqName, Entry]
    groups: dict[str, Entry]
    """By their project's UUID."""


class Builder:
    """Builds catalogs of a view; remembers what it made of objects that have not changed since.

    Good while namespaces, nodes and records stay as they are.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._read: Known[VirtualNetwork | None] = Known()
        self._frame: _Frame | None = None
        self._networks: Known[Entry] = Known()
        self._interfaces: Known[Entry] = Known()
        self._addresses: Known[Entry] = Known()

    def networks_changed(self) -> None:
        """Networks are what interfaces and addresses refer to."""
        self._interfaces, self._addresses = Known(), Known()

    def build(self) -> Catalog:
        """All config objects of the view, in an order in which references can be resolved."""
        view, catalog = self._view, Catalog()
        networks = read_networks.networks(view, self._read)
        frame = self._framed(tuple(dict.fromkeys(network.fq_name[:2] for _, network in networks.values())))
        catalog.add(frame.entries)
        ipam_names = [
            read_networks.ipam_of(network, Notes.of(vn), subnet, view.cluster)
            for vn, network in networks.values()
            for subnet in network.subnets
        ]
        catalog.add(_with_parent(_unique(read_places.ipams(view, ipam_names)), kinds.PROJECT, catalog))
        catalog.add(
            read_networks.entries(
                networks,
                {fq_name: entry.uuid for fq_name, entry in frame.projects.items()},
                {entry.fq_name: entry.uuid for entry in catalog.of_kind(kinds.IPAM)},
                view.cluster,
                self._networks,
            )
        )
        catalog.add(read_machines.machines(view))
        groups_by_name = {group.fq_name: group for group in frame.groups.values()}
        places = Places(networks, frame.projects, frame.groups, groups_by_name, view.cluster)
        catalog.add(read_machines.interfaces(view, places, self._interfaces))
        catalog.add(read_machines.addresses(view, places, self._addresses))
        catalog.add(read_places.routers(view, read_machines.router_refs(view)))
        return catalog

    def _framed(self, named: tuple[FqName, ...]) -> _Frame:
        if self._frame is None or self._frame.named != named:
            view, catalog = self._view, Catalog()
            catalog.add([read_places.system()])
            catalog.add(_unique(read_places.domains(view, (domain for domain, _ in named))))
            projects = list(_unique(read_places.projects(view, named)))
            catalog.add(_with_parent(projects, kinds.DOMAIN, catalog))
            by_name = {entry.fq_name: entry for entry in catalog.of_kind(kinds.PROJECT)}
            groups = {project.uuid: read_places.security_group(project) for project in by_name.values()}
            catalog.add(groups.values())
            self._frame = _Frame(named, tuple(catalog.all()), by_name, groups)
        return self._frame


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
