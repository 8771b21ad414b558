"""Topics: who is woken, and that long service costs no memory."""

from multinet.controller import waiting
from multinet.controller.waiting import Waiting


def test_a_wake_between_the_look_and_the_wait_is_not_lost():
    woken = []
    topics = Waiting(woken.append)
    since = topics.epoch
    topics.wake("a")
    topics.put("pod", ("a",), since)
    assert woken == ["pod"]
    topics.put("pod", ("a",), topics.epoch)
    assert woken == ["pod"]
    topics.wake("a")
    assert woken == ["pod", "pod"]


def test_old_wakes_are_forgotten_and_then_count_as_happened(monkeypatch):
    monkeypatch.setattr(waiting, "_REMEMBERED", 3)
    woken = []
    topics = Waiting(woken.append)
    begun = topics.epoch
    topics.wake("a")
    for number in range(50):
        topics.wake(f"mac:{number}")
    assert len(topics._woken) == 3
    topics.put("slow", ("a",), begun)
    assert woken == ["slow"]
    topics.put("quick", ("a",), topics.epoch)
    assert woken == ["slow"]
