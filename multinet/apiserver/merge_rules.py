"""How strategic merge patch merges the lists of the built-in kinds.

Source: the ``patchStrategy``/``patchMergeKey`` tags of k8s.io/api ``core/v1/types.go``. Lists not named here
are replaced whole.
"""

from __future__ import annotations

from multinet.apiserver.resources import Merge

_VALUES = Merge(primitive=True)
_CONDITIONS = Merge(fields={"conditions": Merge("type")})
_METADATA = Merge(fields={"finalizers": _VALUES, "ownerReferences": Merge("uid")})
_CONTAINER = Merge(
    "name",
    fields={
        "ports": Merge("containerPort"),
        "env": Merge("name"),
        "volumeMounts": Merge("mountPath"),
        "volumeDevices": Merge("devicePath"),
    },
)
_POD_SPEC = Merge(
    fields={
        "containers": _CONTAINER,
        "initContainers": _CONTAINER,
        "ephemeralContainers": _CONTAINER,
        "volumes": Merge("name", retain_keys=True),
        "imagePullSecrets": Merge("name"),
        "hostAliases": Merge("ip"),
        "topologySpreadConstraints": Merge("topologyKey"),
        "schedulingGates": Merge("name"),
        "resourceClaims": Merge("name", retain_keys=True),
    }
)
POD = Merge(
    fields={
        "metadata": _METADATA,
        "spec": _POD_SPEC,
        "status": Merge(fields={"conditions": Merge("type"), "podIPs": Merge("ip"), "hostIPs": Merge("ip")}),
    }
)
WORKLOAD = Merge(
    fields={
        "metadata": _METADATA,
        "spec": Merge(
            fields={"template": Merge(fields={"spec": _POD_SPEC}), "strategy": Merge(retain_keys=True)}
        ),
        "status": _CONDITIONS,
    }
)
NODE = Merge(
    fields={
        "metadata": _METADATA,
        "spec": Merge(fields={"podCIDRs": _VALUES}),
        "status": Merge(fields={"conditions": Merge("type"), "addresses": Merge("type")}),
    }
)
SERVICE = Merge(
    fields={"metadata": _METADATA, "spec": Merge(fields={"ports": Merge("port")}), "status": _CONDITIONS}
)
SERVICE_ACCOUNT = Merge(
    fields={"metadata": _METADATA, "secrets": Merge("name"), "imagePullSecrets": Merge("name")}
)
CRD = Merge(fields={"metadata": _METADATA})
