"""One end of TCP streams: ``tcp_stream.py receive ADDRESS`` or ``send ADDRESS``.

Each line that the sender reads from its standard input is for how many seconds it sends, as fast as it goes,
through a connection of its own. The receiver prints ``ready``, and of each stream the bits per second from
its first byte to the last. Megabytes go to and from the kernel with each call, so that Python is idle most of
the time.
"""

from __future__ import annotations

import socket
import sys
import time

PORT = 5201
CHUNK = 1 << 22


def receive(address: str) -> None:
    """Accept one connection after the other and count."""
    buffer = bytearray(CHUNK)
    with socket.create_server((address, PORT)) as server:
        print("ready", flush=True)
        while True:
            stream, _ = server.accept()
            with stream:
                total = stream.recv_into(buffer)
                begun = time.perf_counter()
                while count := stream.recv_into(buffer):
                    total += count
                print(8 * total / (time.perf_counter() - begun), flush=True)


def send(address: str) -> None:
    """Send when told, until there is no one to tell."""
    data = memoryview(bytes(CHUNK))
    for line in sys.stdin:
        with socket.create_connection((address, PORT), timeout=10) as stream:
            end = time.perf_counter() + float(line)
            while time.perf_counter() < end:
                stream.sendall(data)


if __name__ == "__main__":
    if sys.argv[1] == "receive":
        receive(sys.argv[2])
    else:
        send(sys.argv[2])
