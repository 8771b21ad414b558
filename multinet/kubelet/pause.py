"""The helper of ``pause.c`` in Python, for nodes without a C compiler: same verbs, same files, same output.

Executed by path (``python -ISE pause.py VERB ...``), so it imports the standard library only. Its processes
are single-threaded, hence ``fork`` is safe here. What each verb does is said in ``pause.c``;
``tests/kubelet/test_pause.py`` is the contract of both.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import sys
import termios
import time
from typing import NoReturn

LINE = 16384
LOG_LIMIT = 10 << 20
CANNOT_START = 128
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x20000, 0x4000000, 0x8000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 0x1000, 0x4000, 1 << 18
MS_REMOUNT, MS_UNBINDABLE, MS_RELATIME = 0x20, 1 << 17, 1 << 21
MS_NOATIME, MS_NODIRATIME, ST_RELATIME = 1024, 2048, 4096
MNT_DETACH = 2
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class StepError(Exception):
    """What could not be done, with the system's reason."""


def _call(what: str, result: int) -> None:
    if result != 0:
        raise StepError(f"{what}: {os.strerror(ctypes.get_errno())}")


def _usage() -> int:
    os.write(
        2,
        b"usage: pause sandbox [--host-network] [--etc DIR] HOSTNAME ID |"
        b" run [--mounts FILE] TARGET PREFIX CWD -- ARGV... | exec [-t] TARGET CWD -- ARGV... | idle\n",
    )
    return 2


def _reap_until_term() -> NoReturn:
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0] > 0:
                pass
        if signal.sigwaitinfo(signals).si_signo != signal.SIGCHLD:
            os._exit(0)


def _null_stdio() -> None:
    descriptor = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(descriptor, number)
    if descriptor > 2:
        os.close(descriptor)


def _cover_etc(directory: str) -> None:
    for name in ("hostname", "hosts", "resolv.conf"):
        source, target = f"{directory}/{name}", f"/etc/{name}"
        if os.access(source, os.F_OK) and os.access(target, os.F_OK):
            result = _libc.mount(source.encode(), target.encode(), None, ctypes.c_ulong(MS_BIND), None)
            _call("cover the files in /etc", result)


def _furnish(hostname: str, host_network: bool, etc: str) -> None:
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    _call("make mounts private", _libc.mount(None, b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))
    _libc.umount2(b"/run/netns", MNT_DETACH)
    _call("mount /proc", _libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(flags), None))
    if not host_network:
        _libc.mount(b"sysfs", b"/sys", b"sysfs", ctypes.c_ulong(flags | MS_RDONLY), None)
        socket.sethostname(hostname)
    if etc:
        _cover_etc(etc)
    os.chdir("/")


def _sandbox(arguments: list[str]) -> int:
    host_network = arguments[:1] == ["--host-network"]
    arguments = arguments[int(host_network) :]
    etc = arguments[1] if arguments[:1] == ["--etc"] and len(arguments) == 4 else ""
    arguments = arguments[2:] if etc else arguments
    if len(arguments) != 2:
        return _usage()
    flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC
    if not host_network:
        flags |= CLONE_NEWNET | CLONE_NEWUTS
    reader, writer = os.pipe()
    _call("unshare", _libc.unshare(flags))
    pid = os.fork()
    if pid == 0:
        os.setsid()
        try:
            _furnish(arguments[0], host_network, etc)
        except (StepError, OSError) as error:
            os.write(writer, str(error).encode())
            os._exit(1)
        os.write(writer, b"ok")
        os.close(reader)
        os.close(writer)
        _null_stdio()
        _reap_until_term()
    os.close(writer)
    answer = os.read(reader, 256)
    if answer != b"ok":
        os.write(2, (answer or b"the sandbox process died") + b"\n")
        return 1
    os.write(1, b"%d\n" % pid)
    return 0


class _Target:
    """The namespaces of a sandbox, opened before any of them is entered."""

    def __init__(self, pid: str) -> None:
        self.namespaces = [self._open(pid, kind) for kind in ("net", "uts", "ipc", "mnt")]
        self.pid_namespace = self._open(pid, "pid")

    @staticmethod
    def _open(pid: str, kind: str) -> int:
        path = f"/proc/{pid}/ns/{kind}"
        try:
            return os.open(path, os.O_RDONLY)
        except OSError as error:
            raise StepError(f"{path}: {error.strerror}") from error

    def enter_for_children(self) -> None:
        _call("enter the PID namespace", _libc.setns(self.pid_namespace, CLONE_NEWPID))

    def execute(self, cwd: str, command: list[str], steps: list[str] | None = None) -> NoReturn:
        """Enter and become the command; ``OSError`` of the command, ``StepError`` of a step before it."""
        for descriptor in self.namespaces:
            _call("enter a namespace", _libc.setns(descriptor, 0))
        if steps is not None:
            _do_steps(steps)
        try:
            os.chdir(cwd)
        except OSError as error:
            raise StepError(f"{cwd}: {error.strerror}") from error
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execvp(command[0], command)


def _mount(
    what: str, source: bytes | None, target: str, kind: bytes | None, flags: int, data: bytes | None
) -> None:
    _call(what, _libc.mount(source, os.fsencode(target), kind, ctypes.c_ulong(flags), data))


def _read_only(what: str, path: str) -> None:
    found = os.statvfs(path).f_flag
    # In a user namespace these may be locked: a remount must repeat them. Their values are the same.
    kept = found & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME)
    kept |= MS_RELATIME if found & ST_RELATIME else 0
    _mount(what, None, path, None, MS_REMOUNT | MS_BIND | MS_RDONLY | kept, None)


def _become_root(what: str, path: str) -> None:
    os.chdir(path)
    number = SYS_PIVOT_ROOT.get(os.uname().machine, -1)
    _call(what, _libc.syscall(ctypes.c_long(number), b".", b"."))
    _call(what, _libc.umount2(b".", MNT_DETACH))
    os.chdir("/")


def _mount_step(verb: str, first: str, second: str) -> None:
    what = f"{verb} {first} {second}"
    try:
        if verb == "tmpfs":  # unbindable: a bind of what it lies in must not take it along
            _mount(what, b"tmpfs", first, b"tmpfs", MS_NOSUID | MS_NODEV, b"mode=755")
            _mount(what, None, first, None, MS_UNBINDABLE, None)
        elif verb == "dir":
            with contextlib.suppress(FileExistsError):
                os.mkdir(first, 0o755)  # noqa: PTH102 - pathlib costs 3 ms of start
        elif verb == "file":
            if not os.access(first, os.F_OK):
                os.close(os.open(first, os.O_WRONLY | os.O_CREAT, 0o644))
        elif verb == "link":
            os.symlink(first, second)  # noqa: PTH211
        elif verb == "bind" or (verb == "same" and os.access(first, os.F_OK)):
            _mount(what, os.fsencode(first), second, None, MS_BIND | MS_REC, None)
        elif verb == "ro":
            _read_only(what, first)
        elif verb == "root":
            _become_root(what, first)
        elif verb != "same":
            raise StepError(f"{what}: Invalid argument")
    except OSError as error:
        raise StepError(f"{what}: {error.strerror}") from error


def _do_steps(steps: list[str]) -> None:
    _call("a mount namespace for the container", _libc.unshare(CLONE_NEWNS))
    for position in range(0, len(steps) - 2, 3):
        _mount_step(*steps[position : position + 3])


def _say(descriptor: int, text: str) -> None:
    os.write(descriptor, text.encode() + b"\n")


def _exec(arguments: list[str]) -> int:
    tty = arguments[:1] == ["-t"]
    rest = arguments[int(tty) :]
    if len(rest) < 4 or rest[2] != "--":
        return _usage()
    target = _Target(rest[0])
    target.enter_for_children()
    pid = os.fork()
    if pid == 0:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if tty:
            os.setsid()
            with contextlib.suppress(OSError):
                fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        try:
            target.execute(rest[1], rest[3:])
        except StepError as error:
            _say(2, str(error))
            os._exit(CANNOT_START)
        except OSError as error:
            _say(2, f"{rest[3]}: {error.strerror}")
            os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    _null_stdio()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return 128 - code if code < 0 else code


class _Log:
    """``<prefix>.log``; at ``LOG_LIMIT`` bytes it becomes ``<prefix>.old``, and a new one begins."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._size = 0
        self._descriptor = self._open()

    def write(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk must not stop the container
            os.write(self._descriptor, line)
        self._size += len(line)
        if self._size >= LOG_LIMIT:
            self._turn()

    def _open(self) -> int:
        return os.open(f"{self._prefix}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)

    def _turn(self) -> None:
        # What can't be renamed or made goes on growing: a container's output is never lost for that.
        self._size = 0
        with contextlib.suppress(OSError):
            os.rename(f"{self._prefix}.log", f"{self._prefix}.old")  # noqa: PTH104 - pathlib costs 3 ms
            before, self._descriptor = self._descriptor, self._open()
            os.close(before)


class _Stream:
    """One output of a container, cut into log lines."""

    def __init__(self, descriptor: int, name: bytes, log: _Log) -> None:
        self.descriptor = descriptor
        self._name = name
        self._log = log
        self._text = b""

    def copy(self) -> int:
        """Log what can be read now; how many bytes it was, 0 when there is nothing (more) to read."""
        try:
            data = os.read(self.descriptor, LINE)
        except BlockingIOError:
            return 0
        if not data:
            os.close(self.descriptor)
            self.descriptor = -1
            return 0
        *lines, self._text = (self._text + data).split(b"\n")
        for line in lines:
            self._write(line, b"F")
        while len(self._text) >= LINE:
            self._write(self._text[:LINE], b"P")
            self._text = self._text[LINE:]
        return len(data)

    def finish(self) -> None:
        # Only what is in the pipe now: an orphan that writes without end must not keep us.
        left = 0
        if self.descriptor >= 0:
            os.set_blocking(self.descriptor, False)
            left = int.from_bytes(fcntl.ioctl(self.descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)
        while left > 0 and self.descriptor >= 0 and (count := self.copy()):
            left -= count
        if self._text:
            self._write(self._text, b"P")

    def _write(self, text: bytes, tag: bytes) -> None:
        now = time.time_ns()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9))
        head = f"{stamp}.{now % 10**9:09d}Z ".encode()
        self._log.write(head + self._name + b" " + tag + b" " + text + b"\n")


def _write_file(path: str, first: int, second: int) -> None:
    with open(f"{path}.tmp", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib costs 3 ms of start
        file.write(f"{first} {second} {time.time():.9f}\n")
    os.replace(f"{path}.tmp", path)  # noqa: PTH105


def _read_steps(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs 3 ms of start
            return os.fsdecode(file.read()).split("\0")
    except OSError as error:
        raise StepError(f"{path}: {error.strerror}") from error


def _monitor(arguments: list[str], mounts: str, target: _Target, report: int) -> NoReturn:
    steps = _read_steps(mounts) if mounts else None
    prefix, cwd, command = arguments[1], arguments[2], arguments[4:]
    log = _Log(prefix)
    (out, out_end), (err, err_end), (failure, failure_end) = os.pipe(), os.pipe(), os.pipe()
    target.enter_for_children()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.dup2(out_end, 1)
        os.dup2(err_end, 2)
        try:
            target.execute(cwd, command, steps)
        except StepError as error:
            _say(failure_end, str(error))
        except OSError as error:
            _say(failure_end, f"{command[0]}: {error.strerror}")
        os._exit(CANNOT_START)
    for descriptor in (out_end, err_end, failure_end):
        os.close(descriptor)
    reason = os.read(failure, 512)
    if reason:
        os.write(report, b"!" + reason)
        os._exit(1)
    _write_file(f"{prefix}.started", os.getpid(), pid)
    os.write(report, b"%d %d\n" % (os.getpid(), pid))
    os.close(report)
    _null_stdio()
    code = _watch(pid, [_Stream(out, b"stdout", log), _Stream(err, b"stderr", log)])
    number = -code if code < 0 else 0
    _write_file(f"{prefix}.exit", 128 + number if number else code, number)
    os._exit(0)


def _watch(pid: int, streams: list[_Stream]) -> int:
    process = os.pidfd_open(pid)
    while True:
        readers = [process, *(stream.descriptor for stream in streams if stream.descriptor >= 0)]
        readable = select.select(readers, [], [])[0]
        for stream in streams:
            if stream.descriptor in readable:
                stream.copy()
        if process in readable:
            break
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for stream in streams:
        stream.finish()
    return code


def _run(arguments: list[str]) -> int:
    mounts = arguments[1] if arguments[:1] == ["--mounts"] and len(arguments) > 1 else ""
    arguments = arguments[2:] if mounts else arguments
    if len(arguments) < 5 or arguments[3] != "--":
        return _usage()
    target = _Target(arguments[0])
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        os.setsid()
        try:
            _monitor(arguments, mounts, target, writer)
        except (StepError, OSError) as error:
            os.write(writer, f"!{error}".encode())
            os._exit(1)
    os.close(writer)
    answer = os.read(reader, 1024)
    if answer and not answer.startswith(b"!"):
        os.write(1, answer)
        return 0
    os.write(2, (answer[1:].split(b"\n")[0] or b"the monitor died") + b"\n")
    return CANNOT_START


def main(arguments: list[str]) -> int:
    """Do one verb; return the exit status."""
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    try:
        if verb == "sandbox":
            return _sandbox(rest)
        if verb == "run":
            return _run(rest)
        if verb == "exec":
            return _exec(rest)
    except (StepError, OSError) as error:
        _say(2, str(error))
        return 1 if verb == "sandbox" else CANNOT_START
    if verb == "idle":
        _reap_until_term()
    return _usage()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
