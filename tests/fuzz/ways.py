"""The shortest way to each planted bug, for all engines."""

from conformance.fuzz import steps
from conformance.fuzz.steps import CreatePod, Pick

A, OTHER = Pick("default/a"), Pick("other/a")
NAD = steps.ApplyNad("default/a", cidr="10.2.0.0/29")
# The shortest way to each planted bug, and the rule it breaks.
WAYS = {
    "address-reused-early": (
        "running-pods-are-immutable",
        [CreatePod("default/p1", "node1"), steps.Cut("node1"), steps.DeletePod("default/p1")],
    ),
    "order-by-hash": (
        "attached-as-selected",
        [
            NAD,
            steps.ApplyNad("default/b", cidr="10.1.0.0/24"),
            CreatePod("default/p1", "node1", (Pick("default/b"), A)),
            CreatePod("default/p2", "node1", (A, Pick("default/b"))),
        ],
    ),
    "live-network-removed": (
        "networks-follow-nads",
        [NAD, CreatePod("default/p1", "node1", (A,)), steps.DeleteNad("default/a")],
    ),
    "status-before-add": (
        "status-tells-the-truth",
        [steps.RefuseDevices("node1", True), CreatePod("default/p1", "node1")],
    ),
    "del-skipped": (
        "nothing-is-left",
        # In a lab the pod's devices go with its namespace, and its network's stay.
        [
            NAD,
            CreatePod("default/p1", "node1", (A,)),
            steps.RestartAgent("node1"),
            steps.DeletePod("default/p1"),
        ],
    ),
    "edit-attaches": (
        "running-pods-are-immutable",
        [NAD, CreatePod("default/p1", "node1"), steps.EditSelection("default/p1", (A,))],
    ),
    "namespaces-confused": ("networks-follow-nads", [NAD, steps.ApplyNad("other/a", cidr="10.1.0.0/24")]),
    "lease-leak": (
        "starts-once-it-can",
        [
            NAD,
            CreatePod("default/p1", "node1", (A, A)),
            CreatePod("default/p2", "node1", (A, A, A)),
            steps.DeletePod("default/p1"),
        ],
    ),
    "stale-fdb": (
        "forwarding-is-current",
        [CreatePod("default/p1", "node1"), steps.DeletePod("default/p1")],
    ),
    "duplicate-allocates": ("comes-to-rest", [CreatePod("default/p1", "node1")]),
}
