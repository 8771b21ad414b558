"""``python -m conformance.labhost``: a process that holds one lab for a whole test session.

The lab's owner should be nobody's test process: pytest may have many, and captures their files. So the lab is
started here; facts (a line of JSON) tell any process in the same namespaces how to reach it, and a unix
socket takes orders: ``{"order": "restart", "role": "vrouter", "node": "node1"}``, answered by ``{}`` or by
``{"error": ...}``. The lab ends when standard input does, so with whoever started it.
"""

from __future__ import annotations

import argparse
import json
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conformance.child import Child
from conformance.target import Facts
from multinet.errors import LabError, MultinetError
from multinet.model.dialect import DEFAULT
from topology.podnetwork import PodNetwork

#: The name of the spare card that each of the first two nodes has: the ends of one wire.
DEVICE = "nic0"
_START_LIMIT_S = 60.0
_ORDER_LIMIT_S = 30.0
_END_LIMIT_S = 15.0


class LabProcess:
    """The owner's side: start, and end with :meth:`stop`. ``owner``: another module for it, and arguments."""

    def __init__(self, *owner: str) -> None:
        self._owner = owner or ("conformance.labhost",)
        self._child: Child | None = None

    def start(
        self,
        folder: Path,
        *,
        nodes: int,
        dialect: str = DEFAULT.name,
        controller: Sequence[str] = (),
        pod_network: PodNetwork | None = None,
    ) -> Facts:
        """Start the lab with its files in ``folder``; ``LabError`` says what its process said.

        ``controller`` are more arguments of the controller; ``pod_network`` takes the implementation's place.
        """
        options = ["--folder", str(folder), "--nodes", str(nodes), "--dialect", dialect]
        options += [f"--controller={each}" for each in controller]
        if pod_network is not None:
            options += ["--pod-network", pod_network.to_json()]
        self._child = Child([*self._owner, *options], folder / "labhost.log")
        line = self._child.first_line(_START_LIMIT_S)
        facts: dict[str, Any] = json.loads(line) if line else {"error": f"see {folder}/labhost.log"}
        if "error" in facts:
            raise LabError("the lab did not start", why=facts["error"], next_step="./lab doctor")
        return facts

    def stop(self) -> None:
        """End the lab, with its processes and links."""
        if self._child is not None:
            self._child.end(_END_LIMIT_S)
            self._child = None


def order(facts: Facts, verb: str, role: str, node: str) -> None:
    """Have the lab's owner ``kill`` or ``restart`` a role on a node; ``LabError`` where it can't."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(_ORDER_LIMIT_S)
        try:
            link.connect(facts["socket"])
            link.sendall(json.dumps({"order": verb, "role": role, "node": node}).encode() + b"\n")
            answer = json.loads(link.makefile().readline())
        except (OSError, ValueError) as error:
            raise LabError("the lab's owner does not answer", why=str(error)) from error
    if "error" in answer:
        raise LabError(answer["error"], where=node)


def main(argv: list[str]) -> int:
    """Start a lab, tell the facts, serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="conformance.labhost")
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--nodes", required=True, type=int)
    parser.add_argument("--dialect", required=True)
    parser.add_argument("--controller", action="append", default=[], help="an argument of the controller")
    parser.add_argument("--pod-network", default="", help="another pod network, as PodNetwork.to_json has it")
    options = parser.parse_args(argv)
    # Ctrl-C is the test run's; what ends this process is the end of its standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from topology.backend import LabSpec, Wire
    from topology.mininet_backend import MininetBackend
    from topology.roles import Paths

    names = tuple(f"node{number}" for number in range(1, options.nodes + 1))
    wires = (Wire((names[0], names[1]), DEVICE),) if len(names) > 1 else ()
    network = PodNetwork.from_json(options.pod_network) if options.pod_network else None
    spec = LabSpec(
        names,
        options.folder,
        options.dialect,
        pod_network=network,
        controller=tuple(options.controller),
        wires=wires,
    )
    try:
        lab = MininetBackend().start(spec, _note)
    except MultinetError as error:
        _tell({"error": str(error)})
        return 3
    path = options.folder / "orders.sock"
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            server.listen()
            paths = Paths(options.folder)
            _tell(
                {
                    "socket": str(path),
                    "kubeconfig": str(lab.kubeconfig),
                    "nodes": list(names),
                    "node_netns": {name: lab.node_netns(name) for name in names},
                    "sandboxes": str(paths.nodes),
                    "logs": str(options.folder / "logs"),
                }
            )
            _serve(lab, server)
    finally:
        lab.stop()
    return 0


def _serve(lab: Any, server: socket.socket) -> None:
    while True:
        readable, _, _ = select.select([sys.stdin, server, lab], [], [])
        if lab in readable:
            lab.process_events()
        if sys.stdin in readable and not sys.stdin.readline():
            return
        if server in readable:
            link, _ = server.accept()
            with link, link.makefile("rw") as stream:
                stream.write(json.dumps(_obey(lab, json.loads(stream.readline()))) + "\n")


def _obey(lab: Any, asked: Mapping[str, str]) -> dict[str, str]:
    try:
        match asked["order"]:
            case "restart":
                lab.restart(asked["role"], asked["node"])
            case "kill":
                lab.kill(asked["role"], asked["node"], signal.SIGKILL)
            case other:
                return {"error": f"no order {other!r}"}
    except MultinetError as error:
        return {"error": str(error)}
    return {}


def _note(kind: str, data: dict[str, Any]) -> None:
    """Events go to the log; a role that died unasked is what one looks for there."""
    sys.stderr.write(json.dumps({"event": kind, **data}) + "\n")
    sys.stderr.flush()


def _tell(facts: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
