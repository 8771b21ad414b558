"""Echo requests one after the other, standard library only: ``echoes.py ADDRESS``.

Each line read from standard input is how many; the median round trip is printed, in microseconds. The other
kernel answers, so no process has to be woken there; and a median is not moved by the moments at which this
process does not run.
"""

from __future__ import annotations

import socket
import statistics
import struct
import sys
import time

_REQUEST, _REPLY = 8, 0
_LIMIT_S = 2
_WARM_UP = 20


def request(number: int) -> bytes:
    """An ICMP echo request with 56 bytes of data (RFC 792)."""
    data = bytes(56)
    head = struct.pack("!BBHHH", _REQUEST, 0, 0, 7, number)
    total = sum(struct.unpack("!32H", head + data))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!BBHHH", _REQUEST, 0, ~(total + (total >> 16)) & 0xFFFF, 7, number) + data


def main(address: str) -> None:
    """Measure when told; exits with status 1 when an answer does not come."""
    requests = [request(number) for number in range(256)]
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as through:
        # A timeout of Python's would cost a system call more for each answer.
        through.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _LIMIT_S, 0))
        through.connect((address, 0))
        for line in sys.stdin:
            times = []
            for number in range(int(line) + _WARM_UP):
                begun = time.perf_counter_ns()
                through.send(requests[number % 256])
                while through.recv(2048)[20] != _REPLY:
                    pass
                times.append(time.perf_counter_ns() - begun)
            print(statistics.median(times[_WARM_UP:]) / 1000, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
