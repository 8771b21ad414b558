"""Events are kept for an hour after their last change."""

from __future__ import annotations

from multinet.apiserver.expiry import EventExpiry
from multinet.apiserver.store import Store


def event(name, namespace="default"):
    return {"apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": namespace}}


def test_an_event_goes_an_hour_after_it_was_written_last():
    store = Store()
    expiry = EventExpiry(store)
    removed = []
    store.on_commit(lambda change: removed.append((change.type, change.entry.name)))
    store.create("configmaps", event("no-event"))
    store.create("events", event("once"))
    repeated = store.create("events", event("repeated"))
    store.create("events", event("once", "other"))
    expiry.sweep(100.0)
    expiry.sweep(3600.0)
    store.replace(repeated, repeated.copy())
    expiry.sweep(3640.0)
    assert store.count("events") == 3
    removed.clear()
    expiry.sweep(3700.0)
    assert [entry.name for entry in store.entries("events")] == ["repeated"]
    assert removed == [("DELETED", "once"), ("DELETED", "once")]
    expiry.sweep(7239.0)
    assert store.count("events") == 1
    expiry.sweep(7240.0)
    assert store.count("events") == 0
    assert store.count("configmaps") == 1


def test_an_event_made_anew_has_its_own_hour():
    store = Store()
    expiry = EventExpiry(store)
    store.remove(store.create("events", event("a")))
    expiry.sweep(0.0)
    first = store.create("events", event("a"))
    expiry.sweep(10.0)
    store.remove(first)
    store.create("events", event("a"))
    expiry.sweep(3610.0)
    assert store.count("events") == 1
