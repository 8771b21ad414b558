"""Files that are no scenarios at all: one error with its place, never a traceback or a wait for ever."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from scenarios import positions, sources
from scenarios.errors import InvalidScenarioError
from scenarios.loader import load

BOMB = "a0: &a0 [x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)
)
CASES = {
    "NUL": (
        b"kind: Scenario\nname: a\0b\n",
        "s.yaml:2:8: this is not YAML: the character U+0000 is not allowed in it "
        "(remove it, or write it as an escape in double quotes)",
    ),
    "3000 brackets": (
        b"kind: Scenario\nsteps: " + b"[" * 3000,
        "s.yaml:2:108: this is not YAML: it goes more than 100 levels deep "
        "(check the indentation and the quotes of this line and the one above)",
    ),
    "latin-1": (
        "kind: Scenario\n# caf\u00e9\n".encode("latin-1"),
        "s.yaml:2: this is not UTF-8 text: byte 0xe9 at offset 20 can't stand there (save it as UTF-8)",
    ),
    "binary": (
        b"\x7fELF\x02\x01\x01\x00\xff",
        "s.yaml:1: this is not UTF-8 text: byte 0xff at offset 8 can't stand there (save it as UTF-8)",
    ),
    "half a surrogate pair": (
        b'kind: "\\ud800"\n',
        "s.yaml:1:7: this value can't be read: 'utf-8' codec can't encode character '\\ud800' in position 0: "
        "surrogates not allowed",
    ),
    "wrong explicit tag": (b"kind: !!bool x\n", "s.yaml:1:7: this value can't be read: it is no bool"),
    "bytes": (
        b"kind: !!binary aGVsbG8=\n",
        "s.yaml:1:7: this value can't be used: JSON, and so the Kubernetes API, has no bytes "
        "(write it as text)",
    ),
}


def error_of(path: Path) -> str:
    with pytest.raises(InvalidScenarioError) as caught:
        load(path, shown="s.yaml")
    return str(caught.value)


@pytest.mark.parametrize(("content", "expected"), CASES.values(), ids=CASES.keys())
def test_error_text(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    assert error_of(path) == expected


def test_an_alias_bomb_is_told_where_it_gets_too_big(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The true limit takes seconds to reach on a busy machine.
    monkeypatch.setattr(positions, "NODE_LIMIT", 20_000)
    path = tmp_path / "s.yaml"
    path.write_text(BOMB)
    error = error_of(path)
    assert error.startswith("s.yaml:1:")
    assert "the file is too big: with its aliases expanded it has more than 20000" in error


def test_aliases_in_reason_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "o.yaml"
    path.write_text("a: &a [1, 2]\nb: *a\n")
    (document,) = positions.read(path)
    assert document.value == {"a": [1, 2], "b": [1, 2]}


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    os.mkfifo(path)
    assert error_of(path) == (
        "s.yaml: this is not a regular file: it is a FIFO (a pipe) "
        "(write the text into a file, and name that)"
    )


def test_a_device_is_refused() -> None:
    assert "s.yaml: this is not a regular file: it is a device" in error_of(Path("/dev/zero"))


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as handle:
        handle.bind("s.yaml")
        assert "it is a socket" in error_of(Path("s.yaml"))


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    with path.open("wb") as file:
        file.truncate(sources.SIZE_LIMIT + 1)
    assert error_of(path).startswith("s.yaml: the file is too big: it has 16777217 bytes")


def test_an_unreadable_file_has_a_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.yaml"
    path.touch()

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    text = "s.yaml: the file can't be read: Permission denied (let this user read it: chmod u+r, or chown)"
    assert error_of(path) == text


def test_a_bad_file_of_manifests_is_told_with_its_own_place(tmp_path: Path) -> None:
    (tmp_path / "objects.yaml").write_bytes(b"kind: Pod\nname: \xff\n")
    path = tmp_path / "s.yaml"
    path.write_text(
        "apiVersion: multinet.opencontrail.org/v1alpha1\nkind: Scenario\nmetadata: {name: x}\n"
        'spec: {steps: [{name: a, apply: [objects.yaml, "a\\0b"]}]}\n'
    )
    first, second = error_of(path).splitlines()
    assert first.startswith("objects.yaml:2: this is not UTF-8 text: byte 0xff at offset 16")
    assert "this is no path: " in second
