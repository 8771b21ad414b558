"""Discovery: which groups, versions and resources there are; the legacy form and the aggregated one.

kubectl asks for the aggregated form (apidiscovery.k8s.io v2) at ``/api`` and ``/apis`` and fits its cache to
it; others walk the groups one by one.
"""

from __future__ import annotations

import platform
import re

from multinet.apiserver.codec import JSON, encode
from multinet.apiserver.errors import no_such_path
from multinet.apiserver.resources import ResourceType, Types, Version
from multinet.model.objects import Obj

Answer = tuple[bytes, str]
KUBERNETES = "v1.37.0"
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
_SUBRESOURCE_KINDS = {
    "binding": ("", "v1", "Binding", ("create",)),
    "log": ("", "v1", "Pod", ("get",)),
    "exec": ("", "v1", "PodExecOptions", ("create", "get")),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
    "scale": ("autoscaling", "v1", "Scale", ("get", "patch", "update")),
}


def answer(types: Types, path: str, accept: str) -> Answer | None:
    """Return body and content type for a discovery path; None if it is none."""
    parts = path.strip("/").split("/")
    if path == "/version":
        return encode(_version()), JSON
    if path == "/" or path == "":
        return encode({"paths": _paths(types)}), JSON
    if parts[0] == "api" and len(parts) == 1:
        return _aggregated(types, accept, core=True) or (encode(_core_versions(types)), JSON)
    if parts[0] == "apis" and len(parts) == 1:
        return _aggregated(types, accept, core=False) or (encode(_group_list(types)), JSON)
    if parts[0] == "apis" and len(parts) == 2:
        return encode({"kind": "APIGroup", "apiVersion": "v1", **_group(types, parts[1])}), JSON
    if parts[0] == "api" and len(parts) == 2:
        return encode(_resource_list(types, "", parts[1])), JSON
    if parts[0] == "apis" and len(parts) == 3:
        return encode(_resource_list(types, parts[1], parts[2])), JSON
    return None


def _version() -> Obj:
    major, minor = KUBERNETES.removeprefix("v").split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"{KUBERNETES}+multinet",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": "cpython",
        "platform": "linux/amd64",
    }


def _paths(types: Types) -> list[str]:
    paths = ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
    for group, members in types.groups().items():
        for version in _group_versions(members):
            paths.append(f"/apis/{group}/{version}" if group else f"/api/{version}")
    return sorted(paths)


def _group_versions(members: list[ResourceType]) -> list[str]:
    names = {version.name for member in members for version in member.versions}
    return sorted(names, key=_priority)


def _priority(version: str) -> tuple[int, int, int, str]:
    """Order versions as Kubernetes does: GA before beta before alpha, newer first."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if match is None:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), version)


def _core_versions(types: Types) -> Obj:
    return {
        "kind": "APIVersions",
        "versions": _group_versions(types.groups().get("", [])),
        "serverAddressByClientCIDRs": [],
    }


def _group_list(types: Types) -> Obj:
    groups = [_group(types, name) for name in types.groups() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _group(types: Types, name: str) -> Obj:
    members = types.groups().get(name)
    if not members:
        raise no_such_path()
    versions = [{"groupVersion": f"{name}/{v}", "version": v} for v in _group_versions(members)]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _resource_list(types: Types, group: str, version: str) -> Obj:
    members = [m for m in types.groups().get(group, ()) if m.version(version)]
    if not members:
        raise no_such_path()
    resources: list[Obj] = []
    for member in members:
        resources.append(_resource(member))
        resources += [_subresource(member, name) for name in member.subresources]
    group_version = f"{group}/{version}" if group else version
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": resources,
    }


def _resource(member: ResourceType) -> Obj:
    resource: Obj = {
        "name": member.plural,
        "singularName": member.singular or member.kind.lower(),
        "namespaced": member.namespaced,
        "kind": member.kind,
        "verbs": list(member.verbs),
    }
    if member.short_names:
        resource["shortNames"] = list(member.short_names)
    if member.categories:
        resource["categories"] = list(member.categories)
    return resource


def _subresource(member: ResourceType, name: str) -> Obj:
    group, version, kind, verbs = _subresource_kind(member, name)
    resource: Obj = {
        "name": f"{member.plural}/{name}",
        "singularName": "",
        "namespaced": member.namespaced,
        "kind": kind,
        "verbs": list(verbs),
    }
    # Named where it is another than the resource's: kubectl drain looks for the group of the eviction.
    return resource | ({"group": group, "version": version} if group not in ("", member.group) else {})


def _subresource_kind(member: ResourceType, name: str) -> tuple[str, str, str, tuple[str, ...]]:
    if name in _SUBRESOURCE_KINDS:
        return _SUBRESOURCE_KINDS[name]
    return (member.group, member.storage, member.kind, ("get", "patch", "update"))


def _aggregated(types: Types, accept: str, *, core: bool) -> Answer | None:
    asked = accept.replace(" ", "")
    version = next((v for v in ("v2", "v2beta1") if f"g=apidiscovery.k8s.io;v={v};" in f"{asked};"), None)
    if version is None:
        return None
    items = []
    for name, members in types.groups().items():
        if bool(name) == core:
            continue
        metadata: Obj = {"creationTimestamp": None}
        if name:
            metadata["name"] = name
        versions = [_aggregated_version(members, v) for v in _group_versions(members)]
        items.append({"metadata": metadata, "versions": versions})
    body = {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }
    return encode(body), _AGGREGATED.format(version)


def _aggregated_version(members: list[ResourceType], version: str) -> Obj:
    served = [(m, found) for m in members if (found := m.version(version)) is not None]
    return {
        "version": version,
        "freshness": "Current",
        "resources": [_aggregated_resource(member, found) for member, found in served],
    }


def _aggregated_resource(member: ResourceType, version: Version) -> Obj:
    resource: Obj = {
        "resource": member.plural,
        "responseKind": {"group": member.group, "version": version.name, "kind": member.kind},
        "scope": "Namespaced" if member.namespaced else "Cluster",
        "singularResource": member.singular or member.kind.lower(),
        "verbs": list(member.verbs),
    }
    if member.short_names:
        resource["shortNames"] = list(member.short_names)
    if member.categories:
        resource["categories"] = list(member.categories)
    if member.subresources:
        resource["subresources"] = [_aggregated_subresource(member, name) for name in member.subresources]
    return resource


def _aggregated_subresource(member: ResourceType, name: str) -> Obj:
    group, version, kind, verbs = _subresource_kind(member, name)
    return {
        "subresource": name,
        "responseKind": {"group": group, "version": version, "kind": kind},
        "verbs": list(verbs),
    }
