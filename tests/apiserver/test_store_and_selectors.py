"""The store's promises (ownership, order, history), selectors, cells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multinet.apiserver.columns import human_duration
from multinet.apiserver.errors import StatusError
from multinet.apiserver.jsonpath import compile_path
from multinet.apiserver.protobuf import decode
from multinet.apiserver.selectors import label_selector
from multinet.apiserver.store import Store, Watcher


def thing(name, **data):
    return {"metadata": {"name": name, "namespace": "ns"}, "data": data}


async def test_callers_and_store_share_no_tree():
    store = Store()
    tree = thing("a", x=[1])
    entry = store.create("things", tree)
    tree["data"]["x"].append(2)
    mine = entry.copy()
    mine["data"]["x"].append(3)
    assert entry.view()["data"] == {"x": [1]}
    assert entry.copy()["data"] == {"x": [1]}


async def test_watchers_see_every_change_once_and_share_its_bytes():
    store = Store()
    one, two = Watcher("", None), Watcher("ns", None)
    store.watch("things", one, None)
    store.watch("things", two, None)
    entry = store.create("things", thing("a"))
    entry = store.replace(entry, thing("a", x=1))
    store.remove(entry)
    seen, also = one.take(), two.take()
    assert [type_ for type_, _event in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert seen[0][1].line("ADDED") is also[0][1].line("ADDED")


async def test_history_is_bounded_and_beyond_it_is_410():
    store = Store(history=2)
    for name in "abcd":
        store.create("things", thing(name))
    watcher = Watcher("", None)
    store.watch("things", watcher, store.revision - 2)
    assert len(watcher.take()) == 2
    with pytest.raises(StatusError) as gone:
        store.watch("things", watcher, 1)
    assert (gone.value.code, gone.value.reason) == (410, "Expired")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(("put", "remove"))), max_size=30))
def test_the_past_can_be_listed(actions):
    store = Store()
    states = {store.revision: {}}
    now = {}
    for name, action in actions:
        entry = store.get("things", "ns", name)
        if action == "remove" and entry is not None:
            store.remove(entry)
            now.pop(name)
        elif action == "put":
            obj = thing(name, n=store.revision)
            now[name] = store.revision
            store.replace(entry, obj) if entry else store.create("things", obj)
        states[store.revision] = dict(now)
    for revision, state in states.items():
        listed = {e.name: e.view()["data"]["n"] for e in store.entries_at("things", "ns", revision)}
        assert listed == state


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("app=web", True),
        ("app==web,tier!=back", True),
        ("app!=web", False),
        ("app in (web, db),tier", True),
        ("app notin (web)", False),
        ("!app", False),
        ("!missing", True),
        ("missing!=x", True),
        ("n>4", True),
        ("n<4", False),
        ("inner=yes", True),
    ],
)
def test_label_selectors(text, matches):
    labels = {"app": "web", "tier": "front", "n": "5", "inner": "yes"}
    assert label_selector(text)(labels) is matches


@pytest.mark.parametrize("text", ["=", "a in", "a in (b", "a=b=c", "a b", "-=x", "a=-"])
def test_broken_selectors_are_400(text):
    with pytest.raises(StatusError) as refused:
        label_selector(text)
    assert refused.value.code == 400


def test_jsonpath_subset():
    tree = {"a": {"b": [{"t": "x", "v": 1}, {"t": "y", "v": 2}]}, "m": {"k.d": 3}}
    assert compile_path(".a.b[0].v")(tree) == [1]
    assert compile_path(".a.b[-1].v")(tree) == [2]
    assert compile_path(".a.b[*].v")(tree) == [1, 2]
    assert compile_path('.a.b[?(@.t=="y")].v')(tree) == [2]
    assert compile_path(".m['k.d']")(tree) == [3]
    assert compile_path(".m.k\\.d")(tree) == [3]
    assert compile_path(".nothing.at.all")(tree) == []
    with pytest.raises(StatusError):
        compile_path(".a..b")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (700, "11m"),
        (3600 * 4, "4h"),
        (3600 * 50, "2d2h"),
    ],
)
def test_ages_read_as_kubectl_shows_them(seconds, text):
    assert human_duration(seconds) == text


@given(st.binary(max_size=60))
def test_any_protobuf_rubbish_is_a_status(data):
    with pytest.raises(StatusError) as refused:
        decode(b"k8s\x00" + data)
    assert refused.value.code in (400, 415)
