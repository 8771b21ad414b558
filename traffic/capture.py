"""Capture on every interface of many network namespaces at once, with kernel timestamps.

One unbound AF_PACKET socket per namespace sees all its interfaces (packet(7): ``sockaddr_ll`` names the
interface and the direction of each frame), so a pod with many interfaces costs one descriptor. One thread
waits on all of them. Frames the kernel had to drop are counted per namespace, because a capture that lost
frames can't prove that nothing arrived. Closing a packet socket waits for an RCU grace period (12-14 ms),
which sockets closed at the same time share; hence the threads in ``close``.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from multinet.errors import LabError
from multinet.waits import wait_event
from traffic import netns, pcap
from traffic.endpoint import Place

HOST, BROADCAST, MULTICAST, OTHER_HOST, OUTGOING = range(5)
"""``sll_pkttype`` of packet(7)."""

_ETH_P_ALL = 0x0003
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_TIMESTAMPNS = 35
_SO_RCVBUFFORCE = 33
_RECEIVE_BUFFER = 8 << 20
_FRAME_LIMIT = 65535
_BATCH_LIMIT = 4096
_START_LIMIT_S = 5.0
_STOP_LIMIT_S = 5.0
_CLOSERS = 64


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame seen on an interface; ``packet_type`` is one of the constants above."""

    place: Place
    packet_type: int
    time_ns: int
    data: bytes

    @property
    def incoming(self) -> bool:
        """Whether it came in from the link, and did not go out to it."""
        return self.packet_type in (HOST, BROADCAST, MULTICAST, OTHER_HOST)


@dataclass(frozen=True, slots=True)
class Counters:
    """Frames of one namespace since the capture began; ``dropped`` never reached the capture."""

    received: int = 0
    dropped: int = 0


class Capture:
    """Frames of all interfaces (loopback left out) of ``{name: namespace path}``; a context manager.

    ``on_frames`` is called in the capture thread with each batch of new frames. ``failed`` says which
    namespaces are not captured, and why. At most ``max_frames`` frames are kept for the files; what comes
    after is still handed to ``on_frames`` and counted in ``not_kept``.
    """

    def __init__(
        self,
        namespaces: Mapping[str, str],
        on_frames: Callable[[Sequence[Frame]], None],
        *,
        max_frames: int = 200_000,
    ) -> None:
        self.failed: dict[str, str] = {}
        self.not_kept = 0
        self._namespaces = dict(namespaces)
        self._on_frames = on_frames
        self._max_frames = max_frames
        self._sockets: dict[str, socket.socket] = {}
        self._counters: dict[str, Counters] = {}
        self._frames: list[Frame] = []
        self._ended: Future[None] = Future()
        self._thread: threading.Thread | None = None
        self._stop_fd = -1

    def __enter__(self) -> Capture:
        """Open the sockets and wait until the capture thread listens to them."""
        for name, result in netns.visit(self._namespaces, lambda _name: _open()).items():
            if isinstance(result, OSError):
                self.failed[name] = result.strerror or str(result)
            else:
                self._sockets[name] = result
                self._counters[name] = Counters()
        self._stop_fd = os.eventfd(0)
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="capture", daemon=True)
        self._thread.start()
        wait_event("the capture thread to start", ready, _START_LIMIT_S)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread, take the last counters, close all sockets together."""
        os.eventfd_write(self._stop_fd, 1)
        if self._thread is not None:
            self._thread.join(_STOP_LIMIT_S)
        os.close(self._stop_fd)
        self.counters()
        close_together(self._sockets.values())

    def check(self) -> None:
        """Raise ``LabError`` if the capture thread died."""
        if self._ended.done() and (error := self._ended.exception()) is not None:
            raise LabError("the capture stopped early", why=str(error)) from error

    def counters(self) -> dict[str, Counters]:
        """Counters per namespace so far (the kernel's are reset by each read, PACKET_STATISTICS)."""
        for name, sock in self._sockets.items():
            with contextlib.suppress(OSError):  # a socket that was closed keeps its last counters
                raw = sock.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
                received, dropped = struct.unpack("=II", raw)
                before = self._counters[name]
                self._counters[name] = Counters(before.received + received, before.dropped + dropped)
        return dict(self._counters)

    def write(self, folder: Path, places: Iterable[Place]) -> dict[Place, Path]:
        """Write one pcap file per place into ``folder`` (made if missing), also for places without frames."""
        folder.mkdir(parents=True, exist_ok=True)
        wanted: dict[Place, list[tuple[int, bytes]]] = {place: [] for place in places}
        for frame in self._frames:
            if frame.place in wanted:
                wanted[frame.place].append((frame.time_ns, frame.data))
        files: dict[Place, Path] = {}
        for place, records in sorted(wanted.items()):
            path = folder / pcap.file_name(place)
            if path in files.values():  # a-b/c and a/b-c make the same name
                path = path.with_name(f"{path.stem}~{len(files)}.pcap")
            files[place] = path
            pcap.write(path, records)
        return files

    def _run(self, ready: threading.Event) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._stop_fd, selectors.EVENT_READ)
                for name, sock in self._sockets.items():
                    selector.register(sock, selectors.EVENT_READ, name)
                ready.set()
                self._pump(selector)
            self._ended.set_result(None)
        except Exception as error:
            self._ended.set_exception(error)
            ready.set()

    def _pump(self, selector: selectors.BaseSelector) -> None:
        buffer = bytearray(_FRAME_LIMIT)
        while True:
            batch: list[Frame] = []
            stop = False
            for key, _events in selector.select():
                if key.data is None:
                    stop = True
                    continue
                try:
                    batch.extend(_drain(self._sockets[key.data], key.data, buffer))
                except OSError as error:
                    selector.unregister(key.fileobj)
                    self.failed[key.data] = error.strerror or str(error)
            if batch:
                room = max(0, self._max_frames - len(self._frames))
                self._frames.extend(batch[:room])
                self.not_kept += len(batch[room:])
                self._on_frames(batch)
            if stop:
                return


def open_sender() -> socket.socket:
    """A packet socket that only sends: protocol 0 receives nothing (packet(7))."""
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)


def close_together(sockets: Iterable[socket.socket]) -> None:
    """Close packet sockets in parallel, so that they share the kernel's grace period."""
    everything = list(sockets)
    if everything:
        with ThreadPoolExecutor(min(_CLOSERS, len(everything)), thread_name_prefix="close") as pool:
            list(pool.map(socket.socket.close, everything))


def _open() -> socket.socket:
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    sock = socket.socket(socket.AF_PACKET, kind, socket.htons(_ETH_P_ALL))
    try:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        except PermissionError:  # inside a user namespace: as much as net.core.rmem_max allows
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    except OSError:
        sock.close()
        raise
    return sock


def _drain(sock: socket.socket, name: str, buffer: bytearray) -> list[Frame]:
    found: list[Frame] = []
    for _ in range(_BATCH_LIMIT):  # a flood in one namespace must not starve the others
        try:
            length, ancillary, _flags, address = sock.recvmsg_into([buffer], 64)
        except BlockingIOError:
            return found
        interface, packet_type = address[0], address[2]
        if interface == "lo":
            continue
        time_ns = 0
        for _level, kind, raw in ancillary:
            if kind == _SO_TIMESTAMPNS:
                seconds, rest = struct.unpack_from("=qq", raw)
                time_ns = seconds * 1_000_000_000 + rest
        found.append(Frame((name, interface), packet_type, time_ns, bytes(buffer[:length])))
    return found
