"""Entering network namespaces for the length of a system call or two, and settings of a namespace.

A netlink socket belongs to the namespace it was made in, so entering takes no longer than making one. All
of it happens in the calling thread, without a yield to the event loop in between.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from multinet.vrouter.datapath import DatapathError, NetnsError

_CLONE_NEWNET = 0x40000000
_MS_BIND = 0x1000
_NS_GET_NSTYPE = 0xB703
_libc = ctypes.CDLL(None, use_errno=True)
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor of the network namespace at ``path``, which must be another than our own.

    ``NetnsError`` says what is wrong with the path.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _refused(path, f"it can't be opened: {error}") from error
    try:
        _check(path, descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def entered(descriptor: int) -> Iterator[None]:
    """Run a synchronous block in another network namespace."""
    before = own()
    try:
        _setns(descriptor)
        try:
            yield
        finally:
            _setns(before)
    finally:
        os.close(before)


def own() -> int:
    """A descriptor of the network namespace that this thread is in."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def kept(path: str) -> int:
    """A descriptor of the network namespace kept by a mount at ``path``; it is made if it is not there.

    ``OSError`` when that is refused.
    """
    with contextlib.suppress(OSError):
        found = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if _is_netns(found):
            return found
        os.close(found)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).touch()
    before = own()
    try:
        _checked(_libc.unshare(ctypes.c_int(_CLONE_NEWNET)), "unshare")
        try:
            mounted = _libc.mount(
                b"/proc/thread-self/ns/net", path.encode(), b"none", ctypes.c_ulong(_MS_BIND), None
            )
            _checked(mounted, f"mount {path}")
        finally:
            _setns(before)
    finally:
        os.close(before)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def inode_of(path: str) -> int:
    """The inode that tells a living network namespace from others; 0 when there is none at ``path``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return 0
    try:
        return os.fstat(descriptor).st_ino if _is_netns(descriptor) else 0
    finally:
        os.close(descriptor)


def write_settings(values: Mapping[str, str]) -> None:
    """Write settings below ``/proc/sys/net``; one that this kernel does not have is left out.

    ``DatapathError`` when a setting is refused.
    """
    for name, value in values.items():
        path = Path("/proc/sys/net") / name
        try:
            path.write_text(value)
        except FileNotFoundError:
            _log.debug("this kernel has no setting %s", path)
        except OSError as error:
            raise DatapathError(
                f"cannot set {path} to {value}",
                why=str(error),
                next_step="run the node agent with CAP_NET_ADMIN and a writable /proc/sys",
            ) from error


def has_ipv6() -> bool:
    """Whether this kernel speaks IPv6 at all."""
    return Path("/proc/sys/net/ipv6").exists()


def _check(path: str, descriptor: int) -> None:
    if not _is_netns(descriptor):
        raise _refused(path, "it is not a network namespace")
    theirs, ours = os.fstat(descriptor), os.stat("/proc/thread-self/ns/net")  # noqa: PTH116
    if (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino):
        raise _refused(path, "it is the node's own network namespace")


def _is_netns(descriptor: int) -> bool:
    try:
        return fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except OSError:
        return False


def _refused(path: str, why: str) -> NetnsError:
    return NetnsError(f"the network namespace {path!r} can't be used", why=why)


def _setns(descriptor: int) -> None:
    _checked(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(_CLONE_NEWNET)), "setns")


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
