"""From the fuzzer's steps to a scenario's: what is done, and after it the checks that show the rules."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from conformance.fuzz import manifests, steps
from conformance.fuzz.forecast import Forecast, Foretold
from conformance.fuzz.model import Pod, is_usable
from conformance.fuzz.steps import Step
from multinet.model import naming
from multinet.model.objects import ANNOTATION_SELECTION, ANNOTATION_STATUS

Made = dict[str, Any]
# A node that was cut off comes back after its agents' longest back-off.
_READY_LIMIT = "60s"
#: Rules that no check of a scenario shows.
UNSEEN = ("comes-to-rest", "targets-agree")
_CONFIG_CALL = Path(__file__).with_name("configcall.py")


class Plot:
    """The scenario's ``steps`` for a sequence; ``left_out`` are kinds of step that it has none for."""

    def __init__(self, sequence: Sequence[Step], rules: Sequence[str]) -> None:
        self.steps: list[Made] = []
        self._left_out: dict[str, None] = {}
        self._forecast = Forecast()
        self._checked: set[str] = set()
        # The oracle of scenarios does not judge room: it takes a pod that waits for an address for decided,
        # and keeps to that when the pod's NAD leads elsewhere. That such a pod runs is all that can be asked.
        self._crowded: set[str] = set()
        self._came: set[str] = set()
        self._gone = False
        self._number = 0
        self._prepare(sequence)
        for step in sequence:
            if not self._forecast.model.allows(step):
                continue
            self._number += 1
            self._add(str(step.name).replace("-", " "), *self._done(step))
            self._check(step, self._forecast.take(step))
        self._close(rules)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Kinds of step without one in a scenario."""
        return tuple(self._left_out)

    def _add(self, name: str, *actions: Made) -> None:
        for action in actions:
            base = f"{self._number}. {name}" if self._number else name
            taken = {step["name"] for step in self.steps}
            full = base
            again = 1
            while full in taken:
                again += 1
                full = f"{base} ({again})"
            self.steps.append({"name": full, **action})

    def _prepare(self, sequence: Sequence[Step]) -> None:
        others = [name for name in steps.NAMESPACES if name != "default"]
        spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in others]
        self._add("namespaces", {"apply": spaces})
        if any(isinstance(step, steps.MakeNetwork | steps.RemoveNetwork) for step in sequence):
            self._add("the config API answers", {"wait": {"roles": ["configapi"]}})

    def _done(self, step: Step) -> list[Made]:
        """The actions that carry out a step; none where time alone passes, or a scenario can't do it."""
        cut = getattr(step, "node", "") in self._forecast.model.cut
        away = isinstance(step, steps.RestartAgent | steps.Reboot) and cut
        act = _ACTS.get(type(step))
        if act is None or away:
            self._left_out[f"{step.name} of a node that is cut off" if away else step.name] = None
            return []
        return act(self, step)

    def _check(self, step: Step, foretold: Foretold) -> None:
        self._crowded |= {key for key in foretold.pending if self._is_crowded(key)}
        running = {key: nads for key, nads in foretold.running.items() if key not in self._crowded}
        came = sorted(self._crowded & set(foretold.running) - self._came)
        self._came |= set(came)
        new = sorted(set(running) - self._checked)
        kept = sorted(set(running) & self._checked)
        again = isinstance(step, steps.Reboot | steps.Heal)
        waited = sorted(foretold.running) if again else sorted({*new, *came})
        if waited:
            self._add("they run", {"wait": {"pods": waited, "for": "Ready", "timeout": _READY_LIMIT}})
        if kept:
            self._add("what ran is as it was", {"check": {"pods": kept, "unchanged": True}})
        if new or (kept and isinstance(step, steps.EditSelection)):
            attachments = {key: list(nads) for key, nads in sorted(running.items())}
            self._add(
                "each has what it selected", {"check": {"pods": sorted(running), "attachments": attachments}}
            )
            self._checked = set(running)
        else:
            self._checked &= set(running)
        if foretold.pending:
            pods = [{"pod": key} for key in foretold.pending]
            self._add("what can't be attached waits", {"check": {"pending": pods}})
        self._check_networks(foretold)
        for key in foretold.ending:
            self._add("who has not ended keeps its addresses", _has_interfaces(key))
        if self._gone and not self._forecast.model.cut:
            self._add("nothing is left of what is gone", {"leftovers": {}})

    def _is_crowded(self, key: str) -> bool:
        """Whether a pod waits although all that it selects is there."""
        model = self._forecast.model
        pod = model.pods[key]
        return pod.valid and bool(pod.picks) and all(model.network_of(pick.nad) for pick in pod.picks)

    def _check_networks(self, foretold: Foretold) -> None:
        names = [naming.object_name(_fq_name(key)) for key in foretold.networks]
        if names:
            self._add("each NAD's network is there", {"wait": {"virtualNetworks": names}})

    def _close(self, rules: Sequence[str]) -> None:
        self._number = 0
        if self._checked:
            pods = sorted(self._checked)
            self._add("in the end, what ran is as it was", {"check": {"pods": pods, "unchanged": True}})
            if "running-pods-are-immutable" in rules:
                self._add("what runs is recorded", *map(_has_interfaces, pods))
            if "forwarding-is-current" in rules and not self._forecast.model.cut:
                self._add("who shares a network reaches each other", {"matrix": {"pods": pods}})

    def _apply_nad(self, step: steps.ApplyNad) -> list[Made]:
        wanted = manifests.nad(step)
        known = step.key in self._forecast.model.nads
        broken = step.broken or (step.cidr and not is_usable(step.cidr))
        if not known and not broken:
            return [{"apply": [wanted]}]
        # A merge would keep annotations that the new NAD lacks; a broken one is refused in a file.
        argv = ["replace" if known else "create", "-f", "-"]
        return [{"kubectl": {"argv": argv, "stdin": json.dumps(wanted)}}]

    def _delete_nad(self, step: steps.DeleteNad) -> list[Made]:
        return [{"delete": {"objects": [f"nad/{step.key}"]}}]

    def _make_network(self, step: steps.MakeNetwork) -> list[Made]:
        return [_config_api("create", manifests.config_network(step))]

    def _remove_network(self, step: steps.RemoveNetwork) -> list[Made]:
        fq_name = [manifests.DOMAIN, manifests.PROJECT, step.network]
        return [_config_api("delete", {"fq_name": fq_name})]

    def _create_pod(self, step: steps.CreatePod) -> list[Made]:
        made: Made = {"apply": [manifests.pod(step)]}
        model = self._forecast.model
        known = all(pick.nad in model.nads for pick in step.picks)
        if not known or model.blocker(Pod(step.key, step.node, step.picks, valid=not step.text)):
            made = {"expect": "pending", **made}
        return [made]

    def _edit_selection(self, step: steps.EditSelection) -> list[Made]:
        chosen = steps.selection_text(step.picks, step.key.partition("/")[0])
        return [_annotate(step.key, ANNOTATION_SELECTION, chosen or None)]

    def _damage_status(self, step: steps.DamageStatus) -> list[Made]:
        return [_annotate(step.key, ANNOTATION_STATUS, "[]")]

    def _delete_pod(self, step: steps.DeletePod) -> list[Made]:
        self._crowded.discard(step.key)
        self._came.discard(step.key)
        pod = self._forecast.model.pods[step.key]
        self._gone = True
        if pod.node in self._forecast.model.cut and step.grace:
            namespace, _, name = step.key.partition("/")
            argv = ["delete", "pod", name, "-n", namespace, f"--grace-period={step.grace}", "--wait=false"]
            return [{"kubectl": {"argv": argv}}]
        return [{"delete": {"objects": [f"pod/{step.key}"], "gracePeriodSeconds": step.grace}}]

    def _restart_controller(self, _step: steps.RestartController) -> list[Made]:
        return [{"fault": {"restart": {"role": "controller"}}}]

    def _restart_agent(self, step: steps.RestartAgent) -> list[Made]:
        return [{"fault": {"restart": {"role": "vrouter", "node": step.node}}}]

    def _reboot(self, step: steps.Reboot) -> list[Made]:
        return [{"fault": {"reboot": {"node": step.node}}}]

    def _cut(self, step: steps.Cut) -> list[Made]:
        return [{"fault": {"link": {"node": step.node, "state": "down"}}}]

    def _heal(self, step: steps.Heal) -> list[Made]:
        return [{"fault": {"link": {"node": step.node, "state": "up"}}}]

    def _elapse(self, _step: steps.Elapse) -> list[Made]:
        return []  # the waits of the checks give it


_ACTS: dict[type[Step], Callable[[Plot, Any], list[Made]]] = {
    steps.ApplyNad: Plot._apply_nad,
    steps.DeleteNad: Plot._delete_nad,
    steps.MakeNetwork: Plot._make_network,
    steps.RemoveNetwork: Plot._remove_network,
    steps.CreatePod: Plot._create_pod,
    steps.EditSelection: Plot._edit_selection,
    steps.DamageStatus: Plot._damage_status,
    steps.DeletePod: Plot._delete_pod,
    steps.RestartController: Plot._restart_controller,
    steps.RestartAgent: Plot._restart_agent,
    steps.Reboot: Plot._reboot,
    steps.Cut: Plot._cut,
    steps.Heal: Plot._heal,
    steps.Elapse: Plot._elapse,
}


def _fq_name(key: str) -> naming.FqName:
    namespace, _, name = key.partition("/")
    return naming.nad_network_fq_name(namespace, name)


def _annotate(key: str, annotation: str, value: str | None) -> Made:
    return {"annotate": {"on": f"pod/{key}", "set": {annotation: value}}}


def _has_interfaces(key: str) -> Made:
    argv = ["get", "vmi", "-A", "-o", "jsonpath={range .items[*]}{.spec.pod.namespace}/"]
    argv[-1] += "{.spec.pod.name} {end}"
    return {"kubectl": {"argv": argv, "contains": key}}


def _config_api(verb: str, body: Made) -> Made:
    return {
        "exec": {"node": "cp", "command": ["python3", "-c", _CONFIG_CALL.read_text(), verb, json.dumps(body)]}
    }
