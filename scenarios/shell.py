"""``python -m scenarios.shell``: a lab to look around in. Starts it, runs one command in it, ends it.

The command runs where the runner of a scenario would: in the lab's own namespaces, with KUBECONFIG set,
kubectl on the PATH, and ``on NODE COMMAND...``, which runs a command on a node or on ``cp``. Its status is
the status; 3 when the lab did not start.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multinet.errors import MultinetError
from topology import isolation
from topology.roles import CONTROL_PLANE, LATE, Paths

if TYPE_CHECKING:
    from topology.mininet_lab import MininetLab

_LATE_LIMIT_S = 30.0
_ON = """\
#!/bin/sh
# on NODE COMMAND...: a command (a shell without one) on a node of this lab, or on cp.
case ${1-} in
%s
*)
    printf "on: no machine '%%s': on NODE COMMAND..., with one of %s\\n" "${1-}" >&2
    exit 2
    ;;
esac
shift
[ "$#" -gt 0 ] || set -- "${SHELL:-/bin/sh}"
exec nsenter -t "$pid" -n -u -m "--wd=$PWD" -- "$@"
"""
_TO_BEGIN_WITH = """\
a lab with %s: kubectl is set up, `on %s ip -br link` runs a command on a node, `exit` ends it all
logs: %s
"""


def main(argv: list[str]) -> int:
    """Run the command (a shell by default) in a lab of ``--nodes`` nodes."""
    parser = argparse.ArgumentParser(prog="scenarios.shell")
    parser.add_argument("--run-dir", required=True, type=Path)
    parser.add_argument("--parent", required=True, type=int)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--dialect", default="default")
    parser.add_argument("--terminal", action="store_true")
    parser.add_argument("command", nargs="*")
    options = parser.parse_args(argv)
    try:
        isolation.enter(parent_pid=options.parent)
        return _in_lab(options)
    except MultinetError as error:
        sys.stderr.write(f"{error}\n")
        return 3


def _in_lab(options: argparse.Namespace) -> int:
    from scenarios.actions.commands import kubectl_path
    from topology.backend import LabSpec
    from topology.mininet_backend import MininetBackend

    nodes = tuple(f"node{number}" for number in range(1, options.nodes + 1))
    lab = MininetBackend().start(LabSpec(nodes, options.run_dir, options.dialect), _ignore)
    try:
        for role in sorted(LATE):
            lab.wait_role(role, CONTROL_PLANE, _LATE_LIMIT_S)
        tools = _tools(lab, Paths(options.run_dir).lab / "bin")
        environment = {
            **os.environ,
            "KUBECONFIG": str(lab.kubeconfig),
            "KUBECACHEDIR": "/run/kubectl-cache",
            "PATH": os.pathsep.join([str(kubectl_path().parent), os.environ.get("PATH", ""), str(tools)]),
            "PS1": r"lab:\w\$ ",
        }
        if options.terminal and not options.command:
            logs = options.run_dir / "logs"
            sys.stderr.write(_TO_BEGIN_WITH % (", ".join(nodes), nodes[0], logs))
        return _run(options.command or _shell(), environment, terminal=options.terminal)
    finally:
        lab.stop()


def _tools(lab: MininetLab, folder: Path) -> Path:
    """A folder for the PATH, with ``on`` in it."""
    machines = ("cp", *lab.nodes)
    cases = "\n".join(f"{name}) pid={lab.node_pid(name)} ;;" for name in machines)
    folder.mkdir()
    program = folder / "on"
    program.write_text(_ON % (cases, ", ".join(machines)))
    program.chmod(0o755)
    return folder


def _ignore(_kind: str, _data: dict[str, Any]) -> None:
    """A lab to look around in keeps no log of its own."""


def _shell() -> list[str]:
    bash = shutil.which("bash")
    return [bash, "--norc", "--noprofile"] if bash else ["/bin/sh"]


def _run(command: list[str], environment: dict[str, str], *, terminal: bool) -> int:
    try:
        child = subprocess.Popen(
            command,
            env=environment,
            start_new_session=terminal,
            preexec_fn=_take_terminal if terminal else None,
        )
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return 127
    # An interrupt is for the command; when it ends, so does the lab.
    previous = signal.signal(signal.SIGINT, lambda number, _frame: child.send_signal(number))
    try:
        status = child.wait()
    finally:
        signal.signal(signal.SIGINT, previous)
    return status if status >= 0 else 128 - status


def _take_terminal() -> None:
    """Make the terminal the new session's own, so that job control works in the shell."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
