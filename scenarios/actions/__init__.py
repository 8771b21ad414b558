"""What each kind of step does: one action a function, found by the step's key."""

from __future__ import annotations

from scenarios.actions.checks import check
from scenarios.actions.commands import execute, kubectl
from scenarios.actions.faults import fault
from scenarios.actions.leftovers import leftovers
from scenarios.actions.matrix import matrix
from scenarios.actions.objects import annotate, apply, delete, label
from scenarios.actions.waiting import wait
from scenarios.context import Action

ACTIONS: dict[str, Action] = {
    "annotate": annotate,
    "apply": apply,
    "check": check,
    "delete": delete,
    "exec": execute,
    "fault": fault,
    "kubectl": kubectl,
    "label": label,
    "leftovers": leftovers,
    "matrix": matrix,
    "wait": wait,
}

__all__ = ["ACTIONS"]
