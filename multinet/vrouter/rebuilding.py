"""Attachments whose state files are lost or damaged, found out from the kernel and the API together.

The kernel has the devices and, in their marks, container, CNI network and namespace path; the API has what
the pod's interfaces shall be. A pod goes on as if nothing had happened; what belongs to pods that are gone
is removed.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, replace

from multinet.errors import MultinetError
from multinet.model.attachments import VirtualMachine
from multinet.vrouter import planning, pods
from multinet.vrouter.datapath import Attachment, Datapath, Stray
from multinet.vrouter.states import Record
from multinet.vrouter.view import ClusterView

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """``records`` can be taken over; the pods of ``orphans`` are gone."""

    records: tuple[Record, ...]
    orphans: tuple[Stray, ...]


def rebuilt(datapath: Datapath, view: ClusterView) -> Found:
    """Look at all strays; ``view`` must be complete. Strays that are in neither list have to wait."""
    if not datapath.strays():
        return Found((), ())
    machines = {planning.host_prefix(machine.pod.uid): machine for machine in view.machines_here()}
    by_container: dict[str, list[Stray]] = defaultdict(list)
    orphans: list[Stray] = []
    for stray in datapath.strays():
        if stray.name.rpartition("-")[0] in machines:
            by_container[stray.container].append(stray)
        else:
            orphans.append(stray)
    records = []
    for container, strays in by_container.items():
        machine = machines[strays[0].name.rpartition("-")[0]]
        try:
            attachment = _attachment(datapath, view, machine, strays[0])
        except MultinetError as error:
            _log.error("pod %s (container %s) is left as it is: %s", machine.pod.key, container, error)
            continue
        records.append(Record(attachment, strays[0].network, attachment.ports[0].wanted.name))
    return Found(tuple(records), tuple(orphans))


def _attachment(datapath: Datapath, view: ClusterView, machine: VirtualMachine, first: Stray) -> Attachment:
    """What was made for a pod, as it would be made now."""
    pod = machine.pod
    plan = view.plan_of(pod.namespace, pod.name, pod.uid)
    if plan is None:
        raise MultinetError("its interfaces are not known", next_step="is the controller running?")
    wanted = pods.wanted(plan, view, {})
    made = datapath.plan(first.container, first.netns, pod.key, pod.uid, wanted)
    return replace(made, cni_network=first.network)
