"""The delegating plugin with what is beyond the standard: Device Information 1.1.0, and Multus' extensions.

Where a plugin of a network declares ``CNIDeviceInfoFile`` it is told a file for what it knows of its device;
what the file then says is in the status. Files are in the one folder that the specification names, so this
plugin runs in namespaces of its own only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from conformance.api import ApiError
from conformance.mutants import chain
from conformance.mutants.chain import Attachment
from conformance.mutants.meta import Meta
from multinet.model.objects import Obj
from multinet.model.selected import NetworkSelection
from multinet.model.selection import EXTENSION_MULTUS, parse

DEVICES = Path("/var/run/k8s.cni.cncf.io/devinfo/cni")
_CAPABILITY = "CNIDeviceInfoFile"
_NOT_FOUND = 404


class Extended(Meta):
    """One call of the plugin."""

    extensions = frozenset({EXTENSION_MULTUS})
    default_key = "v1.multus-cni.io/default-network"

    # -- Multus' extensions ----------------------------------------------------------------------------------

    def parsed(self, text: str) -> Sequence[NetworkSelection]:
        """Also ``name@interface`` and ``interfaceRequest``."""
        found = parse(text, pod_namespace=self.namespace, extensions=self.extensions)
        old = [str(raw.get("interfaceRequest", "")) for raw in self.raw(text, found)]
        return [replace(one, interface=one.interface or name) for one, name in zip(found, old, strict=True)]

    def raw(self, text: str, found: Sequence[NetworkSelection]) -> list[Obj]:
        """The elements as they were written; empty ones for the short form."""
        return json.loads(text) if text.lstrip().startswith("[") else [{} for _ in found]

    def wishes(self, one: NetworkSelection) -> Obj:
        """Also ``deviceID``, and ``hostIP`` of port mappings."""
        text = self.annotation(self.read_pod())
        found = self.parsed(text)
        raw = self.raw(text, found)[next(place for place, each in enumerate(found) if each == one)]
        made = super().wishes(one)
        if self.device_id(raw):
            made["deviceID"] = self.device_id(raw)
        for given, mapping in zip(raw.get("portMappings") or (), made.get("portMappings", ()), strict=False):
            if self.host_address(given):
                mapping["hostIP"] = self.host_address(given)
        return made

    def device_id(self, raw: Obj) -> str:
        """The device a selection asks for."""
        return str(raw.get("deviceID", ""))

    def host_address(self, mapping: Obj) -> str:
        """The host's address that a port mapping is for."""
        return str(mapping.get("hostIP", ""))

    def without_capability(self, one: NetworkSelection, key: str) -> None:
        """A device id is no request that somebody must be able to meet."""
        if key != "deviceID":
            super().without_capability(one, key)

    def isolated(self, one: NetworkSelection) -> None:
        """The namespace ``default`` is everybody's."""
        if self.namespace_of(one) != "default":
            super().isolated(one)

    def default(self) -> Attachment:
        """A pod may name its default network."""
        usual = super().default()
        try:
            wanted = self.wanted_default(self.read_pod())
        except ApiError:
            return usual  # the pod is gone, and is to be torn down
        if not wanted:
            return usual
        namespace, _, name = wanted.rpartition("/")
        nad = self.nad(namespace or "kube-system", name)
        return replace(usual, network=self.named((nad.get("spec") or {}).get("config"), name))

    def wanted_default(self, pod: Obj) -> str:
        """The annotation."""
        return str((pod["metadata"].get("annotations") or {}).get(self.default_key, ""))

    def nad(self, namespace: str, name: str) -> Obj:
        """The object; an Event tells where there is none."""
        try:
            return super().nad(namespace, name)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                self.tell("Warning", "NoNetworkFound", f"{namespace}/{name}")
            raise

    def tell(self, kind: str, reason: str, message: str) -> None:
        """An Event of the pod."""
        event: Obj = {"apiVersion": "v1", "kind": "Event", "type": kind, "reason": reason, "message": message}
        event["metadata"] = {"generateName": f"{self.pod}.", "namespace": self.namespace}
        event["involvedObject"] = {"kind": "Pod", "namespace": self.namespace, "name": self.pod}
        self.api.create(f"/api/v1/namespaces/{self.namespace}/events", event)

    # -- device information ----------------------------------------------------------------------------------

    def attach(self, attached: Attachment) -> None:
        """Tell the file before, and an Event afterwards."""
        if self.is_told(attached):
            attached.wishes = {**attached.wishes, _CAPABILITY: str(self.device_file(attached))}
        super().attach(attached)
        self.tell("Normal", "AddedInterface", f"{attached.ifname} of {attached.name}")

    def is_told(self, attached: Attachment) -> bool:
        """Whether a plugin of the network declares the capability."""
        return _CAPABILITY in chain.capabilities(attached.network)

    def device_file(self, attached: Attachment) -> Path:
        """A file name of the attachment's own."""
        return DEVICES / f"{self.env['CNI_CONTAINERID']}-{attached.ifname}-device.json"

    def detach(self, attached: Attachment) -> None:
        """The file goes with the attachment."""
        super().detach(attached)
        self.forget_device(attached)

    def forget_device(self, attached: Attachment) -> None:
        """Delete its file."""
        self.device_file(attached).unlink(missing_ok=True)

    def entry(self, attached: Attachment) -> Obj:
        """With what the file says."""
        made = super().entry(attached)
        try:
            device = json.loads(self.device_file(attached).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return made
        return {**made, **self.of_device(device, attached)}

    def of_device(self, device: Any, attached: Attachment) -> Obj:
        """What the status says of it."""
        del attached
        return {"device-info": device}
