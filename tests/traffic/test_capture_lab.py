"""The capture alone: drops are counted, closing is shared, failures have names."""

from __future__ import annotations

import threading
import time

import pytest

from traffic import frames
from traffic.capture import OUTGOING, Capture
from traffic.endpoint import inspect
from traffic.senders import Senders

pytestmark = pytest.mark.lab
NONCE = b"captured"


@pytest.fixture
def pod(net):
    name = net.pod("a")
    net.wire(name, "eth1", "10.1.0.1/24")
    net.wire(name, "eth2", "10.2.0.1/24")
    return name


def test_frames_carry_interface_direction_and_kernel_time(net, pod, tmp_path):
    seen = []
    arrived = threading.Event()

    def take(batch):
        seen.extend(one for one in batch if frames.parse(one.data, NONCE))
        if len(seen) == 2:
            arrived.set()

    before = time.time_ns()
    with (
        Capture({"default/a": net.path(pod)}, take) as capture,
        Senders([net.path(pod), net.path(net.switch)]) as senders,
    ):
        frame = frames.control(NONCE, 1, "02:00:00:00:00:01", "02:00:00:00:00:02")
        assert senders.send(net.path(pod), "eth2", frame) == ""
        assert senders.send(net.path(net.switch), "p1", frame) == ""
        assert arrived.wait(30)
    assert {(one.place, one.incoming) for one in seen} == {
        (("default/a", "eth2"), False),
        (("default/a", "eth1"), True),
    }
    assert next(one for one in seen if not one.incoming).packet_type == OUTGOING
    assert all(before <= one.time_ns <= time.time_ns() for one in seen)
    files = capture.write(tmp_path, [("default/a", "eth1"), ("default/a", "eth3")])
    assert [path.name for path in files.values()] == ["default-a-eth1.pcap", "default-a-eth3.pcap"]
    assert [path.stat().st_size > 24 for path in files.values()] == [True, False]


def test_frames_the_kernel_dropped_are_counted(net, pod):
    reading = threading.Event()
    go_on = threading.Event()

    def stall(_batch):
        reading.set()
        go_on.wait(10)

    big = frames.control(NONCE, 1, "02:00:00:00:00:01", "02:00:00:00:00:02").ljust(1500, b"\0")
    with Capture({"default/a": net.path(pod)}, stall) as capture, Senders([net.path(pod)]) as senders:
        assert capture.counters()["default/a"].dropped == 0
        senders.send(net.path(pod), "eth1", big)
        assert reading.wait(30)
        for _ in range(20_000):
            senders.send(net.path(pod), "eth1", big)
        dropped = capture.counters()["default/a"].dropped
        go_on.set()
    assert dropped > 0
    assert capture.counters()["default/a"].dropped >= dropped


def test_a_namespace_that_can_not_be_entered_is_named_and_the_others_go_on(net, pod):
    with Capture(
        {"default/a": net.path(pod), "default/b": "/run/netns/none"}, lambda _batch: None
    ) as capture:
        assert capture.failed == {"default/b": "No such file or directory"}
        assert list(capture.counters()) == ["default/a"]


def closing_time(net, pod, captures):
    """Seconds that it takes to close captures in that many namespaces."""
    places = {f"default/{number}": net.path(pod) for number in range(captures)}
    with Capture(places, lambda _batch: None):
        started = time.perf_counter()
    return time.perf_counter() - started


def test_many_captures_close_together(net, pod):
    """A packet socket takes 12 to 14 ms to close, for the kernel waits meanwhile; they wait side by side."""
    alone = sorted(closing_time(net, pod, 1) for _ in range(5))[2]
    together = min(closing_time(net, pod, 40) for _ in range(5))
    assert together < 40 * alone


def test_a_callback_that_fails_ends_the_run_and_not_silently(net, pod):
    from multinet.errors import LabError

    failed = threading.Event()

    def broken(_batch):
        failed.set()
        raise ValueError("no such nonce")

    with Capture({"default/a": net.path(pod)}, broken) as capture, Senders([net.path(pod)]) as senders:
        senders.send(
            net.path(pod), "eth1", frames.control(NONCE, 1, "02:00:00:00:00:01", "02:00:00:00:00:02")
        )
        assert failed.wait(30)
    with pytest.raises(LabError, match="no such nonce"):
        capture.check()


def test_sending_on_a_missing_or_down_interface_says_so(net, pod):
    net.ip("-n", pod, "link", "set", "eth2", "down")
    frame = frames.control(NONCE, 1, "02:00:00:00:00:01", "02:00:00:00:00:02")
    with Senders([net.path(pod), "/run/netns/none"]) as senders:
        assert senders.send(net.path(pod), "eth9", frame) == "No such device"
        assert senders.send(net.path(pod), "eth2", frame) == "Network is down"
        assert senders.send("/run/netns/none", "eth1", frame) == "No such file or directory"
    assert [one.interface for one in inspect("default/a", net.path(pod))] == ["eth1", "eth2"]
