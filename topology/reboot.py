"""What a reboot takes away from a node: processes, sandboxes, mounts of namespaces, links, rules.

The node's own namespaces cannot be replaced (Mininet knows them by their first process, and its link is in
them), so what a fresh kernel would not have is removed from them, found by ownership: by namespace, never by
name. The link to the fabric and its addresses stay: they are what the node's boot would configure.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from multinet.errors import LabError
from topology.backend import Completed

_END_LIMIT_S = 5.0
# Memory file systems of the node: empty after a boot.
_VOLATILE = ("run/netns", "run/multinet-agent")
Run = Callable[[Sequence[str], str | None], Completed]


def end_processes(shell: int, sandboxes: Iterable[int]) -> None:
    """Kill all in the network namespace of the node, but ``shell`` which holds it, and in its sandboxes."""
    doomed = {*_in_namespace(Path(f"/proc/{shell}/ns/net")), *sandboxes} - {shell, os.getpid()}
    descriptors = []
    for pid in doomed:
        with contextlib.suppress(ProcessLookupError):
            descriptors.append(os.pidfd_open(pid))
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _END_LIMIT_S
    try:
        waiting = set(descriptors)
        while waiting:
            ended = select.select(list(waiting), [], [], max(0.0, deadline - time.monotonic()))[0]
            if not ended:
                why = f"{len(waiting)} of {len(doomed)} are left after {_END_LIMIT_S:g} s"
                raise LabError("the node's processes do not end", why=why)
            waiting -= set(ended)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def clear_mounts(shell: int) -> None:
    """Empty the node's volatile directories, published network namespaces first."""
    root = Path(f"/proc/{shell}/root")
    places = [root / place for place in _VOLATILE if (root / place).is_dir()]
    mounted = [f"/{path.relative_to(root)}" for place in places for path in place.iterdir()]
    if mounted:
        _unmount(shell, mounted)
    for place in places:
        for path in place.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def clear_network(run: Run, uplink: str, *, spare: Sequence[str] = ()) -> None:
    """Remove links, routing rules, routes, neighbours, queues and nftables rules: no boot makes them.

    ``uplink`` and ``spare`` are NICs of the node, which it has again after a boot.
    """
    links = [str(link["ifname"]) for link in json.loads(_output(run, ("ip", "-j", "link", "show")))]
    lines = [f"link del dev {name}" for name in links if name not in ("lo", uplink, *spare)]
    lines.append(f"neigh flush dev {uplink}")
    # Deleting one end of a pair deletes the other, hence -force.
    run(("ip", "-force", "-batch", "-"), "\n".join(lines) + "\n")
    for family in ("-4", "-6"):
        tables = sorted(set(_tables(_output(run, ("ip", "-j", family, "route", "show", "table", "all")))))
        lines = [f"route flush table {table}" for table in tables]
        lines += ["rule flush", "rule add pref 32766 table main"]
        lines += ["rule add pref 32767 table default"] if family == "-4" else []
        run(("ip", family, "-force", "-batch", "-"), "\n".join(lines) + "\n")
    if shutil.which("tc"):
        for kind in ("clsact", "root"):
            run(("tc", "qdisc", "del", "dev", uplink, kind), None)
    if shutil.which("nft"):
        run(("nft", "flush", "ruleset"), None)


def _in_namespace(namespace: Path) -> Iterator[int]:
    wanted = namespace.stat()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            found = (process / "ns" / "net").stat()
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                yield int(process.name)


def _unmount(shell: int, paths: Sequence[str]) -> None:
    mounted = {line.split()[4] for line in Path(f"/proc/{shell}/mountinfo").read_text().splitlines()}
    doomed = [path for path in paths if path in mounted]
    if doomed:
        enter = ("nsenter", "-t", str(shell), "-m", "--", "umount", "-l", *doomed)
        subprocess.run(enter, check=False, capture_output=True, timeout=_END_LIMIT_S)


def _tables(text: str) -> Iterator[str]:
    """The tables of a listing that a boot would leave empty."""
    for route in json.loads(text or "[]"):
        table = str(route.get("table", "main"))
        if table not in ("main", "local", "default"):
            yield table


def _output(run: Run, argv: Sequence[str]) -> str:
    done = run(argv, None)
    if done.status != 0:
        raise LabError(f"could not see what the node has: {' '.join(argv)}", why=done.stderr.strip())
    return done.stdout
