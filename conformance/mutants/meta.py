"""A delegating implementation of the multi-network standard, as small as a plain reading of it allows.

It is a CNI plugin that reads the pod and its NADs from the Kubernetes API and calls other plugins: those of
the default network, then those of each selected one. Nothing here is meant for use: it exists so that the
suite has a delegating target on any machine, and so that its faults are known
(:mod:`conformance.mutants.faults`). Every decision is a method, for a fault to replace.

Its configuration: ``kubeconfig``, ``stateDir``, ``confDir`` (files of 3.4.1), ``default`` (the default
network's), ``namespaceIsolation``, ``readyFile``.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from conformance.api import NADS, PODS, Api, ApiError
from conformance.mutants import chain
from conformance.mutants.chain import Attachment, RefusedError
from multinet.errors import MultinetError
from multinet.model.objects import Obj
from multinet.model.selected import NetworkSelection
from multinet.model.selection import parse

VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]
_TRY_LATER = 11
_DNS = ("nameservers", "domain", "search")


class Meta:
    """One call of the plugin."""

    networks_key = "k8s.v1.cni.cncf.io/networks"
    status_key = "k8s.v1.cni.cncf.io/network-status"

    def __init__(self, config: Obj, env: dict[str, str]) -> None:
        self.config = config
        self.env = env
        self.api = Api(Path(config["kubeconfig"]))
        pairs = (pair.partition("=") for pair in env.get("CNI_ARGS", "").split(";"))
        args = {key: value for key, _, value in pairs}
        self.namespace = args.get("K8S_POD_NAMESPACE", "")
        self.pod = args.get("K8S_POD_NAME", "")

    # -- the commands ----------------------------------------------------------------------------------------

    def add(self) -> Obj:
        """Attach the default network, then the selected ones; the default network's result."""
        self.wait_until_ready()
        pod = self.read_pod()
        planned = self.order([self.default(), *self.selected(pod)])
        done: list[Attachment] = []
        for attached in planned:
            done.append(attached)
            self.save(done)
            self.attach(attached)
        self.save(done)
        self.publish(done)
        return self.to_runtime(next(one for one in done if one.default).result or {})

    def delete(self) -> None:
        """Detach what was attached or tried, whatever fails; then say that something did."""
        failed: list[str] = []
        for attached in self.teardown_order(self.known()):
            try:
                self.detach(attached)
            except RefusedError as error:
                self.on_failed_detachment(attached, error, failed)
        if failed:
            raise RefusedError(100, f"not detached: {'; '.join(failed)}")
        self.forget()

    def check(self) -> None:
        """Nothing of its own; the networks' plugins are not asked."""

    # -- what to attach --------------------------------------------------------------------------------------

    def wait_until_ready(self) -> None:
        """Not before the default network is ready (6.1.2)."""
        ready = self.config.get("readyFile")
        if ready and not Path(ready).exists():
            raise RefusedError(_TRY_LATER, "the default network is not ready yet")

    def read_pod(self) -> Obj:
        """The pod, as the API has it."""
        return self.api.get(f"{PODS.format(self.namespace)}/{self.pod}")

    def annotation(self, pod: Obj) -> str:
        """The selection (4.1)."""
        return str((pod["metadata"].get("annotations") or {}).get(self.networks_key, ""))

    def parsed(self, text: str) -> Sequence[NetworkSelection]:
        """The selection's elements (4.1.1, 4.1.2)."""
        return parse(text, pod_namespace=self.namespace)

    def default(self) -> Attachment:
        """The default network; what the runtime gives for the pod is for it (7.5)."""
        net = chain.network(self.config["default"], "default")
        wishes = self.config.get("runtimeConfig") or {}
        return Attachment(net, self.env["CNI_IFNAME"], net["name"], self.for_default(wishes), default=True)

    def for_default(self, wishes: Obj) -> Obj:
        """What the runtime gave that reaches the default network."""
        return wishes

    def for_selected(self, wishes: Obj) -> Obj:
        """What the runtime gave that reaches other networks: nothing."""
        del wishes
        return {}

    def selected(self, pod: Obj) -> list[Attachment]:
        """The selected networks, in the order of the annotation (4.2: each is an attachment of its own)."""
        chosen = list(self.parsed(self.annotation(pod)))
        taken = [self.env["CNI_IFNAME"], *(one.interface for one in chosen if one.interface)]
        found: list[Attachment] = []
        for number, one in enumerate(chosen, start=1):
            name = self.interface(one) or self.new_interface(number, taken)
            if name == self.env["CNI_IFNAME"]:
                raise RefusedError(7, f"interface {name} is taken")
            taken.append(name)
            found.append(self.attachment(one, name))
        return found

    def interface(self, one: NetworkSelection) -> str:
        """The name asked for (4.1.2.1.5)."""
        return one.interface

    def new_interface(self, number: int, taken: Sequence[str]) -> str:
        """A name nobody has (4.2.1)."""
        candidates = (f"net{count}" for count in range(number, number + len(taken) + 1))
        return next(name for name in candidates if name not in taken)

    def attachment(self, one: NetworkSelection, ifname: str) -> Attachment:
        """One element with its NAD; what no plugin of the list can do fails the request (4.1.2.1.3.2 ...)."""
        if one.default_route is not None:
            raise RefusedError(7, "default-route is not offered")
        net = self.definition(one)
        wishes = self.wishes(one)
        for key in wishes.keys() - chain.capabilities(net):
            self.without_capability(one, key)
        wishes |= self.for_selected(self.config.get("runtimeConfig") or {})
        args = self.cni_args(one)
        return Attachment(net, ifname, f"{self.namespace_of(one)}/{one.name}", wishes, args)

    def namespace_of(self, one: NetworkSelection) -> str:
        """Where the NAD is (4.1.2.1.2)."""
        return one.namespace

    def wishes(self, one: NetworkSelection) -> Obj:
        """The element's keys as capability arguments."""
        wishes: Obj = {}
        if one.ips:
            wishes["ips"] = list(one.ips)
        if one.mac:
            wishes["mac"] = one.mac
        if one.port_mappings:
            wishes["portMappings"] = [
                {"hostPort": item.host_port, "containerPort": item.container_port, "protocol": item.protocol}
                for item in one.port_mappings
            ]
        if one.bandwidth is not None:
            wishes["bandwidth"] = one.bandwidth.to_spec()
        if one.infiniband_guid:
            wishes["infinibandGUID"] = one.infiniband_guid
        return wishes

    def cni_args(self, one: NetworkSelection) -> Obj:
        """The element's ``cni-args`` (4.1.2.1.6)."""
        return one.cni_args or {}

    def without_capability(self, one: NetworkSelection, key: str) -> None:
        """No plugin of the list can do it."""
        raise RefusedError(7, f"{one.nad}: no plugin of the network has the capability {key}")

    # -- where its configuration is (3.4) --------------------------------------------------------------------

    def definition(self, one: NetworkSelection) -> Obj:
        """The network a NAD stands for."""
        namespace = self.namespace_of(one)
        if self.config.get("namespaceIsolation") and namespace != self.namespace:
            self.isolated(one)
        nad = self.nad(namespace, one.name)
        text = (nad.get("spec") or {}).get("config")
        return self.named(text, one.name) if self.prefers_nad(text, one.name) else self.on_disk(one.name)

    def nad(self, namespace: str, name: str) -> Obj:
        """The object."""
        return self.api.get(f"{NADS.format(namespace)}/{name}")

    def isolated(self, one: NetworkSelection) -> None:
        """A pod may not select it (7.4)."""
        raise RefusedError(7, f"{one.nad}: NADs of other namespaces are not allowed")

    def prefers_nad(self, text: str | None, name: str) -> bool:
        """A config that is there is used, whatever is on the node (3.4.1)."""
        del name
        return bool(text)

    def named(self, text: Any, name: str) -> Obj:
        """The configuration in the NAD."""
        try:
            config = json.loads(text)
        except ValueError as error:
            raise RefusedError(6, f"{name}: spec.config is no JSON: {error}") from None
        return chain.network(config, name)

    def on_disk(self, name: str) -> Obj:
        """A list of that name, else a single configuration, else a failure (3.4.1)."""
        for endings in self.endings():
            for path in self.files(endings):
                try:
                    config = json.loads(path.read_text(encoding="utf-8"))
                except ValueError:
                    continue
                if self.is_named(path, config, name):
                    return chain.network(config, name)
        raise RefusedError(7, f"{name}: no configuration in the NAD, and none of that name on the node")

    def endings(self) -> Sequence[tuple[str, ...]]:
        """Lists come first."""
        return (".conflist", ".configlist"), (".conf", ".config")

    def files(self, endings: tuple[str, ...]) -> Iterable[Path]:
        """Files on the node."""
        return (path for path in sorted(Path(self.config["confDir"]).iterdir()) if path.suffix in endings)

    def is_named(self, path: Path, config: Any, name: str) -> bool:
        """By the name in the file, not that of the file."""
        del path
        return isinstance(config, dict) and config.get("name") == name

    # -- attach and detach -----------------------------------------------------------------------------------

    def order(self, planned: list[Attachment]) -> list[Attachment]:
        """The default network first (6.2)."""
        return planned

    def teardown_order(self, known: list[Attachment]) -> list[Attachment]:
        """The last one first."""
        return known[::-1]

    def attach(self, attached: Attachment) -> None:
        """All plugins of one network."""
        attached.result = self.run("ADD", attached)

    def detach(self, attached: Attachment) -> None:
        """All plugins of one network, the last one first."""
        self.run("DEL", attached)

    def on_failed_detachment(self, attached: Attachment, error: RefusedError, failed: list[str]) -> None:
        """Go on, and remember (7.2)."""
        failed.append(f"{attached.name}: {error}")

    def run(self, command: str, attached: Attachment) -> Obj | None:
        """One command on the list of an attachment; the last plugin's result."""
        result = attached.result
        previous = None if command == "ADD" else result
        for plugin in self.plugins(command, attached):
            config = self.request(command, plugin, attached, previous)
            answer = chain.execute(config, self.environment(command, attached), self.path())
            if command == "ADD":
                previous = result = answer
        return result

    def plugins(self, command: str, attached: Attachment) -> list[Obj]:
        """In the list's order, backwards for DEL."""
        plugins: list[Obj] = attached.network["plugins"]
        return plugins[::-1] if command == "DEL" else plugins

    def request(self, command: str, plugin: Obj, attached: Attachment, previous: Obj | None) -> Obj:
        """What one plugin receives."""
        del command
        return chain.request(attached.network, plugin, attached, previous)

    def environment(self, command: str, attached: Attachment) -> dict[str, str]:
        """The runtime's, with the attachment's interface (4.2.1)."""
        return {**os.environ, **self.env, "CNI_COMMAND": command, "CNI_IFNAME": attached.ifname}

    def path(self) -> list[str]:
        """Where plugins are."""
        return self.env.get("CNI_PATH", "").split(os.pathsep)

    # -- what is remembered ----------------------------------------------------------------------------------

    def state(self) -> Path:
        """The container's file."""
        return Path(self.config["stateDir"]) / f"{self.env['CNI_CONTAINERID']}.json"

    def save(self, attachments: Sequence[Attachment]) -> None:
        """Before each attempt, so that DEL knows of it."""
        path = self.state()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(one) for one in attachments]), encoding="utf-8")

    def known(self) -> list[Attachment]:
        """What ADD tried; where that can't be read, what the pod and its NADs say now (7.2)."""
        try:
            return [Attachment(**one) for one in json.loads(self.state().read_text(encoding="utf-8"))]
        except FileNotFoundError:
            return self.planned_again()
        except (ValueError, TypeError):
            return self.on_damaged_state()

    def on_damaged_state(self) -> list[Attachment]:
        """The file is of no use."""
        return self.planned_again()

    def planned_again(self) -> list[Attachment]:
        """As if it were attached now; the default network at the least."""
        try:
            return [self.default(), *self.selected(self.read_pod())]
        except (MultinetError, RefusedError):
            return [self.default()]

    def forget(self) -> None:
        """All is detached."""
        self.state().unlink(missing_ok=True)

    # -- what is told ----------------------------------------------------------------------------------------

    def to_runtime(self, result: Obj) -> Obj:
        """In the version that the runtime's configuration has (7.1)."""
        return chain.converted(result, self.config["cniVersion"])

    def publish(self, attachments: Sequence[Attachment]) -> None:
        """The status annotation (5)."""
        text = json.dumps(self.entries(attachments))
        change = {"metadata": {"annotations": {self.status_key: text}}}
        self.api.merge(f"{PODS.format(self.namespace)}/{self.pod}", change)

    def entries(self, attachments: Sequence[Attachment]) -> list[Obj]:
        """One for each attachment."""
        return [self.entry(one) for one in attachments]

    def entry(self, attached: Attachment) -> Obj:
        """What an attachment resulted in (5.1.1, 5.3)."""
        result = chain.converted(attached.result or {}, "1.0.0")
        made: Obj = {"name": attached.entry, "default": attached.default}
        index = self.sandbox_index(result["interfaces"])
        interface = {"name": attached.ifname} if not result["interfaces"] else {}
        if index is not None:
            interface = result["interfaces"][index]
        made |= self.of_interface(interface)
        old = not {"ip4", "ip6"}.isdisjoint(attached.result or {})
        ips = [item["address"] for item in result["ips"]] if old else self.addresses(result["ips"], index)
        if ips:
            made["ips"] = ips
        if result["dns"]:
            made["dns"] = {
                key: result["dns"][key] for key in ("nameservers", "domain", "search") if key in result["dns"]
            }
        return made

    def of_interface(self, interface: Obj) -> Obj:
        """Name and hardware address, which never comes alone (5.3.4)."""
        return {
            key: interface[source]
            for key, source in (("interface", "name"), ("mac", "mac"))
            if interface.get("name") and interface.get(source)
        }

    def sandbox_index(self, interfaces: Sequence[Obj]) -> int | None:
        """The first interface that is in a sandbox."""
        return next((place for place, item in enumerate(interfaces) if item.get("sandbox")), None)

    def addresses(self, ips: Sequence[Obj], index: int | None) -> list[str]:
        """Those of that interface; without one, the first that belongs to none (5.3.3.1)."""
        if index is not None:
            return [item["address"] for item in ips if item.get("interface") == index]
        free = [item["address"] for item in ips if item.get("interface") is None or item["interface"] < 0]
        return free[:1]


def main(kind: type[Meta] = Meta) -> int:
    """The executable: one call, the exit status."""
    env = {key: value for key, value in os.environ.items() if key.startswith("CNI_")}
    command = env.get("CNI_COMMAND", "")
    version = VERSIONS[-1]
    try:
        config = json.loads(sys.stdin.read())
        version = config.get("cniVersion", version)
        answer = _called(kind, command, config, env)
    except (RefusedError, MultinetError, ApiError) as error:
        return _refused(version, getattr(error, "code", 100), str(error))
    except ValueError as error:
        return _refused(version, 6, str(error))
    if answer is not None:
        json.dump(answer, sys.stdout)
    return 0


def _called(kind: type[Meta], command: str, config: Obj, env: dict[str, str]) -> Obj | None:
    if command == "VERSION":
        return {"cniVersion": config.get("cniVersion"), "supportedVersions": VERSIONS}
    if config.get("cniVersion") not in VERSIONS:
        raise RefusedError(1, f"cniVersion {config.get('cniVersion')} is not supported")
    meta = kind(config, env)
    match command:
        case "ADD":
            return meta.add()
        case "DEL":
            meta.delete()
        case "CHECK":
            meta.check()
        case _:
            raise RefusedError(4, f"CNI_COMMAND {command!r} is not supported")
    return None


def _refused(version: str, code: int, message: str) -> int:
    json.dump({"cniVersion": version, "code": code, "msg": message}, sys.stdout)
    return 1


if __name__ == "__main__":
    sys.exit(main())
