"""Where things are: system, domains, projects, IPAMs, security groups and virtual routers, as entries.

Some exist because Kubernetes has their like (a namespace is a project, a node a virtual router), some
because a client made them (records), some because an object names them: a network applied with kubectl may
name any domain and project. An implied one gets a UUID derived from its name.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterable, Iterator

from multinet.configapi import kinds, records
from multinet.configapi.entries import Entry, FqName, Ref
from multinet.configapi.kinds import KINDS
from multinet.configapi.view import RECORD_NAMESPACE, View
from multinet.kube.resources import CONFIGMAPS, NAMESPACES, NODES
from multinet.model.naming import DEFAULT_DOMAIN
from multinet.model.objects import API_GROUP, Obj, metadata_of, name_of, section, uid_of

SYSTEM_NAME: FqName = ("default-global-system-config",)
DEFAULT_PROJECT: FqName = (DEFAULT_DOMAIN, "default-project")
DEFAULT_IPAM: FqName = (*DEFAULT_PROJECT, "default-network-ipam")

_SPACE = uuid.uuid5(uuid.NAMESPACE_DNS, API_GROUP)


def implied_uuid(kind: str, fq_name: Iterable[str]) -> str:
    """The UUID of an object which nothing but its name makes."""
    return _uuid_of("\0".join((kind, *fq_name)))


@functools.lru_cache(maxsize=4096)
def _uuid_of(name: str) -> str:
    return str(uuid.uuid5(_SPACE, name))


def created_of(o: Obj) -> str:
    """``metadata.creationTimestamp``."""
    return str(metadata_of(o).get("creationTimestamp") or "")


def system() -> Entry:
    """The one global system config, parent of the virtual routers."""
    return Entry(
        kinds.SYSTEM,
        implied_uuid(kinds.SYSTEM, SYSTEM_NAME),
        SYSTEM_NAME,
        properties={"autonomous_system": 64512, "display_name": SYSTEM_NAME[0]},
        fixed="there is exactly one, and nothing in it can be set",
    )


def domains(view: View, named: Iterable[str]) -> Iterator[Entry]:
    """Domains made here, the default one, and those that networks name."""
    yield from recorded(view, kinds.DOMAIN)
    for name in dict.fromkeys((DEFAULT_DOMAIN, *named)):
        yield _implied(kinds.DOMAIN, (name,))


def projects(view: View, named: Iterable[FqName]) -> Iterator[Entry]:
    """Projects of namespaces (``<cluster>-<namespace>``), made here, and named by networks."""
    for namespace in view.objects(NAMESPACES).values():
        fq_name: FqName = (DEFAULT_DOMAIN, f"{view.cluster}-{name_of(namespace)}")
        yield Entry(
            kinds.PROJECT,
            uid_of(namespace),
            fq_name,
            kinds.DOMAIN,
            "",
            properties={"display_name": fq_name[-1]},
            source=namespace,
            fixed=f"it is the namespace {name_of(namespace)}: use kubectl",
            created=created_of(namespace),
        )
    yield from recorded(view, kinds.PROJECT)
    for fq_name in dict.fromkeys((DEFAULT_PROJECT, *named)):
        yield _implied(kinds.PROJECT, fq_name)


def ipams(view: View, named: Iterable[FqName]) -> Iterator[Entry]:
    """IPAMs made here, the default one, and those that networks name."""
    yield from recorded(view, kinds.IPAM, {"ipam_subnet_method": _METHOD})
    for fq_name in dict.fromkeys((DEFAULT_IPAM, *named)):
        yield _implied(kinds.IPAM, fq_name, {"ipam_subnet_method": _METHOD})


_METHOD = "user-defined-subnet"


def security_group(project: Entry) -> Entry:
    """The group every interface of a project is in: it lets everything pass, as Contrail's for Kubernetes."""
    fq_name = (*project.fq_name, f"{project.fq_name[-1]}-default-sg")
    return Entry(
        kinds.SECURITY_GROUP,
        implied_uuid(kinds.SECURITY_GROUP, fq_name),
        fq_name,
        kinds.PROJECT,
        project.uuid,
        properties={"display_name": fq_name[-1], "security_group_entries": {"policy_rule": _rules()}},
        fixed="security groups can be read only",
        created=project.created,
    )


def routers(view: View, machines: dict[str, list[Ref]]) -> Iterator[Entry]:
    """A virtual router per node; ``machines`` are the references by node name."""
    parent = implied_uuid(kinds.SYSTEM, SYSTEM_NAME)
    for node in view.objects(NODES).values():
        name = name_of(node)
        addresses = section(node, "status").get("addresses") or ()
        internal = [str(found.get("address")) for found in addresses if found.get("type") == "InternalIP"]
        properties: Obj = {"display_name": name}
        if internal:
            properties["virtual_router_ip_address"] = internal[0]
        yield Entry(
            kinds.ROUTER,
            uid_of(node),
            (*SYSTEM_NAME, name),
            kinds.SYSTEM,
            parent,
            properties,
            tuple(machines.get(name, ())),
            source=node,
            fixed="it is a node of the cluster",
            created=created_of(node),
        )


def recorded(view: View, kind: str, defaults: Obj | None = None) -> Iterator[Entry]:
    """The entries of one kind which are kept as ConfigMaps."""
    for config_map in view.objects(CONFIGMAPS).values():
        if records.kind_of(config_map) != kind:
            continue
        notes = records.notes_of(config_map)
        if notes is None:
            continue
        yield Entry(
            kind,
            notes.uuid or uid_of(config_map),
            notes.fq_name,
            KINDS[kind].parent,
            "",
            properties={"display_name": notes.fq_name[-1], **(defaults or {}), **notes.properties},
            source=config_map,
            created=created_of(config_map),
        )


def _implied(kind: str, fq_name: FqName, extra: Obj | None = None) -> Entry:
    return Entry(
        kind,
        implied_uuid(kind, fq_name),
        fq_name,
        KINDS[kind].parent,
        properties={"display_name": fq_name[-1], **(extra or {})},
        fixed="it exists because other objects name it",
    )


def namespace_of_project(view: View, project: FqName) -> str:
    """The namespace whose objects belong to a project; ``kube-system`` for a project without one."""
    domain, name = project
    namespace = name.removeprefix(f"{view.cluster}-")
    is_mapped = domain == DEFAULT_DOMAIN and namespace != name and namespace in view.objects(NAMESPACES)
    return namespace if is_mapped else RECORD_NAMESPACE


def _rules() -> list[Obj]:
    def rule(direction: str, ethertype: str, prefix: str) -> Obj:
        everywhere = {"subnet": {"ip_prefix": prefix, "ip_prefix_len": 0}}
        local: Obj = {"security_group": "local"}
        ends = ([local], [everywhere]) if direction == "egress" else ([everywhere], [local])
        ports = [{"start_port": 0, "end_port": 65535}]
        return {
            "rule_uuid": implied_uuid("rule", (direction, ethertype)),
            "direction": ">",
            "protocol": "any",
            "ethertype": ethertype,
            "src_addresses": ends[0],
            "src_ports": ports,
            "dst_addresses": ends[1],
            "dst_ports": ports,
        }

    families = (("IPv4", "0.0.0.0"), ("IPv6", "::"))
    return [rule(direction, *family) for direction in ("ingress", "egress") for family in families]
