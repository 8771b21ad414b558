"""The hooks of one conformance run: start the target once, judge every test, sum up, report.

With pytest-xdist the controlling process starts the target and collects; workers get the facts and test.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from conformance import catalogue, known_issues, livecluster, profiles, verdicts
from conformance.applicability import Rows, Scope, markers_of, rows_of
from conformance.catalogue import Level
from conformance.evidence import Evidence, Judged, verdict_of
from conformance.known_issues import Issue, State
from conformance.profiles import SPEC_VERSIONS, Profile
from conformance.target import Claim, ClusterTarget, Facts, Target
from conformance.verdicts import Verdict
from multinet.errors import InputError, MultinetError

_ROWS: pytest.StashKey[Rows] = pytest.StashKey()
_EVIDENCE: pytest.StashKey[Evidence] = pytest.StashKey()
_FACTS = "conformance_facts"
_FOLDER = "conformance_folder"
_RUN = "conformance_run"
_UNKNOWN_STATUS = 10
_COULD_NOT_RUN = 3
_SHOWN_UNKNOWN = 10
_SHOWN = {
    Verdict.PASS: ("passed", ".", "PASS"),
    Verdict.FAIL: ("failed", "F", "FAIL"),
    Verdict.UNSAFE: ("failed", "U", "UNSAFE"),
    Verdict.FAIL_CLOSED: ("fail-closed", "c", "FAIL-CLOSED"),
    Verdict.AMBIGUOUS: ("ambiguous", "a", "AMBIGUOUS"),
    Verdict.DOCUMENTED_LIMITATION: ("documented-limitation", "d", "DOCUMENTED-LIMITATION"),
    Verdict.UNSUPPORTED_OK: ("unsupported-ok", "u", "UNSUPPORTED-OK"),
    Verdict.NOT_APPLICABLE: ("skipped", "s", "NOT-APPLICABLE"),
    Verdict.UNKNOWN: ("unknown", "?", "UNKNOWN"),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of a run."""

    profiles: tuple[Profile, ...]
    spec_version: str
    strict: bool
    report: Path | None
    known_issues: Path | None


def settings(config: pytest.Config) -> Settings:
    """Options as values; ``pytest.UsageError`` names the choices."""
    version = config.getoption("spec_version") or ""
    if version and version not in SPEC_VERSIONS:
        raise pytest.UsageError(f"--spec-version {version}: choose from {', '.join(SPEC_VERSIONS)}")
    try:
        chosen = tuple(Profile(name) for name in config.getoption("profile") or ())
    except ValueError as error:
        raise pytest.UsageError(f"--profile: {error}: choose from {', '.join(Profile)}") from None
    base = config.invocation_params.dir

    def path(option: str) -> Path | None:
        value = config.getoption(option)
        return base / value if value else None

    report = path("report")
    if report is not None:
        _check_report(report)
    return Settings(chosen, version, config.getoption("strict_verdicts"), report, path("known_issues"))


def _check_report(path: Path) -> None:
    """Minutes of tests must not end with a report that has no place."""
    if path.suffix not in (".yaml", ".yml"):
        raise pytest.UsageError(
            f"--report {path}: the report is YAML; name it .yaml (.html and .svg are written beside it)"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise pytest.UsageError(f"--report {path}: no folder can be made: {error.strerror}") from None
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise pytest.UsageError(f"--report {path}: can't be written (name a file in a folder of yours)")


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def _issues(path: Path | None, scope: Scope) -> tuple[Issue, ...]:
    if path is None:
        return ()
    try:
        return known_issues.load(path, scope.catalogue.rows)
    except MultinetError as error:
        raise pytest.UsageError(f"--known-issues: {error}") from None


class Session:
    """A pytest plugin, registered when there is a target."""

    NAME = "conformance-session"

    def __init__(self, target: Target, options: Settings) -> None:
        self.judged: list[Judged] = []
        self._target = target
        self._options = options
        claim = target.claim
        self.scope = Scope(
            catalogue.load(),
            claim,
            frozenset(options.profiles) or claim.profiles,
            options.spec_version or claim.spec_version,
        )
        self._issues = _issues(options.known_issues, self.scope)
        self._issue_states: tuple[tuple[Issue, State], ...] = ()
        self._facts: Facts | None = None
        self._attached = False
        self._owner = True
        self._folder: Path | None = None
        self._unwritten = ""
        self._left = ""
        self.run = secrets.token_hex(3)

    @property
    def claim(self) -> Claim:
        """What the target says of itself."""
        return self._target.claim

    def attached(self) -> Target:
        """The target, reachable from this process."""
        if self._facts is None:
            raise MultinetError("the target was not started")
        if not self._attached:
            self._target.attach(self._facts)
            self._attached = True
        return self._target

    def evidence_of(self, item: pytest.Item) -> Evidence:
        """The evidence of a test; the same one for its fixtures and itself."""
        return item.stash.setdefault(_EVIDENCE, Evidence())

    # -- start and end ---------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Start the target, or take over the facts of who did."""
        config = session.config
        given = getattr(config, "workerinput", None)
        self._owner = given is None
        if given is not None:
            self._facts = json.loads(given[_FACTS])
            self._folder = Path(given[_FOLDER])
            self.run = str(given[_RUN])
            return
        if config.getoption("collectonly"):
            return
        self._folder = Path(tempfile.mkdtemp(prefix="conformance-"))
        try:
            self._facts = self._target.start(self._folder)
            if (kubeconfig := self._outlives()) is not None:
                livecluster.clear(kubeconfig, self.run, others=True)
        except MultinetError as error:
            self._target.stop()
            wrong_use = isinstance(error, InputError)
            status = pytest.ExitCode.USAGE_ERROR if wrong_use else _COULD_NOT_RUN
            pytest.exit(f"the target could not be started: {error}", returncode=status)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of pytest-xdist how to reach the target."""
        node.workerinput[_FACTS] = json.dumps(self._facts)
        node.workerinput[_FOLDER] = str(self._folder)
        node.workerinput[_RUN] = self.run

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Stop the target; unknown is no pass."""
        if not self._owner:
            return
        try:
            if self._facts is not None and self.judged:
                self._conclude(session, exitstatus)
        finally:
            self._clear()
            self._target.stop()
        failed = session.exitstatus == pytest.ExitCode.TESTS_FAILED
        if self._folder is not None and not (failed and any(self._folder.iterdir())):
            shutil.rmtree(self._folder, ignore_errors=True)

    def _outlives(self) -> Path | None:
        """The kubeconfig of a cluster that is there when the run has gone; None for any other target."""
        target = self.attached() if self._facts is not None else None
        return target.kubeconfig if isinstance(target, ClusterTarget) and not target.isolated else None

    def _clear(self) -> None:
        """Nothing of the run stays; where that can't be done, who reads the summary is told."""
        try:
            if (kubeconfig := self._outlives()) is not None:
                livecluster.clear(kubeconfig, self.run, others=False)
        except MultinetError as error:
            self._left = str(error)

    def _conclude(self, session: pytest.Session, exitstatus: int) -> None:
        """Sum up: the status, the state of known issues, and the report where one is asked for."""
        found: dict[str, list[Verdict]] = {}
        for one in self.judged:
            for row, verdict in one.rows.items():
                found.setdefault(row, []).append(Verdict(verdict))
        by_row = {row: verdicts.combine(several) for row, several in found.items()}
        self._issue_states = known_issues.states(self._issues, by_row, _today())
        stale = [issue for issue, state in self._issue_states if state is not State.OPEN]
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            if stale:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
            elif any(one.verdict is Verdict.UNKNOWN for one in self.judged):
                session.exitstatus = _UNKNOWN_STATUS
        if self._options.report is not None:
            try:
                self._write(self._options.report)
            except OSError as error:
                self._unwritten = f"{error.filename or self._options.report}: {error.strerror}"
                if session.exitstatus in (pytest.ExitCode.OK, _UNKNOWN_STATUS):
                    session.exitstatus = _COULD_NOT_RUN

    def _write(self, path: Path) -> None:
        from conformance import badge, environment, page, report

        suite = report.Suite(version=metadata.version("multinet"), strict=self._options.strict)
        value = report.build(
            self.scope,
            self.judged,
            date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            suite=suite,
            environment=environment.describe(self.attached()),
            issues=self._issue_states,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(report.render(value), encoding="utf-8")
        path.with_suffix(".html").write_text(page.render(value), encoding="utf-8")
        path.with_suffix(".svg").write_text(badge.render(value), encoding="utf-8")

    # -- collection ------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out tests of other profiles, and mark the rest so that ``-m`` can select by rows."""
        kept: list[pytest.Item] = []
        left_out: list[pytest.Item] = []
        names: set[str] = set()
        for item in items:
            rows = rows_of(item, self.scope)
            if rows is not None:
                item.stash[_ROWS] = rows
            (left_out if rows is not None and rows.deselected else kept).append(item)
        for item in kept:
            found = item.stash.get(_ROWS, None)
            if found is None:
                continue
            every = [self.scope.catalogue[row] for row in (*found.decided, *found.excluded)]
            for name in dict.fromkeys(markers_of(every)):
                if name not in names:
                    names.add(name)
                    config.addinivalue_line("markers", f"{name}: rows of the requirement catalogue")
                item.add_marker(getattr(pytest.mark, name))
        items[:] = kept
        if left_out:
            config.hook.pytest_deselected(items=left_out)

    # -- tests -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Have a test wait for others of this run, in any process, that need the same thing alone."""
        marker = item.get_closest_marker("alone")
        if marker is None or self._folder is None:
            return (yield)
        with (self._folder / f"{marker.args[0]}.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """A test whose rows are all not applicable is not run."""
        rows = item.stash.get(_ROWS, None)
        if rows is not None and not rows.decided:
            pytest.skip("; ".join(f"{row}: {why}" for row, why in rows.excluded.items()))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Judge, and let pytest's outcome follow from the verdict."""
        report = yield
        rows = item.stash.get(_ROWS, None)
        error = call.excinfo.value if call.excinfo is not None else None
        if rows is None or (call.when != "call" and error is None):
            return report
        judged = self._judge(item, rows, error, call.duration)
        report.conformance = judged.plain()  # type: ignore[attr-defined]
        report.user_properties.append(("requirements", " ".join(judged.rows)))
        report.user_properties.append(("verdict", str(judged.verdict)))
        self._set_outcome(report, item, judged)
        return report

    def _judge(self, item: pytest.Item, rows: Rows, error: BaseException | None, seconds: float) -> Judged:
        evidence = self.evidence_of(item)
        verdict, reason, suite_error = verdict_of(evidence, error)
        if verdict in verdicts.FAILED and evidence.involved and isinstance(self._target, ClusterTarget):
            for name, path in self._target.logs().items():
                evidence.log(name, path, about=evidence.involved)
        judged = Judged(
            item.nodeid,
            {},
            reason,
            self._unnamed(evidence.input),
            evidence.expected,
            evidence.observed,
            evidence.logs,
        )
        judged.seconds, judged.suite_error = round(seconds, 3), suite_error
        for row in rows.decided or rows.excluded:
            found, remark = self._weighed(row, verdict)
            judged.rows[row] = str(found)
            judged.reason += f" [{remark}]" if remark else ""
        excused = {issue.row for issue in self._issues if not issue.is_expired(_today())}
        judged.known = [
            row
            for row, found in judged.rows.items()
            if row in excused and verdicts.is_failure(Verdict(found), strict=self._options.strict)
        ]
        return judged

    def _unnamed(self, text: str) -> str:
        """Without the run's name: what was given is the same in the next run."""
        return re.sub(rf"conform-{self.run}-\w+-\d+", "conform", text)

    def _weighed(self, row: str, verdict: Verdict) -> tuple[Verdict, str]:
        """A row's verdict where its test came to ``verdict``, and why it is another one."""
        limit = next((limit for limit in self.claim.limits if limit.row == row), None)
        if limit is not None and verdict in {*verdicts.FAILED, Verdict.FAIL_CLOSED}:
            return Verdict.DOCUMENTED_LIMITATION, f"documented: {limit.source}"
        wished = self.scope.catalogue[row].level is Level.ROBUSTNESS
        if wished and verdict in verdicts.FAILED and not self._options.strict:
            return Verdict.AMBIGUOUS, f"{row} stands in no text: a failure only with --strict"
        return verdict, ""

    def _set_outcome(self, report: pytest.TestReport, item: pytest.Item, judged: Judged) -> None:
        path, line, _ = item.reportinfo()
        if judged.suite_error or self.is_failure(judged):
            report.outcome = "failed"
            # Where in the suite it was noticed helps whoever changes the suite: --tb=short.
            told = item.config.option.tbstyle == "auto" and not judged.suite_error
            if told or report.longrepr is None or isinstance(report.longrepr, tuple):
                report.longrepr = judged.told(self._statements(judged))
        elif judged.known or judged.verdict in (Verdict.UNKNOWN, Verdict.NOT_APPLICABLE):
            report.outcome = "skipped"
            report.longrepr = (str(path), (line or 0) + 1, f"{judged.verdict}: {judged.reason}")
        else:
            report.outcome, report.longrepr = "passed", None

    def _statements(self, judged: Judged) -> dict[str, str]:
        """The rows that turn the run red: section and statement."""
        red = (row for row, said in judged.rows.items() if self._is_red(row, said, judged))
        rows = self.scope.catalogue
        return {row: f"{rows[row].section}: {rows[row].statement}" for row in red}

    def _is_red(self, row: str, verdict: str, judged: Judged) -> bool:
        return row not in judged.known and verdicts.is_failure(Verdict(verdict), strict=self._options.strict)

    def is_failure(self, judged: Judged) -> bool:
        """Whether a test turns the run red."""
        return any(self._is_red(row, verdict, judged) for row, verdict in judged.rows.items())

    # -- what is shown ---------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect, in the process that sums up."""
        plain = getattr(report, "conformance", None)
        if plain is not None and self._owner:
            self.judged.append(Judged.from_plain(plain))

    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, str | tuple[str, Mapping[str, bool]]] | None:
        """The verdict's own letter and word."""
        plain = getattr(report, "conformance", None)
        if plain is None:
            return None
        judged = Judged.from_plain(plain)
        if judged.suite_error:
            return "error", "E", "SUITE-ERROR"
        category, letter, word = _SHOWN[judged.verdict]
        if judged.known and report.outcome != "failed":
            return "known", "k", f"KNOWN {word}"
        return (category if report.outcome != "failed" else "failed"), letter, word

    def pytest_report_header(self) -> list[str]:
        """Who is tested, by what."""
        about, scope = self.claim.implementation, self.scope
        chosen = ", ".join(profile for profile in profiles.Profile if profile in scope.profiles)
        return [
            f"conformance of {about.project} {about.version} ({self.claim.mode})",
            f"multi-network standard {scope.version}; profiles: {chosen}",
        ]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Why something is unknown, and where the evidence is."""
        unknown = [one for one in self.judged if one.verdict is Verdict.UNKNOWN and not one.suite_error]
        for one in unknown[:_SHOWN_UNKNOWN]:
            terminalreporter.write_line(f"UNKNOWN {one.test}: {one.reason}")
        if len(unknown) > _SHOWN_UNKNOWN:
            terminalreporter.write_line(f"UNKNOWN: {len(unknown) - _SHOWN_UNKNOWN} more")
        for issue, state in self._issue_states:
            if state is not State.OPEN:
                where = f"{issue.link}, until {issue.expires}"
                terminalreporter.write_line(f"known issue {issue.row} is {state}: {issue.reason} ({where})")
        if self._left:
            terminalreporter.write_line(f"what the run made may still be there: {self._left}")
        if self._unwritten:
            terminalreporter.write_line(f"the report could not be written: {self._unwritten}", red=True)
        elif self._options.report is not None and self._options.report.exists():
            terminalreporter.write_line(f"report: {self._options.report}")
        if self._folder is not None and self._folder.exists() and terminalreporter.stats.get("failed"):
            terminalreporter.write_line(f"logs of the target: {self._folder}")


def decided(item: pytest.Item) -> set[str]:
    """The rows that a collected test decides in this run."""
    rows = item.stash.get(_ROWS, None)
    return set(rows.decided) if rows is not None else set()
