"""Verbs about this machine: doctor and shell."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

from multinet.cli import say, terminal
from multinet.errors import InputError
from topology import foreground


def doctor(output: str) -> int:
    """Print the table of capabilities; 3 when something is missing that every lab needs."""
    from topology.isolation import probe

    found = probe()
    status = 3 if any(capability.required and not capability.available for capability in found) else 0
    if output == "json":
        rows = [asdict(capability) for capability in found]
        say.as_json({"exit_status": status, "capabilities": rows})
        return status
    table = Table(box=None, pad_edge=False)
    for heading in ("", "capability", "detail", "remedy"):
        table.add_column(heading, overflow="fold")
    for capability in found:
        mark, style = ("yes", "green") if capability.available else ("no", "bold red")
        if not capability.available and not capability.required:
            style = "yellow"
        table.add_row(Text(mark, style), capability.name, capability.detail, capability.remedy)
    console = say.console()
    if not console.is_terminal:
        console.width = 200  # nobody's window: a line for each capability
    console.print(table)
    console.print("every lab needs one that is missing" if status else "labs can run here")
    console.print(say.last_line(status))
    return status


def shell(command: list[str], *, nodes: int, dialect: str, runs_dir: Path) -> int:
    """Run ``command``, or a shell, in a lab; its status is the status."""
    from reports import store

    try:
        run_dir = store.create(runs_dir.resolve(), latest=False)
        (run_dir / "logs").mkdir()
    except OSError as error:
        why = str(error.strerror or error)
        raise InputError("no run can be kept here", where=str(runs_dir), why=why) from error
    argv = [sys.executable, "-m", "scenarios.shell", "--run-dir", str(run_dir), "--nodes", str(nodes)]
    argv += ["--dialect", dialect, "--parent", str(os.getpid())]
    if sys.stdin.isatty() and sys.stdout.isatty():
        return terminal.run([*argv, "--terminal", "--", *command])
    return foreground.run([*argv, "--", *command])
