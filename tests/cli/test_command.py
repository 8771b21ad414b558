"""The command: exit statuses in words, errors as lines, nothing heavy before it is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from multinet.cli.main import main
from reports.events import Event
from topology import isolation

ROOT = Path(__file__).parents[2]
WALK = ROOT / "scenarios" / "library" / "right-network.yaml"


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def multinet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command, as its entry point runs it."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(isolation, "probe", tuple)

    def call(*argv: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["multinet", *map(str, argv)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return Done(int(end.value.code or 0), captured.out, captured.err)

    return call


def last_line(done: Done) -> str:
    return done.stdout.strip().splitlines()[-1]


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(WALK.read_text().replace("10.20.20.0/24", "10.20.20.0/40"))
    return path


def test_help_names_every_verb(multinet: Command) -> None:
    done = multinet("--help")
    assert done.returncode == 0
    for verb in ("run", "validate", "report", "manifests", "doctor", "shell", "test", "fuzz", "replay"):
        assert f"  {verb} " in done.stdout


@pytest.mark.programs
def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, multinet.cli.main, multinet.cli.verbs; "
        "print([m for m in ('rich', 'yaml', 'pydantic', 'aiohttp', 'scapy', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_validate_a_good_file(multinet: Command) -> None:
    done = multinet("validate", WALK)
    assert (done.returncode, last_line(done)) == (0, "exit status 0: passed")


def test_validate_a_bad_file(multinet: Command, bad: Path) -> None:
    done = multinet("validate", bad)
    assert (done.returncode, last_line(done)) == (2, "exit status 2: wrong use")
    assert f"{bad}:" in done.stdout
    assert "is no CIDR for NAD 'right-network'" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_validate_as_json(multinet: Command, bad: Path) -> None:
    done = multinet("validate", bad, "-o", "json")
    found = json.loads(done.stdout)
    assert found["exit_status"] == 2
    assert found["files"][0]["errors"][0]["where"].startswith(f"{bad}:")


def test_run_a_bad_file_makes_no_run(multinet: Command, bad: Path, tmp_path: Path) -> None:
    done = multinet("run", bad, "--runs-dir", tmp_path / "runs")
    assert (done.returncode, last_line(done)) == (2, "exit status 2: wrong use")
    assert not (tmp_path / "runs").exists()


def test_run_a_missing_file(multinet: Command) -> None:
    done = multinet("run", "nowhere.yaml")
    assert done.returncode == 2
    assert "nowhere.yaml: there is no such file (check the path)" in done.stdout


def test_wrong_use_of_an_option_is_status_2(multinet: Command) -> None:
    done = multinet("run", WALK, "--nodes", "0")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_report_without_events(multinet: Command, tmp_path: Path) -> None:
    done = multinet("report", tmp_path)
    assert done.returncode == 2
    text = f"multinet: {tmp_path}: there is no events.jsonl in it (name a directory below runs/)\n"
    assert done.stderr == text


def test_report_derives_again(multinet: Command, tmp_path: Path) -> None:
    events = [
        Event(1, 1.0, "run-started", {"scenario": "x", "steps": [{"name": "a", "line": 1}]}),
        Event(2, 2.0, "step-finished", {"index": 0, "verdict": "unknown"}),
        Event(3, 3.0, "run-finished", {"verdict": "pass"}),
    ]
    (tmp_path / "events.jsonl").write_text("".join(event.to_line() for event in events))
    done = multinet("report", tmp_path)
    assert done.returncode == 10
    assert last_line(done) == "exit status 10: no failure, but something could not be observed"
    assert (tmp_path / "report.html").exists()


def test_manifests_are_plain_kubernetes(multinet: Command) -> None:
    done = multinet("manifests", WALK)
    objects = list(yaml.safe_load_all(done.stdout))
    kinds = [item["kind"] for item in objects]
    assert kinds.count("NetworkAttachmentDefinition") == 4
    assert kinds.count("Pod") == 7
    assert all(set(item) <= {"apiVersion", "kind", "metadata", "spec"} for item in objects)


def test_replay_of_a_path_that_is_not_there_is_wrong_use_and_names_it_once(
    multinet: Command, tmp_path: Path
) -> None:
    missing = tmp_path / "gone"
    done = multinet("replay", missing)
    assert (done.returncode, (done.stdout + done.stderr).count(str(missing))) == (2, 1)


def test_a_campaign_without_any_time_is_wrong_use(multinet: Command, tmp_path: Path) -> None:
    done = multinet("fuzz", "--budget", "0", "--export", tmp_path)
    assert done.returncode == 2
    assert "more than 0 minutes" in done.stderr


def test_after_a_campaign_that_found_nothing_there_is_nothing_to_replay(
    multinet: Command, tmp_path: Path
) -> None:
    assert multinet("fuzz", "--examples", "1", "--steps", "2", "--export", tmp_path).returncode == 0
    done = multinet("replay", tmp_path)
    assert (done.returncode, last_line(done)) == (0, "exit status 0: passed")
    assert f"nothing to replay: no failure in {tmp_path}" in done.stdout


@pytest.mark.programs
@pytest.mark.parametrize("verb", ["manifests", "validate"])
@pytest.mark.parametrize(
    ("redirection", "status", "message"),
    [
        (">/dev/full", 3, "multinet: the output: No space left on device\n"),
        (">&-", 0, ""),
        (">&- <&- 2>&-", 0, ""),
        ("", 3, ""),
    ],
)
def test_an_output_that_nobody_takes(verb: str, redirection: str, status: int, message: str) -> None:
    argv = ["sh", "-c", f'exec "$@" {redirection}', "-", sys.executable, "-m", "multinet.cli", verb]
    nobody, output = os.pipe()
    os.close(nobody)
    try:
        done = subprocess.run(
            [*argv, str(WALK)], cwd=ROOT, stdout=output, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(output)
    assert (done.returncode, done.stderr) == (status, message)


@pytest.mark.programs
def test_fuzz_of_one_reader_for_next_to_no_time_tries_what_is_kept(multinet: Command, tmp_path: Path) -> None:
    done = multinet(
        "fuzz", "--engine", "parsers", "--only", "nad", "--budget", "0.0001", "--export", tmp_path
    )
    assert (done.returncode, last_line(done)) == (0, "exit status 0: passed")
    told = json.loads((tmp_path / "report.json").read_text())
    assert set(told["coverage"]["subjects"]) == {"nad"}
    assert told["figures"]["steps"] == sum(told["coverage"]["subjects"]["nad"].values()) > 0


def test_fuzz_of_a_reader_that_is_none_is_wrong_use(multinet: Command, tmp_path: Path) -> None:
    done = multinet("fuzz", "--engine", "parsers", "--only", "x", "--export", tmp_path)
    assert done.returncode == 2
    assert "no reader is called x" in done.stdout + done.stderr


@pytest.mark.programs
def test_fuzz_against_a_dialect_says_what_differs_and_why(multinet: Command, tmp_path: Path) -> None:
    options = ("--against", "contrail-classic", "--examples", "1", "--steps", "3", "--export", tmp_path)
    assert multinet("fuzz", *options).returncode == 0
    told = json.loads((tmp_path / "report.json").read_text())["differential"]
    assert told["against"] == "contrail-classic"
    assert "differences from contrail-classic that are explained" in (tmp_path / "report.txt").read_text()
