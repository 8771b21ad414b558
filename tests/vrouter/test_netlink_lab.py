"""Requests to the kernel by the thousand."""

import contextlib
from dataclasses import replace

import pytest

from multinet.vrouter import addressing
from multinet.vrouter.netlink import NetlinkError, Socket

pytestmark = pytest.mark.lab


def test_every_refusal_of_a_large_batch_is_told():
    """A repair of a network with many members asks again for all of what is there."""
    places = [f"10.9.{number // 250}.{number % 250 + 1}" for number in range(3000)]
    asked = [addressing.delete_neighbour(1, place) for place in places]
    strict = [replace(request, tolerated=frozenset()) for request in asked]
    with contextlib.closing(Socket()) as through:
        with pytest.raises(NetlinkError) as caught:
            through.send(strict)
        assert len(caught.value.failures) == len(strict)
        assert through.dump(18, bytes(16))  # RTM_GETLINK: the socket is of use afterwards
