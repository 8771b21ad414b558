"""State files of other versions, and directories that can't be used."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from multinet.vrouter.datapath import Attachment
from multinet.vrouter.ledger import Ledger
from multinet.vrouter.states import VERSION, Record, StateError, StateFiles


def test_the_state_of_version_1_is_read(tmp_path):
    """The file is as an agent of that version wrote it."""
    (tmp_path / "c-old.json").write_bytes((Path(__file__).parent / "states" / "version-1.json").read_bytes())
    (record,) = StateFiles(tmp_path).load().records
    first, second = record.attachment.ports
    (nic,) = record.attachment.devices
    assert (record.network, record.ifname, record.attachment.pod) == ("multinet", "eth0", "default/old")
    assert (first.wanted.gateways, first.wanted.network.underlay_blocks) == (("10.47.255.254",), ())
    assert (second.shaper_index, second.wanted.guarded, second.wanted.network.fabric_snat) == (
        65542,
        False,
        True,
    )
    assert second.wanted.port_mappings[0].host_port == 8080
    assert (nic.nic.name, nic.nic.mtu, nic.wanted.index) == ("nic0", 1400, 2)


def test_state_of_a_newer_agent_is_refused_and_nothing_is_touched(tmp_path):
    (tmp_path / "broken.json").write_bytes(b"{")
    newer = tmp_path / "c.json"
    newer.write_text(json.dumps({"version": VERSION + 1, "pod": "a/b"}))
    with pytest.raises(StateError, match="a newer agent wrote the state of pod a/b") as refused:
        StateFiles(tmp_path).load()
    assert refused.value.where == str(newer)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.json", "c.json"]


def test_a_directory_that_can_not_be_used_is_told_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError) as refused:
        StateFiles(tmp_path / "file" / "state")
    error = refused.value
    assert error.where.startswith(str(tmp_path / "file"))
    assert error.why == "Not a directory"
    assert "running pods keep their network" in error.next_step


class NothingAlive:
    def open(self, known, doomed):
        del known, doomed
        return ()


def test_a_file_that_can_not_be_removed_does_not_keep_the_agent_from_starting(tmp_path, monkeypatch, caplog):
    states = StateFiles(tmp_path)
    states.begin(Record(Attachment("half", "/x", "a/b", "u", ()), "multinet", "eth0"))

    def refuse(_container_id):
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path))

    monkeypatch.setattr(states, "remove", refuse)
    Ledger(NothingAlive(), states).open()
    assert "its state file is still there" in caplog.text
