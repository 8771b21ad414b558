"""The informer where servers and links misbehave; reconnect pauses take no time here."""

from __future__ import annotations

import asyncio
import logging

import pytest
from aiohttp import web

from multinet.errors import WaitExpiredError
from multinet.kube.informer import Informer
from multinet.kube.resources import PODS
from multinet.waits import wait_for


def recorded(informer):
    """Register a callback; returns the list of (old version, new version, name) that it fills."""
    seen = []

    def note(old, new):
        either = new or old
        versions = tuple(o and o["metadata"]["resourceVersion"] for o in (old, new))
        seen.append((either["metadata"]["name"], *versions))

    informer.on_change(note)
    return seen


def version_of(store, name):
    return store.get(f"ns/{name}", {}).get("metadata", {}).get("resourceVersion")


async def until(informer, predicate):
    return await informer.wait_until("the store", predicate, 30)


async def watching(api):
    """Wait until a watch is open, so that what follows reaches it."""
    await api.signal.until("a watch", lambda: api.watchers)


async def test_list_then_events(api, client, running):
    api.put("a")
    informer = Informer(client, PODS)
    seen = recorded(informer)
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)
        assert list(informer.store) == ["ns/a"]
        api.put("b")
        api.put("a")
        api.remove("b")
        await until(informer, lambda s: "ns/b" not in s and version_of(s, "a") == "3")
    assert seen == [("a", None, "1"), ("b", None, "2"), ("a", "1", "3"), ("b", "2", None)]
    assert len(api.lists()) == 1


async def test_a_late_callback_hears_of_what_is_there(api, client, running):
    api.put("a")
    informer = Informer(client, PODS)
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)
        assert recorded(informer) == [("a", None, "1")]


async def test_expired_version_lists_again_and_reports_vanished_objects(api, client, running, pauses):
    for name in ("stays", "goes", "changes"):
        api.put(name)
    informer = Informer(client, PODS, wait=pauses)
    seen = recorded(informer)
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)
        await watching(api)
        seen.clear()
        queues, api.watchers = api.watchers, set()
        api.remove("goes")
        api.put("changes")
        api.oldest = api.version
        for queue in queues:
            queue.put_nowait(None)
        await until(informer, lambda s: "ns/goes" not in s)
    assert sorted(seen) == [("changes", "3", "5"), ("goes", "2", None)]
    assert len(api.lists()) == 2
    assert pauses.asked[0][0] == "reconnect of the pods informer"


@pytest.mark.programs
async def test_a_clean_end_of_a_watch_is_resumed_without_listing(api, client, running):
    api.put("a")
    informer = Informer(client, PODS, watch_s=1.2)
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)
        await watching(api)
        api.put("b")
        await until(informer, lambda s: "ns/b" in s)

        await api.signal.until("a second watch", lambda: len(api.watches()) == 2)
    assert api.watches()[1][1]["resourceVersion"] == "2"
    assert len(api.lists()) == 1


async def test_bookmarks_move_the_version_and_change_nothing(api, client, running):
    api.put("a")
    informer = Informer(client, PODS)
    seen = recorded(informer)
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)
        await watching(api)
        for queue in api.watchers:
            queue.put_nowait(("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "77"}}))
        api.version = 77
        api.put("b")
        await until(informer, lambda s: "ns/b" in s)
        assert informer.resource_version == "78"
    assert seen == [("a", None, "1"), ("b", None, "78")]


async def test_duplicate_and_stale_events_change_nothing(api, client, running, make_pod):
    api.version = 9
    api.put("a")
    informer = Informer(client, PODS)
    seen = recorded(informer)
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)
        await watching(api)
        api.send("MODIFIED", make_pod("a", 10))
        api.send("MODIFIED", make_pod("a", 8))
        api.send("DELETED", make_pod("a", 9))
        api.send("DELETED", make_pod("never-seen", 9))
        api.put("z")
        await until(informer, lambda s: "ns/z" in s)
    assert seen == [("a", None, "10"), ("z", None, "11")]


async def test_an_object_made_anew_is_two_changes(api, client, running):
    api.put("a", uid="first")
    informer = Informer(client, PODS)
    seen = recorded(informer)
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)
        await watching(api)
        api.put("a", uid="second")
        await until(informer, lambda s: version_of(s, "a") == "2")
    assert seen == [("a", None, "1"), ("a", "1", None), ("a", None, "2")]


@pytest.mark.parametrize("kept", [True, False], ids=["same objects", "empty store"])
async def test_a_restarted_server_with_a_younger_store_is_listed_again(api, client, running, pauses, kept):
    api.version = 5000
    api.put("a")
    informer = Informer(client, PODS, wait=pauses)
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)
        await watching(api)
        await api.stop()
        api.history.clear()
        api.objects.clear()
        api.version = 1
        if kept:
            api.put("a")
        api.put("new")
        await api.start()
        await until(informer, lambda s: "ns/new" in s)
        assert ("ns/a" in informer.store) is kept
        # Smaller versions than before are no reason to take the new events for stale ones.
        await watching(api)
        api.put("new")
        await until(informer, lambda s: version_of(s, "new") == str(api.version))
    assert len(api.lists()) >= 2


async def test_too_large_resource_version_lists_again(api, client, running, pauses):
    api.version = 100
    api.put("a")
    informer = Informer(client, PODS, wait=pauses)
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)
        await watching(api)
        api.watchers, queues = set(), api.watchers
        api.history.clear()
        api.version = 3
        api.put("a")
        for queue in queues:
            queue.put_nowait(None)
        await until(informer, lambda s: version_of(s, "a") == "4")
    assert len(api.lists()) == 2


async def test_a_refused_connection_means_another_store_so_it_is_listed_again(api, client, running, pauses):
    """The restarted server's versions have already passed ours: resuming would miss what differs."""
    api.put("ours")
    informer = Informer(client, PODS, wait=pauses)
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)
        await watching(api)
        await api.stop()
        refused = len(pauses.asked)

        await pauses.signal.until("a refused list", lambda: len(pauses.asked) > refused + 6)
        api.objects.clear()
        api.put("theirs")
        api.version = 50
        await api.start()
        await until(informer, lambda s: list(s) == ["ns/theirs"])


@pytest.mark.programs
async def test_a_silent_link_is_noticed_and_the_next_watch_resumes(api, client, running, pauses):
    api.put("a")
    informer = Informer(client, PODS, watch_s=0.1, wait=pauses)
    silent = asyncio.Event()

    async def fall_silent(request):
        if silent.is_set():
            return None
        silent.set()
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    api.on_watch = fall_silent
    started = asyncio.get_running_loop().time()
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)
        await wait_for("silence", silent.wait(), 30)
        api.put("b")
        await until(informer, lambda s: "ns/b" in s)
    assert asyncio.get_running_loop().time() - started < 60
    assert len(api.lists()) == 1


async def test_a_server_that_ends_watches_at_once_is_not_stormed(api, client, running, pauses):
    async def end_at_once(request):
        response = web.StreamResponse()
        await response.prepare(request)
        return response

    api.on_watch = end_at_once
    informer = Informer(client, PODS, wait=pauses)
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)

        await pauses.signal.until("eight pauses", lambda: len(pauses.asked) >= 8)
    delays = [seconds for _, seconds in pauses.asked]
    assert delays[6] > 10 * delays[0]
    assert max(delays) <= 2.0


async def test_a_failing_callback_is_logged_and_stops_nobody(api, client, running, caplog):
    informer = Informer(client, PODS)

    def fail(old, new):
        raise RuntimeError("boom")

    informer.on_change(fail)
    seen = recorded(informer)
    with caplog.at_level(logging.ERROR, "multinet.kube.informer"):
        async with running(informer):
            await wait_for("sync", informer.synced.wait(), 30)
            api.put("a")
            await until(informer, lambda s: "ns/a" in s)
    assert seen == [("a", None, "1")]
    assert [r.getMessage() for r in caplog.records] == ["Pod ns/a: a callback failed"]


async def test_indexes_follow_events_and_are_current_in_callbacks(api, client, running):
    api.put("a", node="n1")
    informer = Informer(client, PODS)
    informer.add_index("node", lambda o: [o["spec"]["node"]] if "node" in o["spec"] else [])
    inside = []
    informer.on_change(lambda _old, _new: inside.append(len(informer.by_index("node", "n1"))))
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)
        api.put("b", node="n1")
        await until(informer, lambda s: "ns/b" in s)
        api.put("a", node="n2")
        api.put("b")
        await until(informer, lambda s: version_of(s, "b") == "4")
        informer.add_index("late", lambda o: [o["metadata"]["name"]])
    assert inside == [1, 2, 1, 0]
    assert [o["metadata"]["name"] for o in informer.by_index("node", "n2")] == ["a"]
    assert len(informer.by_index("late", "b")) == 1
    with pytest.raises(KeyError):
        informer.by_index("unknown", "x")


async def test_wait_until_names_what_did_not_happen(api, client, running):
    informer = Informer(client, PODS)
    async with running(informer):
        with pytest.raises(WaitExpiredError, match="for the moon and it did not happen"):
            await informer.wait_until("the moon", lambda s: s.get("ns/moon"), 0.05)


async def test_wait_until_waits_for_the_first_list(api, client):
    informer = Informer(client, PODS)
    with pytest.raises(WaitExpiredError):
        await informer.wait_until("nothing there", lambda s: not s, 0.02)


async def test_wait_until_hands_on_the_predicates_error(api, client, running):
    informer = Informer(client, PODS)
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)
        waiting = asyncio.create_task(informer.wait_until("x", lambda s: s["missing"] if s else None, 30))
        await watching(api)
        api.put("a")
        with pytest.raises(KeyError):
            await waiting


async def test_when_the_connections_are_renewed_it_watches_again_from_where_it_was_at_once(
    api, client, running
):
    api.put("a")
    informer = Informer(client, PODS)
    async with running(informer):
        await wait_for("sync", informer.synced.wait(), 30)
        await watching(api)
        await client.renew()
        await api.signal.until("another watch", lambda: len(api.watches()) == 2, 30)
        api.put("b")
        await until(informer, lambda s: "ns/b" in s)
    assert len(api.lists()) == 1
