"""TCP by plain sockets: ``talk.py serve PORT`` answers each client, ``talk.py ask ADDRESS PORT`` is one."""

import socket
import sys
import threading
import time

LIMIT_S = 5.0
AGAIN_S = 0.05


def serve(port: int) -> None:
    """Tell each client the address it was seen with."""
    with socket.create_server(("0.0.0.0", port)) as server:
        while True:
            client, (address, _) = server.accept()
            with client:
                client.sendall(f"hello {address}".encode())


def ask(address: str, port: int) -> str:
    """The server's words; asked again while it is not up."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            with socket.create_connection((address, port), timeout=LIMIT_S) as connection:
                return connection.recv(100).decode()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            threading.Event().wait(AGAIN_S)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    sys.stdout.write(ask(sys.argv[2], int(sys.argv[3])) + "\n")
