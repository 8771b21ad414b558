"""A worker as the runner is one: goes into namespaces, starts a lab of stand-ins, waits to be told to stop.

Arguments: the front's PID, the run directory. Writes one JSON object per line to standard output.
"""

import json
import signal
import sys
from pathlib import Path

from topology import isolation, roles
from topology.backend import LabSpec
from topology.mininet_backend import MininetBackend


def tell(kind, data):
    sys.stdout.write(json.dumps({"kind": kind, **data}) + "\n")
    sys.stdout.flush()


def main():
    isolation.enter(parent_pid=int(sys.argv[1]))
    backend = MininetBackend(
        entries=dict.fromkeys(roles.ENTRIES, "stand_in:main"), nodes_ready=lambda *_args: None
    )
    lab = None
    try:
        lab = backend.start(LabSpec(("node1", "node2"), Path(sys.argv[2])), tell)
        tell("ready", {})
        signal.pause()
    except KeyboardInterrupt:
        tell("interrupted", {})
        if lab is not None:
            lab.stop()
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
