"""A world of its own for each lab: namespaces that end, with all that is in them, when anyone dies.

::

    front (CLI, pytest)
      └─ outer     called enter(); waits, forwards SIGINT/SIGTERM/SIGHUP, ends with the runner's status
           └─ PID 1     of a new PID namespace: mounts, then reaps orphans
                └─ runner    returns from enter()

Whoever of the first three dies, the next one gets SIGKILL from the kernel (PR_SET_PDEATHSIG), and with PID 1
goes every process of the namespace; with the processes go network namespaces, links and mounts. Nothing
depends on a clean-up that must still be running.

PDEATHSIG tells nothing about a parent that died before it was set. The outer process compares its parent's
PID before and after; PID 1 always sees parent 0, so it watches a pipe whose other end only the outer holds.

As root no user namespace is made (a lab can then use BPF and the like); when the kernel refuses, or for an
ordinary user, one is made with the user mapped to root (user_namespaces(7)).
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from multinet.errors import EnvironmentLackError, LabError
from topology import linux

if TYPE_CHECKING:
    from topology.capabilities import Capability

NAMESPACES = (
    linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
)
_FORWARDED = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_WATCHED = _FORWARDED | {signal.SIGCHLD}
# One Ctrl-C reaches the outer from the terminal and, perhaps, from the front as well: that is one request.
_SAME_REQUEST_S = 0.3


_INIT_NAME = "lab-init"


def inside() -> bool:
    """Whether this process is below a PID 1 of ours, so in namespaces made to be thrown away."""
    try:
        return Path("/proc/1/comm").read_text().strip() == _INIT_NAME
    except OSError:
        return False


def enter(*, hostname: str = "multinet", parent_pid: int | None = None) -> None:
    """Go into new namespaces; return there as root in a child of a new init process.

    The calling process must have one thread. It stays outside, waits, and ends with the child's status
    (128+n for signal n) without returning. A first SIGINT, SIGTERM or SIGHUP to it goes on to the runner; a
    second one ends everything. ``parent_pid`` is the front's PID: when it is given and is not this process's
    parent any more, the process ends at once.

    Raises ``EnvironmentLackError`` (in the outer process) where the system forbids namespaces, and
    ``LabError`` when there is more than one thread.
    """
    if linux.thread_count() > 1:
        raise LabError(
            "a lab can only be entered by a process with one thread",
            why=f"this one has {linux.thread_count()}",
            next_step="call topology.isolation.enter() first thing, before anything starts threads",
        )
    parent = os.getppid() if parent_pid is None else parent_pid
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # an inherited "ignore" would hide the child's status
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    try:
        _unshare()
        _tie_to(parent)
        sys.stdout.flush()
        sys.stderr.flush()
        alive_read, alive_write = os.pipe()
        setup_read, setup_write = os.pipe()
        init = os.fork()
        if init == 0:
            os.close(alive_write)
            os.close(setup_read)
            _init(alive_read, setup_write, hostname)  # returns in the runner only
            return
        os.close(alive_read)
        os.close(setup_write)
        _check_setup(setup_read, init)
        _wait_outside(init)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def probe() -> tuple[Capability, ...]:
    """What this machine can do, found out in a throw-away lab of its own (for ``./lab doctor``)."""
    from topology import capabilities

    return capabilities.probe()


def _unshare() -> None:
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        try:
            return linux.unshare(NAMESPACES)
        except OSError as error:
            if error.errno != errno.EPERM:
                raise _refused(error) from error
    try:
        linux.unshare(NAMESPACES | linux.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as error:
        raise _refused(error) from error


def _refused(error: OSError) -> EnvironmentLackError:
    return EnvironmentLackError(
        "this system does not let this user make the namespaces a lab lives in",
        why=str(error.strerror or error),
        next_step=namespace_remedy(),
    )


def namespace_remedy(root: Path = Path("/proc/sys")) -> str:
    """The step that most likely allows user namespaces here, judged by the sysctls below ``root``."""
    wanted = (
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("user/max_user_namespaces", "0", "15000"),
    )
    for name, bad, good in wanted:
        path = root / name
        if path.exists() and path.read_text().strip() == bad:
            return f"as root: sysctl -w {name.replace('/', '.')}={good}   (or run as root)"
    return "run as root, or in a container allow CAP_SYS_ADMIN and an unmasked /proc"


def _tie_to(parent: int) -> None:
    # After unshare: a new user namespace means new credentials, and those reset PDEATHSIG.
    linux.die_with_parent()
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def _check_setup(setup_read: int, init: int) -> None:
    """Wait until PID 1 has set the place up; raise what it reports."""
    with os.fdopen(setup_read, "rb") as pipe:
        report = pipe.read().decode()
    if report == "ready":
        return
    os.waitpid(init, 0)
    raise EnvironmentLackError(
        "this system does not let this user set up the namespaces of a lab",
        why=report or "the init process of the namespace was killed",
        next_step=namespace_remedy(),
    )


def _wait_outside(init: int) -> NoReturn:
    """Forward signals and end with PID 1's status."""
    asked_at: float | None = None
    while True:
        number = signal.sigwaitinfo(_WATCHED).si_signo
        if number == signal.SIGCHLD:
            pid, status = os.waitpid(init, os.WNOHANG)
            if pid == init:
                os._exit(exit_status(status))
        elif asked_at is None:
            asked_at = time.monotonic()
            os.kill(init, number)
        elif time.monotonic() - asked_at > _SAME_REQUEST_S:
            os.kill(init, signal.SIGKILL)


def exit_status(wait_status: int) -> int:
    """A shell's view of a wait status: the exit code, or 128+n for signal n."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def _init(alive_read: int, setup_write: int, hostname: str) -> None:
    """Be PID 1; return only in the runner."""
    try:
        linux.die_with_parent()
        if select.select([alive_read], [], [], 0)[0]:
            os._exit(128 + signal.SIGKILL)  # end of file: the outer died before die_with_parent
        # The terminal's Ctrl-C must reach the runner once: from the outer, not as a member of its group.
        os.setsid()
        linux.set_process_name(_INIT_NAME)
        _furnish(hostname)
    except OSError as error:
        os.write(setup_write, f"{error.strerror or error}".encode())
        os._exit(3)
    os.write(setup_write, b"ready")
    os.close(setup_write)
    runner = os.fork()
    if runner == 0:
        os.close(alive_read)
        os.setsid()
        return
    _reap(runner)


def _furnish(hostname: str) -> None:
    """Mount what belongs to the new namespaces: see mount_namespaces(7), pid_namespaces(7)."""
    quiet = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    linux.mount("none", "/", "", linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("proc", "/proc", "proc", quiet)
    linux.mount("sysfs", "/sys", "sysfs", quiet)
    linux.mount("tmpfs", "/run", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=0755")
    for directory in ("/run/netns", "/run/multinet", "/run/lock"):
        Path(directory).mkdir()
    socket.sethostname(hostname)
    linux.loopback_up()


def _reap(runner: int) -> NoReturn:
    """Adopt and bury orphans until the runner ends, then end; the kernel kills what is left."""
    while True:
        number = signal.sigwaitinfo(_WATCHED).si_signo
        if number != signal.SIGCHLD:
            os.kill(runner, number)
            continue
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                os._exit(3)
            if pid == runner:
                os._exit(exit_status(status))
            if pid == 0:
                break
