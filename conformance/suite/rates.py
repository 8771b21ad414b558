"""How fast data gets from one interface to another: TCP between sockets opened in the two namespaces.

Sockets stay in the network namespace in which they were opened, so nothing has to run in the pods.
"""

from __future__ import annotations

import socket
import threading
import time

from traffic import netns

_CHUNK = bytes(16384)
_CONNECT_LIMIT_S = 20.0
_SHORTEST_S = 0.01


def measure(
    source: str, destination: str, address: str, seconds: float, *, after_s: float, plenty: float
) -> float:
    """Bits per second that arrive at ``address`` in ``seconds``, counted from ``after_s`` on.

    ``source`` and ``destination`` are paths of network namespaces. What arrives before ``after_s`` is the
    burst that a limit may let through. Where ``plenty`` bits have been counted that is enough. Raises
    ``OSError`` when no connection can be made.
    """
    if not (source and destination):
        raise OSError("no way into the pods' namespaces")
    with (
        netns.inside(destination, socket.socket) as server,
        netns.inside(source, socket.socket) as sender,
    ):
        server.bind((address, 0))
        server.listen()
        server.settimeout(_CONNECT_LIMIT_S)
        sender.settimeout(_CONNECT_LIMIT_S)
        sender.connect(server.getsockname())
        receiver, _ = server.accept()
        end = threading.Event()
        thread = threading.Thread(target=_send, args=(sender, end), daemon=True)
        thread.start()
        try:
            with receiver:
                return _count(receiver, seconds, after_s, plenty)
        finally:
            end.set()
            thread.join(_CONNECT_LIMIT_S)


def _send(sender: socket.socket, end: threading.Event) -> None:
    try:
        while not end.is_set():
            sender.sendall(_CHUNK)
    except OSError:
        return  # the receiver has enough


def _count(receiver: socket.socket, seconds: float, after_s: float, plenty: float) -> float:
    begun = time.monotonic()
    counted, since = 0, begun + after_s
    while (now := time.monotonic()) < begun + seconds and counted * 8 < plenty:
        receiver.settimeout(max(0.01, begun + seconds - now))
        try:
            got = len(receiver.recv(len(_CHUNK)))
        except TimeoutError:
            break
        if not got:
            break
        if time.monotonic() >= since:
            counted += got
    return counted * 8 / max(time.monotonic() - since, _SHORTEST_S)
