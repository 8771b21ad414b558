"""Doing something inside a network namespace without moving the caller there.

A thread may change its network namespace alone (``setns(2)``), and sockets stay in the namespace they were
opened in. So the work runs in a short-lived thread which visits one namespace after the other and then
ends; nothing has to be put back, and a failure half-way can't leave the caller in a foreign namespace.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
CLONE_NEWNET = 0x40000000

# os.setns exists only from Python 3.12 on.
_libc = ctypes.CDLL(None, use_errno=True)


def current() -> str:
    """Path of the calling process's network namespace (its main thread's)."""
    return f"/proc/{os.getpid()}/ns/net"


def visit(namespaces: Mapping[str, str], work: Callable[[str], T]) -> dict[str, T | OSError]:
    """Call ``work(name)`` inside each namespace of ``{name: path}``; an ``OSError`` is returned."""
    with ThreadPoolExecutor(1, thread_name_prefix="netns") as pool:
        return pool.submit(_visit_all, namespaces, work).result()


def inside(path: str, work: Callable[[], T]) -> T:
    """Call ``work()`` inside one namespace; raises ``OSError`` when it can't be entered."""
    result = visit({path: path}, lambda _name: work())[path]
    if isinstance(result, OSError):
        raise result
    return result


def _visit_all(namespaces: Mapping[str, str], work: Callable[[str], T]) -> dict[str, T | OSError]:
    results: dict[str, T | OSError] = {}
    for name, path in namespaces.items():
        try:
            _enter(path)
            results[name] = work(name)
        except OSError as error:
            results[name] = error
    return results


def _enter(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(fd, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(fd)
