"""nftables scripts: applied whole or not at all, in the network namespace the caller is in.

The program ``nft`` does it (``nft -f -``: one script, one kernel transaction). Why not raw netlink as for
links and routes: rules are few, change seldom, and are read by people in nft's language. An exec costs about
4 ms. Each concern keeps a table of its own and replaces or edits only that.

A machine may lack the program or the kernel's part. :func:`lack` says so in words; whoever needs rules then
goes without, and everything else works.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import logging
import os
import shutil
import subprocess

from multinet.vrouter import netns, nftsets
from multinet.vrouter.datapath import DatapathError

_LIMIT_S = 20.0
_PIPE = subprocess.PIPE
# An ordinary user's PATH lacks these on Debian.
_ADMIN_DIRS = ("/usr/sbin", "/sbin")
# What a process asks the kernel over netlink comes from a port that has the process's number.
_ports: collections.deque[int] = collections.deque(maxlen=512)
_log = logging.getLogger(__name__)


@functools.cache
def program() -> str:
    """The path of ``nft``; empty when this machine has none."""
    folders = [*os.environ.get("PATH", os.defpath).split(os.pathsep), *_ADMIN_DIRS]
    return shutil.which("nft", path=os.pathsep.join(folders)) or ""


def is_own(port: int) -> bool:
    """Whether it was one of our last scripts that asked from this netlink port."""
    return port in _ports


@functools.cache
def lack() -> str:
    """Why rules can't be made here, with the remedy; empty when they can. Found out once per process."""
    if not program():
        return "the program nft is missing (apt-get install nftables)"
    try:
        _run(["--check", "-f", "-"], "add table inet multinet-probe\n", None)
    except DatapathError as error:
        return f"{error.why or error.what} (a kernel with nf_tables; as root: modprobe nf_tables)"
    return ""


def apply(script: str, *, inside: int | None = None) -> None:
    """Carry out an nft script, all of it or nothing; ``DatapathError`` has nft's own words.

    ``inside`` is a descriptor of another network namespace to do it in.
    """
    _run(["-f", "-"], script, inside)


async def apply_async(script: str, *, inside: int | None = None) -> None:
    """:func:`apply` without holding up the event loop."""
    await asyncio.to_thread(apply, script, inside=inside)


def listing(*what: str, inside: int | None = None) -> str:
    """The output of ``nft -j list WHAT`` (libnftables-json(5)); ``DatapathError`` when it is not there."""
    return _run(["-j", "list", *what], "", inside)


def exists(family: str, table: str, *, inside: int | None = None) -> bool:
    """Whether there is a table of that name; ``DatapathError`` when the kernel can't say."""
    with contextlib.nullcontext() if inside is None else netns.entered(inside):
        return nftsets.has_table(family, table)


def _run(words: list[str], script: str, inside: int | None) -> str:
    """Run nft in this thread's namespace, or in another."""
    if not program():
        raise DatapathError("nftables rules can't be made", why=lack())
    entered = contextlib.nullcontext() if inside is None else netns.entered(inside)
    try:
        with entered:
            child = subprocess.Popen([program(), *words], stdin=_PIPE, stdout=_PIPE, stderr=_PIPE, text=True)
            _ports.append(child.pid)
        with child:
            try:
                said, complained = child.communicate(script, timeout=_LIMIT_S)
            except BaseException:
                child.kill()
                raise
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DatapathError("nft did not run", why=str(error)) from error
    if child.returncode:
        why = complained.strip() or f"status {child.returncode}"
        _log.debug("refused: nft %s\n%s", " ".join(words), script)
        raise DatapathError(f"nft {words[0]} was refused; nothing was changed", why=why)
    return said
