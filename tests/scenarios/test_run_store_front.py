"""``latest``: only runs with reports, and never in the place of something of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from multinet.cli import machine
from reports import store
from scenarios.launch import Options, launch
from topology import foreground, isolation

WALK = Path(__file__).parents[2] / "scenarios" / "library" / "right-network.yaml"


def test_a_shell_leaves_latest_at_the_newest_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = store.create(tmp_path)
    seen: list[list[str]] = []
    monkeypatch.setattr(foreground, "run", lambda argv: seen.append(argv) or 0)
    assert machine.shell(["true"], nodes=1, dialect="default", runs_dir=tmp_path) == 0
    assert seen
    assert (tmp_path / "latest").resolve() == run_dir


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_latest_of_somebody_else_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(isolation, "probe", tuple)
    latest = tmp_path / "latest"
    latest.mkdir() if kind == "directory" else latest.touch()
    outcome = launch(WALK, Options(runs_dir=tmp_path))
    assert outcome.exit_status == 2
    assert "'latest' in it is no link to the newest run" in str(outcome.problems[0])
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


def test_no_scratch_link_stays_when_the_link_cannot_be_moved(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(OSError, match="latest"):
        store.point_latest(tmp_path, "x")
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]
