"""Servers in pods that say where they were reached, and questions to them from the test's own place."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from conformance.target import CannotObserveError
from traffic import netns

_LIMIT_S = 10.0
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@contextlib.contextmanager
def answering(path: str, address: str, port: int, protocol: str, answer: str) -> Iterator[None]:
    """A server in a pod's namespace; ``CannotObserveError`` where there is no way in."""
    if not path:
        raise CannotObserveError("no way into the pods' namespaces")
    server = netns.inside(path, lambda: socket.socket(socket.AF_INET, _KINDS[protocol]))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    if protocol == "tcp":
        server.listen()
    thread = threading.Thread(target=_serve, args=(server, protocol, answer.encode()), daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Only a shutdown wakes a thread that waits in accept or recv.
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join(_LIMIT_S)
        server.close()


def _serve(server: socket.socket, protocol: str, answer: bytes) -> None:
    with contextlib.suppress(OSError):
        while True:
            if protocol == "tcp":
                link, _ = server.accept()
                with link:
                    link.sendall(answer)
            else:
                asked, sender = server.recvfrom(64)
                if not asked and not sender:
                    return
                server.sendto(answer, sender)


def ask(address: str, port: int, protocol: str) -> str:
    """Who answers there; empty when nobody does."""
    with socket.socket(socket.AF_INET, _KINDS[protocol]) as client:
        client.settimeout(_LIMIT_S)
        try:
            client.connect((address, port))
            if protocol == "udp":
                client.send(b"?")
            return client.recv(64).decode()
        except OSError:
            return ""
