"""The run store: one directory per run, `runs/<UTC time>-<short id>/`, and `runs/latest` at the newest.

Nothing here overwrites a run: a directory is made with ``mkdir``, which fails if it exists. Files are
replaced in one step, so a reader never sees half a report.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

EVENTS_FILE = "events.jsonl"
LATEST = "latest"


def create(base: Path, *, latest: bool = True, clock: Callable[[], float] = time.time) -> Path:
    """Make the directory of a new run below ``base`` (made if absent) and point ``latest`` at it.

    Without ``latest`` the link stays where it is: what has no report is no run to look at. ``OSError`` when
    the directory can't be made, or when something of the user's stands where the link belongs.
    """
    base.mkdir(parents=True, exist_ok=True)
    link = base / LATEST
    if latest and not link.is_symlink() and link.exists():
        why = f"{LATEST!r} in it is no link to the newest run, but a file or directory of its own"
        raise FileExistsError(errno.EEXIST, why, str(link))
    while True:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock()))
        run_dir = base / f"{stamp}-{secrets.token_hex(3)}"
        try:
            run_dir.mkdir()
        except FileExistsError:
            continue
        if latest:
            point_latest(base, run_dir.name)
        return run_dir


def point_latest(base: Path, name: str) -> None:
    """Make ``base/latest`` a relative link to ``name``, in one step."""
    scratch = base / f".latest-{secrets.token_hex(4)}"
    scratch.symlink_to(name)
    try:
        scratch.replace(base / LATEST)
    finally:
        scratch.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step; the file is on disk before it has its name."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
