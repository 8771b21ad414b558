"""Logs that make room for new ones: reading them, and what is kept of earlier runs."""

from __future__ import annotations

import asyncio
import os

import pytest

from multinet.kubelet.containers import Container
from multinet.kubelet.launcher import StartError
from multinet.kubelet.logs import LogOptions, stream


def line(text):
    return f"2026-01-01T00:00:00.000000000Z stdout F {text}\n"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "1.log").write_text(line("b"))
    (tmp_path / "1.old").write_text(line("a"))
    return tmp_path / "1.log"


async def test_log_begins_with_what_it_had_before_it_was_renewed(path):
    assert [chunk async for chunk in stream(path, LogOptions(), lambda: False)] == [b"a\nb\n"]
    assert [chunk async for chunk in stream(path, LogOptions(tail_lines=1), lambda: False)] == [b"b\n"]


async def test_follow_goes_on_in_the_new_log(path):
    alive = True
    chunks = stream(path, LogOptions(follow=True), lambda: alive)
    async with asyncio.timeout(20):
        assert await anext(chunks) == b"a\nb\n"
        with path.open("a") as log:
            log.write(line("c"))
        assert await anext(chunks) == b"c\n"
        with path.open("a") as log:
            log.write(line("d") + line("e")[:-3])
            os.rename(path, path.with_suffix(".old"))  # noqa: PTH104 - as the helper does it
            log.write(line("e")[-3:])
        assert await anext(chunks) == b"d\n"
        assert await anext(chunks) == b"e\n"
        following = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0.05)
        path.write_text(line("f"))
        assert await following == b"f\n"
        alive = False
        path.write_text(line("f") + line("g"))
        assert [chunk async for chunk in chunks] == [b"g\n"]


class Refusing:
    """A launcher that makes a log and starts nothing."""

    idle = ()

    async def container(self, _sandbox, prefix, *_, **__):
        for suffix in (".log", ".old"):
            prefix.with_suffix(suffix).touch()
        raise StartError("no", where="here", why="not today")


async def test_only_the_logs_of_the_last_two_runs_are_kept(tmp_path):
    container = Container("c", tmp_path, Refusing(), lambda: None)
    for _ in range(4):
        await container.start(1, [], {}, "/")
    assert {path.name for path in tmp_path.iterdir() if path.suffix != ".exit"} == {
        "3.log",
        "3.old",
        "4.log",
        "4.old",
    }
    assert container.log_path(previous=True).name == "3.log"
