"""The notify protocol over a real datagram socket."""

from __future__ import annotations

import socket

from multinet.kube import notify


def test_ready_and_status_reach_the_socket(tmp_path, monkeypatch):
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        receiver.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        notify.ready()
        notify.status("two\nlines")
        assert receiver.recv(100) == b"READY=1"
        assert receiver.recv(100) == b"STATUS=two lines"


def test_an_abstract_socket_is_reached(monkeypatch, tmp_path):
    name = f"multinet-test-{tmp_path.name}-{id(tmp_path)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name)
        receiver.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        notify.ready()
        assert receiver.recv(100) == b"READY=1"


def test_without_a_socket_nothing_happens_and_a_dead_one_is_logged(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify.ready()
    assert caplog.records == []
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify.ready()
    assert "could not notify" in caplog.text
