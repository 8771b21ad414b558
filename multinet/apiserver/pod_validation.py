"""What is wrong with a pod's spec, in the API server's words.

Source: kubernetes ``pkg/apis/core/validation`` (ValidatePodSpec); the parts a user of a lab meets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from multinet.apiserver.errors import (
    FieldError,
    duplicate,
    field_forbidden,
    invalid_value,
    not_found_value,
    required,
    unsupported,
)
from multinet.apiserver.names import dns_label, dns_subdomain, label_value, qualified_name
from multinet.apiserver.pod_defaults import CONTAINER_LISTS
from multinet.model.objects import Obj
from multinet.model.quantities import quantity

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_FIELDS = (
    *("metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName"),
    *("status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"),
)
_REFERENCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef")
_ONE_REFERENCE = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_COUNTS = "initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold"
_SECONDS_MAX = 2**31 - 1
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def validate(pod: Obj) -> Iterator[FieldError]:
    """Yield what is wrong with a pod's spec."""
    spec = pod.get("spec")
    if not isinstance(spec, dict):
        yield required("spec.containers")
        return
    volumes: set[str] = set()
    yield from _volume_findings(spec.get("volumes") or (), volumes)
    if not spec.get("containers"):
        yield required("spec.containers")
    seen: set[str] = set()
    for field in CONTAINER_LISTS:
        for index, container in enumerate(spec.get(field) or ()):
            yield from _container_findings(container, f"spec.{field}[{index}]", seen, volumes)
    yield from _host_port_findings(spec)
    for field, allowed in (
        ("restartPolicy", ("Always", "OnFailure", "Never")),
        ("dnsPolicy", ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")),
    ):
        if spec.get(field) not in (None, *allowed):
            yield unsupported(f"spec.{field}", spec[field], allowed)
    for key, value in (spec.get("nodeSelector") or {}).items():
        for text, wrong in ((key, qualified_name(key)), (value, label_value(value))):
            if wrong:
                yield invalid_value("spec.nodeSelector", text, wrong)
    if spec.get("dnsPolicy") == "None":
        yield from _own_dns_findings(spec.get("dnsConfig"))
    yield from _name_findings(spec)
    yield from _time_findings(spec)
    for index, toleration in enumerate(spec.get("tolerations") or ()):
        yield from _toleration_findings(toleration, f"spec.tolerations[{index}]")


def _own_dns_findings(config: Any) -> Iterator[FieldError]:
    if not config:
        yield required("spec.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")
    elif not config.get("nameservers"):
        detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        yield required("spec.dnsConfig.nameservers", detail)


def _name_findings(spec: Obj) -> Iterator[FieldError]:
    for field, check in (
        ("serviceAccountName", dns_subdomain),
        ("nodeName", dns_subdomain),
        ("hostname", dns_label),
        ("subdomain", dns_label),
    ):
        if (text := spec.get(field)) and (wrong := check(text)):
            yield invalid_value(f"spec.{field}", text, wrong)


def _time_findings(spec: Obj) -> Iterator[FieldError]:
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= _SECONDS_MAX:
        detail = f"must be between 1 and {_SECONDS_MAX}, inclusive"
        yield invalid_value("spec.activeDeadlineSeconds", deadline, detail)
    grace = spec.get("terminationGracePeriodSeconds")
    if not isinstance(grace, int) or grace < 0:
        yield invalid_value("spec.terminationGracePeriodSeconds", grace, "must be greater than or equal to 0")


def _toleration_findings(toleration: Obj, path: str) -> Iterator[FieldError]:
    key, operator, effect = (toleration.get(field) or "" for field in ("key", "operator", "effect"))
    if key and (wrong := qualified_name(key)):
        yield invalid_value(f"{path}.key", key, wrong)
    if not key and operator != "Exists":
        detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield invalid_value(f"{path}.operator", operator, detail)
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        detail = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        yield invalid_value(f"{path}.effect", effect, detail)
    if operator == "Exists" and toleration.get("value"):
        detail = "value must be empty when `operator` is 'Exists'"
        yield invalid_value(f"{path}.operator", toleration["value"], detail)
    elif operator not in ("", "Equal", "Exists"):
        yield unsupported(f"{path}.operator", operator, ("Equal", "Exists"))
    if effect not in ("", *_EFFECTS):
        yield unsupported(f"{path}.effect", effect, _EFFECTS)


def _volume_findings(volumes: Sequence[Obj], names: set[str]) -> Iterator[FieldError]:
    """``names`` takes those that mounts may refer to."""
    for index, volume in enumerate(volumes):
        path = f"spec.volumes[{index}]"
        found = list(_source_findings(volume, path))
        name = volume.get("name") or ""
        if not name:
            found.append(required(f"{path}.name"))
        elif wrong := dns_label(name):
            found.append(invalid_value(f"{path}.name", name, wrong))
        elif name in names:
            found.append(duplicate(f"{path}.name", name))
        if not found:
            names.add(name)
        yield from found


def _source_findings(volume: Obj, path: str) -> Iterator[FieldError]:
    sources = [kind for kind, source in volume.items() if isinstance(source, dict)]
    for kind in sources[1:]:
        yield field_forbidden(f"{path}.{kind}", "may not specify more than 1 volume type")
    for kind, field in (("hostPath", "path"), ("secret", "secretName"), ("configMap", "name")):
        if kind in sources[:1] and not volume[kind].get(field):
            yield required(f"{path}.{kind}.{field}")


def _container_findings(container: Obj, path: str, seen: set[str], volumes: set[str]) -> Iterator[FieldError]:
    name = container.get("name")
    if not name:
        yield required(f"{path}.name")
    elif wrong := dns_label(name):
        yield invalid_value(f"{path}.name", name, wrong)
    elif name in seen:
        yield duplicate(f"{path}.name", name)
    else:
        seen.add(name)
    if not container.get("image"):
        yield required(f"{path}.image")
    if container.get("imagePullPolicy") not in ("Always", "IfNotPresent", "Never"):
        yield unsupported(
            f"{path}.imagePullPolicy", container.get("imagePullPolicy"), ("Always", "IfNotPresent", "Never")
        )
    for index, port in enumerate(container.get("ports") or ()):
        yield from _port_findings(port, f"{path}.ports[{index}]")
    for index, item in enumerate(container.get("env") or ()):
        yield from _env_findings(item, f"{path}.env[{index}]")
    for kind in _PROBES:
        if (probe := container.get(kind)) is not None:
            yield from _handler_findings(probe, f"{path}.{kind}")
            for field in _COUNTS.split():
                if (probe.get(field) or 0) < 0:
                    detail = "must be greater than or equal to 0"
                    yield invalid_value(f"{path}.{kind}.{field}", probe[field], detail)
    for kind in ("postStart", "preStop"):
        if (hook := (container.get("lifecycle") or {}).get(kind)) is not None:
            yield from _handler_findings(hook, f"{path}.lifecycle.{kind}")
    yield from _mount_findings(container.get("volumeMounts") or (), f"{path}.volumeMounts", volumes)
    yield from _resource_findings(container.get("resources") or {}, f"{path}.resources")


def _handler_findings(holder: Obj, path: str) -> Iterator[FieldError]:
    """Of a probe or a hook: one handler, and its port."""
    found = [kind for kind in _HANDLERS if holder.get(kind) is not None]
    if not found:
        yield required(path, "must specify a handler type")
    for kind in found[1:]:
        yield field_forbidden(f"{path}.{kind}", "may not specify more than 1 handler type")
    for kind in found[:1]:
        inner = f"{path}.{kind}"
        if kind == "exec" and not holder[kind].get("command"):
            yield required(f"{inner}.command")
        port = holder[kind].get("port") or 0
        if kind in ("httpGet", "tcpSocket", "grpc") and not isinstance(port, str) and not 1 <= port <= 65535:
            yield invalid_value(f"{inner}.port", port, "must be between 1 and 65535, inclusive")


def _port_findings(port: Obj, path: str) -> Iterator[FieldError]:
    """``hostPort`` 0 is none."""
    for field in ("containerPort", "hostPort"):
        number = port.get(field) or 0
        if not number:
            if field == "containerPort":
                yield required(f"{path}.{field}")
        elif not 1 <= number <= 65535:
            yield invalid_value(f"{path}.{field}", number, "must be between 1 and 65535, inclusive")
    if port.get("protocol", "TCP") not in _PROTOCOLS:
        yield unsupported(f"{path}.protocol", port["protocol"], _PROTOCOLS)


def _host_port_findings(spec: Obj) -> Iterator[FieldError]:
    for field in CONTAINER_LISTS:
        taken: set[str] = set()
        for index, container in enumerate(spec.get(field) or ()):
            for position, port in enumerate(container.get("ports") or ()):
                path = f"spec.{field}[{index}].ports[{position}].hostPort"
                number = port.get("hostPort") or 0
                if spec.get("hostNetwork") and number != port.get("containerPort"):
                    detail = "must match `containerPort` when `hostNetwork` is true"
                    yield invalid_value(path, number, detail)
                held = f"{port.get('protocol', 'TCP')}/{port.get('hostIP', '')}/{number}"
                if number and field == "containers" and held in taken:
                    yield duplicate(path, held)
                taken.add(held)


def _env_findings(item: Obj, path: str) -> Iterator[FieldError]:
    name, source = item.get("name") or "", item.get("valueFrom")
    if not name:
        yield required(f"{path}.name")
    elif "=" in name or not (name.isascii() and name.isprintable()):
        detail = (
            "a valid environment variable name must consist only of printable ASCII characters other than '='"
        )
        yield invalid_value(f"{path}.name", name, detail)
    if source is None:
        return
    references = [kind for kind in _REFERENCES if kind in source]
    if not source:
        yield invalid_value(f"{path}.valueFrom", "", _ONE_REFERENCE)
    elif item.get("value"):
        yield invalid_value(f"{path}.valueFrom", "", "may not be specified when `value` is not empty")
    elif len(references) > 1:
        yield invalid_value(f"{path}.valueFrom", "", "may not have more than one field specified at a time")
    if "fieldRef" in source:
        wanted, inner = source["fieldRef"].get("fieldPath") or "", f"{path}.valueFrom.fieldRef.fieldPath"
        if not wanted:
            yield required(inner)
        elif wanted in ("metadata.labels", "metadata.annotations"):
            yield unsupported(inner, wanted, _FIELDS)
        elif wanted not in _FIELDS and "[" not in wanted:
            detail = f"error converting fieldPath: field label not supported: {wanted}"
            yield invalid_value(inner, wanted, detail)


def _mount_findings(mounts: Sequence[Obj], path: str, volumes: set[str]) -> Iterator[FieldError]:
    taken: set[str] = set()
    for index, mount in enumerate(mounts):
        name, where = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield required(f"{path}[{index}].name")
        if name not in volumes:
            yield not_found_value(f"{path}[{index}].name", name)
        if not where:
            yield required(f"{path}[{index}].mountPath")
        if where in taken:
            yield invalid_value(f"{path}[{index}].mountPath", where, "must be unique")
        taken.add(where)


def _resource_findings(resources: Obj, path: str) -> Iterator[FieldError]:
    """A request is at most its limit; quantities were read when defaults were filled in."""
    limits = resources.get("limits") or {}
    for name, asked in (resources.get("requests") or {}).items():
        if name in limits and quantity(asked, path) > quantity(limits[name], path):
            detail = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid_value(f"{path}.requests", asked, detail)
    for kind in ("limits", "requests"):
        for name, amount in (resources.get(kind) or {}).items():
            if quantity(amount, path) < 0:
                yield invalid_value(f"{path}.{kind}[{name}]", amount, "must be greater than or equal to 0")
