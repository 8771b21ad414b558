"""A sandbox's network namespace as a path for CNI plugins: ``/run/netns/cni-<id>``, as runtimes do it.

The path is a bind mount of ``/proc/<pid>/ns/net``. It costs two system calls, every plugin accepts it, and
it keeps the namespace alive when the sandbox's process dies: so a DEL after a crash still finds the
interfaces, where ``/proc/<pid>`` is gone or, worse, another process. The price: mount namespaces copied
from the node's hold the mount too. So ``/run/netns`` is made a mount point with private propagation, and
the sandbox helper detaches it from each sandbox.

Where mounting is refused, the ``/proc`` path is used.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
from pathlib import Path

_log = logging.getLogger(__name__)
_libc = ctypes.CDLL(None, use_errno=True)

_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 1 << 18
_MNT_DETACH = 2
DIRECTORY = Path("/run/netns")


def prepare(directory: Path = DIRECTORY) -> None:
    """Make the directory a private mount point, unless it is one; ``OSError`` when that is refused."""
    directory.mkdir(parents=True, exist_ok=True)
    try:
        _mount("none", str(directory), _MS_PRIVATE)
    except OSError as error:
        # Not a mount point. (mountinfo would not tell: it lists mounts that lie hidden under a newer /run,
        # which a machine has whose user ever called `ip netns add`.)
        if error.errno != errno.EINVAL:
            raise
        _mount(str(directory), str(directory), _MS_BIND | _MS_REC)
        _mount("none", str(directory), _MS_PRIVATE)


def path_of(container_id: str) -> Path:
    """Where the namespace of a sandbox is published."""
    return DIRECTORY / f"cni-{container_id}"


def publish(pid: int, path: Path) -> str:
    """Bind the network namespace of ``pid`` to a new path, and return it (or the ``/proc`` path)."""
    source = f"/proc/{pid}/ns/net"
    try:
        path.touch()
        _mount(source, str(path), _MS_BIND)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        _log.warning("CNI_NETNS is %s: %s", source, error)
        return source
    return str(path)


def withdraw(path: str) -> None:
    """Remove a published path; one that is gone, or a ``/proc`` path, is fine."""
    if not path or path.startswith("/proc/"):
        return
    _libc.umount2(path.encode(), _MNT_DETACH)
    with contextlib.suppress(FileNotFoundError):
        Path(path).unlink()


def _mount(source: str, target: str, flags: int) -> None:
    if _libc.mount(source.encode(), target.encode(), b"none", ctypes.c_ulong(flags), None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)
