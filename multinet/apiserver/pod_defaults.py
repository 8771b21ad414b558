"""What the API server fills in where a pod says nothing, and the class of service that follows from it.

Source: kubernetes ``pkg/apis/core/v1/defaults.go``, the admission plugins DefaultTolerationSeconds and
Priority, and ``pkg/apis/core/v1/helper/qos``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from multinet.apiserver.errors import bad_request
from multinet.errors import InputError
from multinet.model.objects import Obj
from multinet.model.quantities import quantity

DEFAULT_GRACE = 30
CONTAINER_LISTS = ("containers", "initContainers")
_MODE = 0o644
_TOKEN_S = 3600
_MODED = ("configMap", "secret", "downwardAPI", "projected")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_COMPUTE = ("cpu", "memory")
_QUANTITY = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"


def fill_in(spec: Obj) -> None:
    """The defaults of a new pod's spec."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", DEFAULT_GRACE)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    _default_tolerations(spec)
    fill_in_parts(spec)


def fill_in_parts(spec: Obj) -> None:
    """The defaults of its volumes and containers."""
    for volume in _maps(spec.get("volumes")):
        _default_volume(volume)
    for container in containers_of(spec):
        _default_container(container, host_network=bool(spec.get("hostNetwork")))


def containers_of(spec: Obj) -> Iterator[Obj]:
    """Its containers and init containers."""
    for field in CONTAINER_LISTS:
        yield from _maps(spec.get(field))


def _maps(held: Any) -> Iterator[Obj]:
    if isinstance(held, list):
        yield from (item for item in held if isinstance(item, dict))


def _default_tolerations(spec: Obj) -> None:
    held = spec.setdefault("tolerations", [])
    if not isinstance(held, list):
        return
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(isinstance(one, dict) and one.get("key") in (key, None, "") for one in held):
            held.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})


def _default_volume(volume: Obj) -> None:
    if not any(isinstance(source, dict) for source in volume.values()):
        volume["emptyDir"] = {}
    for kind in _MODED:
        if isinstance(source := volume.get(kind), dict):
            source.setdefault("defaultMode", _MODE)
            for one in (source, *_maps(source.get("sources"))):
                _default_source(one)
            _default_fields(source.get("items") if kind == "downwardAPI" else ())
    if isinstance(source := volume.get("hostPath"), dict):
        source.setdefault("type", "")


def _default_source(source: Obj) -> None:
    """One of a projected volume's."""
    if isinstance(token := source.get("serviceAccountToken"), dict):
        token.setdefault("expirationSeconds", _TOKEN_S)
    if isinstance(downward := source.get("downwardAPI"), dict):
        _default_fields(downward.get("items"))


def _default_fields(items: Any) -> None:
    for item in _maps(items):
        if isinstance(reference := item.get("fieldRef"), dict):
            reference.setdefault("apiVersion", "v1")


def _default_container(container: Obj, *, host_network: bool) -> None:
    image = str(container.get("image", ""))
    tag = image.rpartition("/")[2].partition(":")[2]
    always = tag in ("", "latest") and "@" not in image
    container.setdefault("imagePullPolicy", "Always" if always else "IfNotPresent")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    _default_resources(container.setdefault("resources", {}))
    for port in _maps(container.get("ports")):
        port.setdefault("protocol", "TCP")
        if host_network and not port.get("hostPort") and "containerPort" in port:
            port["hostPort"] = port["containerPort"]
    _default_fields([one.get("valueFrom") for one in _maps(container.get("env"))])
    for name in _PROBES:
        if isinstance(probe := container.get(name), dict):
            for field, value in _PROBE.items():
                probe[field] = probe.get(field) or value
            _default_http(probe)
    for hook in _hooks(container):
        _default_http(hook)


def _hooks(container: Obj) -> Iterable[Obj]:
    lifecycle = container.get("lifecycle")
    return _maps(list(lifecycle.values())) if isinstance(lifecycle, dict) else ()


def _default_http(handler: Obj) -> None:
    if isinstance(asked := handler.get("httpGet"), dict):
        asked["path"] = asked.get("path") or "/"
        asked.setdefault("scheme", "HTTP")


def _default_resources(resources: Any) -> None:
    """Requests are as the limits where they are not given; a quantity is a text."""
    if not isinstance(resources, dict):
        return
    for kind in ("limits", "requests"):
        if isinstance(held := resources.get(kind), dict):
            for name, value in held.items():
                held[name] = _text(value)
    if limits := resources.get("limits"):
        resources["requests"] = {**limits, **(resources.get("requests") or {})}


def _text(value: Any) -> str:
    try:
        quantity(value, "")
    except InputError:
        why = f"quantities must match the regular expression '{_QUANTITY}'"
        raise bad_request(f'Pod in version "v1" cannot be handled as a Pod: {why}') from None
    return str(value)


def qos_class(spec: Obj) -> str:
    """Guaranteed, Burstable or BestEffort, by what the containers ask of processor and memory."""
    held = [_compute(container) for container in containers_of(spec)]
    if not any(limits or requests for limits, requests in held):
        return "BestEffort"
    whole = all(len(limits) == len(_COMPUTE) and limits == requests for limits, requests in held)
    return "Guaranteed" if whole else "Burstable"


def _compute(container: Obj) -> tuple[Obj, Obj]:
    found = []
    for kind in ("limits", "requests"):
        amounts = (container.get("resources") or {}).get(kind) or {}
        known = {name: quantity(amounts[name], "") for name in _COMPUTE if name in amounts}
        found.append({name: amount for name, amount in known.items() if amount})
    return found[0], found[1]
