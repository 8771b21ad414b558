"""One end of a TCP stream: ``tcp_stream.py receive ADDRESS`` or ``send ADDRESS SECONDS``.

Megabytes go to and from the kernel with each call, so that Python is idle most of the time. The receiver
prints ``ready``, and at the end bits per second from its first byte to the last.
"""

from __future__ import annotations

import socket
import sys
import time

PORT = 5201
CHUNK = 1 << 22


def receive(address: str) -> None:
    """Accept one connection and count."""
    buffer = bytearray(CHUNK)
    with socket.create_server((address, PORT)) as server:
        print("ready", flush=True)
        stream, _ = server.accept()
    with stream:
        total = stream.recv_into(buffer)
        begun = time.perf_counter()
        while count := stream.recv_into(buffer):
            total += count
        print(8 * total / (time.perf_counter() - begun), flush=True)


def send(address: str, seconds: float) -> None:
    """Send for some seconds, as fast as it goes."""
    data = memoryview(bytes(CHUNK))
    with socket.create_connection((address, PORT), timeout=10) as stream:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            stream.sendall(data)


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(sys.argv[2])
    else:
        send(sys.argv[2], float(sys.argv[3]))
