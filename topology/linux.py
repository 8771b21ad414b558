"""The kernel calls Python 3.11 has no name for: unshare, setns, mount, prctl.

``os.unshare`` and ``os.setns`` came with Python 3.12. Everything here acts on the calling *thread*.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fcntl import ioctl
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1

_KINDS = {
    "net": CLONE_NEWNET,
    "mnt": CLONE_NEWNS,
    "uts": CLONE_NEWUTS,
    "pid": CLONE_NEWPID,
    "ipc": CLONE_NEWIPC,
}
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces of ``flags`` for new ones (unshare(2)); raises ``OSError``."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd: int, kind: str) -> None:
    """Enter the namespace of ``kind`` ("net", "mnt", "uts", "pid", "ipc") open at ``fd`` (setns(2))."""
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(_KINDS[kind])), f"setns {kind}")


def join(pid: int, *kinds: str) -> None:
    """Enter namespaces of process ``pid`` for good. All are opened first: "mnt" may change what /proc is."""
    with ExitStack() as stack:
        opened = []
        for kind in kinds:
            fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            opened.append((fd, kind))
        for fd, kind in opened:
            setns(fd, kind)


@contextmanager
def joined(pid: int, *kinds: str) -> Iterator[None]:
    """Be in namespaces of process ``pid`` ("net" and "uts" only: they can be left again) for a while."""
    with ExitStack() as stack:
        for kind in kinds:
            own = os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, own)
            stack.callback(setns, own, kind)
        join(pid, *kinds)
        yield


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """Mount a file system (mount(2)); raises ``OSError`` naming the target."""
    arguments = (source.encode(), target.encode(), fstype.encode() or None)
    result = _libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None)
    _check(result, f"mount {fstype} on {target}")


def die_with_parent() -> None:
    """Have the kernel send this process SIGKILL when the thread that forked it ends.

    The setting is lost by fork and by a change of credentials, and says nothing about a parent that is gone
    already: the caller checks that afterwards.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def set_process_name(name: str) -> None:
    """Name this process in ``ps`` (15 bytes at most)."""
    _check(_libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0), "prctl(PR_SET_NAME)")


def loopback_up() -> None:
    """Set ``lo`` of the current network namespace up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        answer = ioctl(handle, _SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
        flags = struct.unpack_from("h", answer, 16)[0]
        ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def thread_count() -> int:
    """Number of threads of this process, as the kernel counts (Python can't see foreign ones)."""
    return len(list(Path("/proc/self/task").iterdir()))


def tail(path: Path, lines: int = 8, limit: int = 16384) -> str:
    """The last lines of a log file for an error message; empty when there is none."""
    try:
        with path.open("rb") as handle:
            handle.seek(max(0, path.stat().st_size - limit))
            text = handle.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
