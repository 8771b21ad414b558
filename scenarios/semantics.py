"""What the parts of a scenario mean together: objects that can't work, names that lead nowhere.

Decision: a pod that selects a NAD which nothing applied before it defines is an *error*, not a warning. In a
run it would wait for its network until the time-out, and the report would say "timed out" instead of what
is wrong. Where that is the point of the step, it says ``expect: pending``. After a ``kubectl`` step that may
have made NADs (apply, create, replace, edit, patch) the names can't be known any more, and are not judged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from multinet.errors import InputError
from multinet.model import selection
from scenarios import networks
from scenarios.errors import nearest
from scenarios.loader import LoadedStep, Scenario
from scenarios.manifests import BY_WORD, KINDS, Manifest, Target, parse_reference
from scenarios.positions import Position, YamlPath
from scenarios.schema import split
from topology.podnetwork import PLACEHOLDERS

NETWORK = "opencontrail.org/network"
NETWORKS = "k8s.v1.cni.cncf.io/networks"
ROLES_ON_CP = ("apiserver", "controller", "scheduler", "configapi", "workloads", "nameserver")
ROLES_ON_NODES = ("kubelet", "vrouter")
ROLES = (*ROLES_ON_CP, *ROLES_ON_NODES)
_OWN_ROLES = frozenset({"controller", "configapi", "workloads", "nameserver", "vrouter"})
_DNS_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_PLACEHOLDER = re.compile(r"\$\([^)]*\)")
_MAKES_OBJECTS = frozenset({"apply", "create", "replace", "edit", "patch"})


@dataclass(slots=True)
class _Known:
    """What exists at a point of the scenario, as far as the file tells."""

    nads: set[str] = field(default_factory=set)
    pods: set[str] = field(default_factory=set)
    namespaces: set[str] = field(default_factory=lambda: {"default", "kube-system", "kube-public"})
    steps: list[str] = field(default_factory=list)
    open_ended: bool = False


def findings(scenario: Scenario) -> list[InputError]:
    """Everything that is wrong, in the order of the file."""
    known = _Known()
    found = [*_hosts(scenario), *_links(scenario), *_pod_network(scenario), *_left_out(scenario)]
    for step in scenario.steps:
        found += _step(scenario, step, known)
    return found


def _hosts(scenario: Scenario) -> Iterator[InputError]:
    taken = {"cp", "fabric", *scenario.node_names}
    for index, name in enumerate(scenario.host_names):
        if name in taken:
            where = scenario.document.at(("spec", "lab", "hosts", index))
            why = "cp, fabric, the nodes and earlier hosts have their names already"
            yield _error(where, f"the name {name!r} is taken", why, "give the host another")
        taken.add(name)


def _left_out(scenario: Scenario) -> Iterator[InputError]:
    """A run without the step that the failure needs would pass, and say nothing."""
    fuzz = scenario.content.spec.fuzz
    if fuzz is not None and fuzz.left_out:
        what = f"a scenario has no step for {', '.join(fuzz.left_out)}"
        why = "without it the run would not be what the fuzzer did"
        where = scenario.document.at(("spec", "fuzz"))
        yield _error(where, what, why, "multinet replay takes the fuzzer's own steps")


def _links(scenario: Scenario) -> Iterator[InputError]:
    machines = (*scenario.node_names, *scenario.host_names)
    taken = {*((name, "eth0") for name in machines), *((name, "lo") for name in machines)}
    for index, wire in enumerate(scenario.wires):
        where = scenario.document.at(("spec", "lab", "links", index))
        for name in wire.ends:
            if name not in machines:
                why = f"nodes and hosts are {', '.join(machines)}"
                yield _error(where, f"{name} is no end for a link", why, "name two of them")
            elif (name, wire.device) in taken:
                why = f"{name} has a {wire.device} already"
                yield _error(where, f"the NIC can't be called {wire.device}", why, "give it another device")
            taken.add((name, wire.device))


def _pod_network(scenario: Scenario) -> Iterator[InputError]:
    """What a lab can't do whose pods have a network of other plugins."""
    if scenario.pod_network is None:
        return
    why = "with spec.lab.cni, multinet's controller, node agents and config API do not run"
    for index, plugin in enumerate(scenario.pod_network.plugins):
        for unknown in sorted(set(_PLACEHOLDER.findall(json.dumps(plugin))) - PLACEHOLDERS):
            where = scenario.document.at(("spec", "lab", "cni", "plugins", index))
            known = f"filled in are {', '.join(sorted(PLACEHOLDERS))}"
            yield _error(where, f"nothing is known as {unknown}", known, nearest(unknown, PLACEHOLDERS))
    if "dialect" in scenario.content.spec.lab.model_fields_set:
        where = scenario.document.at(("spec", "lab", "dialect"))
        yield _error(where, "no dialect is spoken in this lab", why, "leave out dialect, or cni")
    if scenario.content.spec.lab.ipv6:
        where = scenario.document.at(("spec", "lab", "ipv6"))
        yield _error(where, "nothing gives these pods IPv6 addresses", why, "leave out ipv6, or cni")
    if scenario.host_names:
        where = scenario.document.at(("spec", "lab", "hosts"))
        yield _error(where, "nothing gives these hosts an interface", why, "leave out hosts, or cni")
    for step in scenario.steps:
        path = ("spec", "steps", step.index)
        wait, fault = step.step.wait, step.step.fault
        for word in ("networks", "virtual_networks") if wait is not None else ():
            if getattr(wait, word):
                where = scenario.document.at((*path, "wait"))
                yield _error(where, "no network will ever be Ready", why, "wait for pods instead")
        asked = (wait.roles if wait is not None else None) or []
        for kind in ("kill", "restart") if fault is not None else ():
            part = getattr(fault, kind)
            asked = [*asked, part.role] if part is not None else asked
        for role in set(asked) & _OWN_ROLES:
            yield _error(scenario.document.at(path), f"this lab has no role {role}", why, "name another")


def _error(where: Position, what: str, why: str = "", next_step: str = "") -> InputError:
    return InputError(what, where=str(where), why=why, next_step=next_step)


def _step(scenario: Scenario, step: LoadedStep, known: _Known) -> Iterator[InputError]:
    path: YamlPath = ("spec", "steps", step.index)
    at = scenario.document.at
    if step.name in known.steps:
        yield _error(
            at((*path, "name")),
            f"two steps are called {step.name!r}",
            "reports tell steps by name",
            "rename one",
        )
    for position, needed in enumerate(step.step.needs or ()):
        if needed not in known.steps:
            why = "no earlier step has this name"
            hint = nearest(needed, known.steps, "name a step further up")
            yield _error(at((*path, "needs", position)), f"step needs {needed!r}", why, hint)
    known.steps.append(step.name)
    yield from _apply(scenario, step, known)
    yield from _names(scenario, step, known)


def _apply(scenario: Scenario, step: LoadedStep, known: _Known) -> Iterator[InputError]:
    usable = []
    for manifest in step.manifests:
        wrong = list(_manifest(manifest))
        yield from wrong
        if not wrong:
            usable.append(manifest)
    yield from _twice(usable)
    # kubectl takes the objects of one apply in any order, so names are known before pods are judged.
    for manifest in usable:
        if manifest.kind == "NetworkAttachmentDefinition":
            known.nads.add(manifest.key)
        elif manifest.kind == "Namespace":
            known.namespaces.add(manifest.name)
        elif manifest.kind == "Pod":
            known.pods.add(manifest.key)
    for manifest in usable:
        if manifest.namespace and manifest.namespace not in known.namespaces and not known.open_ended:
            yield _error(
                manifest.at("metadata", "namespace"),
                f"nothing makes the namespace {manifest.namespace!r}",
                f"{manifest.kind} {manifest.name!r} is in it",
                nearest(manifest.namespace, known.namespaces, "apply a Namespace first"),
            )
        if manifest.kind == "NetworkAttachmentDefinition":
            yield from networks.check_nad(manifest)
        elif manifest.kind == "VirtualNetwork":
            yield from networks.check_virtual_network(manifest)
        elif manifest.kind == "Pod":
            yield from _pod(scenario, step, manifest, known)


def _twice(manifests: list[Manifest]) -> Iterator[InputError]:
    """A copy that was not renamed would be merged into the first, and the scenario pass with a pod less."""
    seen: dict[tuple[str, str], Manifest] = {}
    for manifest in manifests:
        first = seen.setdefault((manifest.kind, manifest.key), manifest)
        if first is not manifest:
            yield _error(
                manifest.at("metadata", "name"),
                f"{manifest.kind} {manifest.name!r} is twice in this step",
                f"the first is at {first.at('metadata', 'name')}, and this would be merged into it",
                "rename one, or change the object in a step of its own",
            )


def _manifest(manifest: Manifest) -> Iterator[InputError]:
    for key in ("apiVersion", "kind", "metadata"):
        if not manifest.body.get(key):
            yield _error(
                manifest.at(), f"the object has no {key}", "every Kubernetes object has one", f"add {key}:"
            )
            return
    if manifest.resource is None:
        kind, version = manifest.kind, manifest.body.get("apiVersion")
        same = next((resource for word, resource in BY_WORD.items() if word == kind.lower()), None)
        if same is not None and same.kind == kind:
            why, hint = f"apiVersion is {version!r}", f"write apiVersion: {same.api_version}"
        else:
            why = f"a lab has {', '.join(KINDS)}"
            hint = nearest(kind, KINDS, "leave it out, or apply it with a kubectl step")
        yield _error(manifest.at("kind"), f"no such kind of object: {kind}", why, hint)
        return
    if not _DNS_NAME.match(manifest.name):
        yield _error(
            manifest.at("metadata", "name"),
            f"{manifest.name!r} is no name for a {manifest.kind}"
            if manifest.name
            else "the object has no name",
            "a name has small letters, digits, - and ., and starts and ends with a letter or digit",
            f"try {manifest.name.lower()!r}"
            if _DNS_NAME.match(manifest.name.lower())
            else "add metadata.name",
        )
    for key, value in manifest.annotations.items():
        if not isinstance(value, str):
            shown = json.dumps(value)
            yield _error(
                manifest.at("metadata", "annotations", key),
                f"the annotation {key} is no text",
                f"it is {shown}, and the Kubernetes API takes only strings",
                f'write "{shown}"' if not isinstance(value, dict | list) else "put it in quotes",
            )


def _pod(scenario: Scenario, step: LoadedStep, manifest: Manifest, known: _Known) -> Iterator[InputError]:
    spec: Any = manifest.body.get("spec")
    node = spec.get("nodeName") if isinstance(spec, dict) else None
    if node is not None and node not in scenario.node_names:
        yield _error(
            manifest.at("spec", "nodeName"),
            f"the lab has no node {node!r}",
            f"its nodes are {', '.join(scenario.node_names)}",
            nearest(str(node), scenario.node_names, "raise spec.lab.nodes, or name one of these"),
        )
    text = manifest.annotations.get(NETWORKS)
    if not isinstance(text, str) or step.step.expect == "pending":
        return
    where = manifest.at("metadata", "annotations", NETWORKS)
    try:
        selections = selection.parse(text, pod_namespace=manifest.namespace)
    except selection.SelectionError as error:
        what = f"pod {manifest.name!r} selects networks in a form that can't be read"
        why = f"character {error.position + 1}: {error.what}"
        yield _error(where, what, why, error.next_step or "write a JSON list, or names separated by commas")
        return
    for chosen in selections:
        key = f"{chosen.namespace or manifest.namespace}/{chosen.name}"
        if key not in known.nads and not known.open_ended:
            yield _error(
                where,
                f"pod {manifest.name!r} names the NAD {key!r}, which nothing in the scenario defines here",
                f"defined so far: {', '.join(sorted(known.nads)) or 'none'}",
                nearest(key, known.nads, "apply the NAD first, or say expect: pending in the step"),
            )


def _names(scenario: Scenario, step: LoadedStep, known: _Known) -> Iterator[InputError]:
    body, path = step.step, ("spec", "steps", step.index)
    for where, pod in _pods_named(step, path):
        namespace, name = split(pod)
        if f"{namespace}/{name}" not in known.pods and not known.open_ended:
            hint = nearest(pod, [key.removeprefix("default/") for key in known.pods], "apply the pod first")
            yield _error(scenario.document.at(where), f"no step so far makes the pod {pod!r}", "", hint)
    for where, node in _nodes_named(step, path):
        # Hosts run commands and nothing else: no role, no link to the fabric.
        hosts = scenario.host_names if "exec" in where or "netns" in where else ()
        known_here = ("cp", *scenario.node_names, *hosts)
        if node not in known_here:
            why = f"its nodes are {', '.join(known_here)}"
            hint = nearest(node, known_here, "name one of these")
            yield _error(scenario.document.at(where), f"the lab has no node {node!r}", why, hint)
    for index, name in enumerate((body.wait.roles if body.wait is not None else None) or ()):
        if name not in ROLES_ON_CP:
            at = scenario.document.at((*path, "wait", "roles", index))
            why = f"roles on cp are {', '.join(ROLES_ON_CP)}"
            yield _error(at, f"no such role on cp: {name!r}", why, nearest(name, ROLES_ON_CP))
    yield from _fault(scenario, step, path)
    for where, reference in _references(step, path):
        target = parse_reference(reference)
        if target is None:
            word = reference.partition("/")[0]
            hint = nearest(word, BY_WORD, f"known: {', '.join(KINDS)}")
            yield _error(scenario.document.at(where), f"no such kind of object: {word!r}", "", hint)
        elif body.delete is not None:
            yield from _delete(target, reference, scenario.document.at(where), known)
    if body.kubectl is not None and _MAKES_OBJECTS & set(body.kubectl.argv):
        known.open_ended = True


def _fault(scenario: Scenario, step: LoadedStep, path: YamlPath) -> Iterator[InputError]:
    """Roles are where they are, and the control plane is not rebooted."""
    fault, at = step.step.fault, scenario.document.at
    if fault is None:
        return
    if fault.reboot is not None and fault.reboot.node == "cp":
        why = "only worker nodes can be: the lab's API server is on cp"
        hint = "restart or kill a role on cp instead"
        yield _error(at((*path, "fault", "reboot", "node")), "cp can't be rebooted", why, hint)
    word, role = ("kill", fault.kill) if fault.kill is not None else ("restart", fault.restart)
    if role is None:
        return
    where = at((*path, "fault", word, "role"))
    here = ROLES_ON_CP if role.node == "cp" else ROLES_ON_NODES
    if role.role not in ROLES:
        hint = nearest(role.role, ROLES)
        yield _error(where, f"no such role: {role.role!r}", f"roles are {', '.join(ROLES)}", hint)
    elif role.role not in here:
        hint = "name the node: node: node1" if role.node == "cp" else "leave node out"
        yield _error(where, f"no role {role.role} on {role.node}", f"it has {', '.join(here)}", hint)


def _delete(target: Target, reference: str, where: Position, known: _Known) -> Iterator[InputError]:
    """What is deleted must have been made; from here on it isn't there any more."""
    names = {"NetworkAttachmentDefinition": known.nads, "Pod": known.pods}.get(target.resource.kind)
    if names is None:
        return
    key = f"{target.namespace}/{target.name}"
    if key not in names and not known.open_ended:
        kind = reference.partition("/")[0]
        shown = [f"{kind}/{name.removeprefix('default/')}" for name in sorted(names)]
        what = f"there is nothing to delete: no {target} is there by then"
        why = f"defined so far: {', '.join(shown) or 'none'}"
        yield _error(where, what, why, nearest(reference, shown, "leave it out"))
    if target.resource.kind == "NetworkAttachmentDefinition":
        names.discard(key)


def _pods_named(step: LoadedStep, path: YamlPath) -> Iterator[tuple[YamlPath, str]]:
    body = step.step
    for action in ("wait", "check", "matrix"):
        part = getattr(body, action)
        if part is not None and isinstance(part.pods, list):
            for index, pod in enumerate(part.pods):
                yield (*path, action, "pods", index), pod
    if body.check is not None:
        for pod in body.check.attachments or ():
            yield (*path, "check", "attachments", pod), pod
        for index, pending in enumerate(body.check.pending or ()):
            yield (*path, "check", "pending", index, "pod"), pending.pod
    if body.exec is not None and body.exec.pod is not None:
        yield (*path, "exec", "pod"), body.exec.pod


def _nodes_named(step: LoadedStep, path: YamlPath) -> Iterator[tuple[YamlPath, str]]:
    body = step.step
    if body.exec is not None and body.exec.node is not None:
        yield (*path, "exec", "node"), body.exec.node
    for word in ("link", "kill", "restart", "netns", "reboot"):
        part = getattr(body.fault, word, None)
        if part is not None:
            yield (*path, "fault", word, "node"), part.node
    if body.matrix is not None:
        for index, override in enumerate(body.matrix.expect):
            for position, node in enumerate(override.nodes or ()):
                yield (*path, "matrix", "expect", index, "nodes", position), node


def _references(step: LoadedStep, path: YamlPath) -> Iterator[tuple[YamlPath, str]]:
    body = step.step
    for action in ("annotate", "label"):
        part = getattr(body, action)
        if part is not None:
            yield (*path, action, "on"), part.on
    if body.delete is not None:
        for index, reference in enumerate(body.delete.objects):
            yield (*path, "delete", "objects", index), reference
