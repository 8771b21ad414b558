"""The zygote process: import, fork roles into namespaces, report their ends. Single-threaded throughout.

A request is served as soon as the module of its entry point is imported, between two imports if need be: so
the API server is up while the agents' modules are still being read. The module of a role that was not
announced is imported when the role is asked for, so that it starts warm the next time. ``gc.freeze`` before
each fork keeps the collector from touching (and so copying) the pages all roles share.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import random
import select
import signal
import socket
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any, NoReturn

from topology import linux
from topology.isolation import exit_status
from topology.zygote import MESSAGE_LIMIT

_log = logging.getLogger("topology.zygote")
Request = dict[str, Any]


def run(control: socket.socket, preload: tuple[str, ...], runner: int, log: Path | None) -> NoReturn:
    """Be the zygote until the runner closes its end or dies."""
    status = 1
    try:
        linux.die_with_parent()
        if os.getppid() == runner:
            _settle(control, log)
            _Server(control).serve(preload)
            status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _settle(control: socket.socket, log: Path | None) -> None:
    os.setsid()
    linux.set_process_name("lab-zygote")
    if log is not None:
        _redirect(log)
    # The runner's pipes and files must not live on in roles: a reader would never see their end.
    keep = control.fileno()
    os.closerange(3, keep)
    os.closerange(keep + 1, 20000)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # What the runner (perhaps a test runner) does with logs and warnings is not the roles' business.
    logging.getLogger().handlers.clear()
    logging.getLogger().setLevel(logging.WARNING)
    warnings.resetwarnings()
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
    # aiohttp reads all certificates of the machine when it is imported, before anybody asks for them: 50 ms
    # of a lab's start. Roles have the environment of their request and read what they need.
    os.environ["SSL_CERT_FILE"] = os.environ["SSL_CERT_DIR"] = os.devnull


def _redirect(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(output)
    os.close(nothing)
    # What sys.stdout and sys.stderr are may have been replaced by a test runner before the fork.
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


class _Server:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._waiting: list[Request] = []
        self._roles: dict[int, str] = {}
        self._open = True
        self._wake, wake_write = os.pipe()
        for end in (self._wake, wake_write):
            os.set_blocking(end, False)
        self._wake_write = wake_write
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def serve(self, preload: tuple[str, ...]) -> None:
        gc.disable()
        for module in preload:
            self._import(module)
            self._turn(block=False)
            self._start_waiting(imported_only=True)
        gc.collect()
        gc.enable()
        while self._open:
            self._start_waiting(imported_only=False)
            self._turn(block=True)

    def _import(self, module: str) -> None:
        try:
            importlib.import_module(module)
        except Exception:
            _log.exception("can't import %s", module)

    def _turn(self, *, block: bool) -> None:
        handles: list[Any] = [self._control, self._wake]
        ready = select.select(handles, [], [], None if block else 0)[0]
        if self._wake in ready:
            os.read(self._wake, 4096)
            self._bury()
        if self._control in ready:
            data = self._control.recv(MESSAGE_LIMIT)
            if data:
                self._waiting.append(json.loads(data))
            else:
                self._open = False

    def _start_waiting(self, *, imported_only: bool) -> None:
        while self._waiting:
            if imported_only and self._waiting[0]["entry"].partition(":")[0] not in sys.modules:
                return
            request = self._waiting.pop(0)
            self._import(request["entry"].partition(":")[0])
            self._spawn(request)

    def _spawn(self, request: Request) -> None:
        gc.freeze()
        zygote = os.getpid()
        # The role must not run before the runner has been told its PID, nor may its end be told before.
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(kind="failed", id=request["id"], why=str(error))
            return
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for handle in (self._wake, self._wake_write, self._control.fileno()):
                os.close(handle)
            _be_role(request, zygote)
        self._roles[pid] = request["id"]
        self._tell(kind="spawned", id=request["id"], pid=pid)

    def _bury(self) -> None:
        while self._roles:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._tell(kind="exited", id=self._roles.pop(pid), pid=pid, status=exit_status(status))

    def _tell(self, **message: Any) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            self._open = False


def _be_role(request: Request, zygote: int) -> NoReturn:
    """Become the role: session, log, namespaces, environment, then its entry point. Never returns."""
    status = 1
    try:
        linux.die_with_parent()
        if os.getppid() != zygote:
            os._exit(1)
        os.setsid()
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python itself starts
        _redirect(Path(request["log"]))
        if request["node_pid"] is not None:
            here = Path.cwd()
            linux.join(request["node_pid"], "net", "uts", "mnt")
            os.chdir(here)
        os.environ.clear()
        os.environ.update(request["env"])
        random.seed()  # else every role would draw the numbers of the zygote's generator
        linux.set_process_name(request["id"])
        module, _, function = request["entry"].partition(":")
        status = int(getattr(importlib.import_module(module), function)(list(request["argv"])) or 0)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
