"""pytest plugin: scenario files are test items, run by the same launcher as ``multinet run``.

Design note: every pytest run of every project in this environment imports this module, so its top imports
nothing but pytest and the standard library; the rest is imported when a scenario is run.

========================  =======================  ==========================================================
option                    ini                      meaning
========================  =======================  ==========================================================
``--multinet-runs-dir``   ``multinet_runs_dir``    where runs are kept; ``runs`` below the root directory
``--multinet-nodes``      ``multinet_nodes``       number of nodes, instead of what the file says
``--multinet-dialect``    ``multinet_dialect``     dialect, instead of what the file says
``--allow-unknown``       ``multinet_allow_unknown``  what could not be observed does not fail
========================  =======================  ==========================================================

The command line goes before the ini file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from _pytest._code.code import ExceptionInfo, TerminalRepr

    from scenarios.launch import Options, Outcome

_SCENARIO = re.compile(rb"^kind:\s*['\"]?Scenario['\"]?\s*(#.*)?$", re.MULTILINE)
_API_VERSION = b"multinet.opencontrail.org/"
_DIALECTS = ("default", "contrail-classic")


def pytest_addoption(parser: pytest.Parser) -> None:
    """One group of options, each with its ini setting."""
    group = parser.getgroup("multinet", "multi-network scenarios")
    group.addoption("--multinet-runs-dir", metavar="DIR", help="where runs are kept (default: runs)")
    group.addoption("--multinet-nodes", type=int, metavar="N", help="number of nodes of each lab")
    group.addoption("--multinet-dialect", choices=_DIALECTS, help="dialect of each lab")
    group.addoption(
        "--allow-unknown", action="store_true", help="what could not be observed does not fail a scenario"
    )
    parser.addini("multinet_runs_dir", "where runs are kept", default="runs")
    parser.addini("multinet_nodes", "number of nodes of each lab", default="")
    parser.addini("multinet_dialect", "dialect of each lab", default="")
    parser.addini("multinet_allow_unknown", "unknown does not fail", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers that items get."""
    config.addinivalue_line("markers", "lab: needs namespaces of its own and the kernel's network")
    config.addinivalue_line("markers", "scenario: a scenario file, run in a lab of its own")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A YAML file that says ``kind: Scenario`` is a test file."""
    if file_path.suffix not in (".yaml", ".yml"):
        return None
    # One that was named and can't be read, or is nearly a scenario, is an item all the same: running it says
    # what is wrong with it.
    if not is_scenario(file_path) and not (parent.session.isinitpath(file_path) and _is_broken(file_path)):
        return None
    collector: ScenarioFile = ScenarioFile.from_parent(parent, path=file_path)
    return collector


def is_scenario(path: Path) -> bool:
    """Whether the file says that it is a scenario; read, but not parsed, so that this costs nothing."""
    if _unreadable(path):
        return False
    content = path.read_bytes()
    return _API_VERSION in content and _SCENARIO.search(content) is not None


def _is_broken(path: Path) -> bool:
    return _unreadable(path) or not path.stat().st_size or _API_VERSION in path.read_bytes()


def _unreadable(path: Path) -> bool:
    """Whether it is no regular file (opening a FIFO would wait for ever) or may not be read."""
    return not path.is_file() or not os.access(path, os.R_OK)


class ScenarioFile(pytest.File):
    """One scenario file; has one item."""

    def collect(self) -> Iterator[pytest.Item]:
        """The scenario as one item: it is one lab, and its steps build on each other."""
        yield ScenarioItem.from_parent(self, name=self.path.stem)


class ScenarioFailedError(Exception):
    """Carries the outcome of a scenario that did not pass to its failure text."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"scenario {outcome.file}: exit status {outcome.exit_status}")
        self.outcome = outcome


class ScenarioItem(pytest.Item):
    """Runs one scenario."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.add_marker(pytest.mark.lab)
        self.add_marker(pytest.mark.scenario)

    def runtest(self) -> None:
        """Launch it; anything but a pass is a failure, unknown as well unless that is allowed."""
        from reports.verdicts import Verdict
        from scenarios.launch import launch

        outcome = launch(self.path, _options(self.config), shown=self._shown())
        self.user_properties.append(("exit_status", outcome.exit_status))
        if outcome.report_path is not None:
            self.user_properties.append(("report", str(outcome.report_path)))
            self.add_report_section("call", "multinet", f"report: {outcome.report_path}")
        if outcome.report is not None and outcome.report.verdict is Verdict.INTERRUPTED:
            raise KeyboardInterrupt
        if outcome.exit_status == 0 or (outcome.exit_status == 10 and _allow_unknown(self.config)):
            return
        raise ScenarioFailedError(outcome)

    def _shown(self) -> str:
        root = self.config.rootpath
        return str(self.path.relative_to(root) if self.path.is_relative_to(root) else self.path)

    def repr_failure(self, excinfo: ExceptionInfo[BaseException], style: Any = None) -> str | TerminalRepr:
        """The steps that did not pass with their place in the YAML file, and where the report is."""
        if isinstance(excinfo.value, ScenarioFailedError):
            return failure_text(excinfo.value.outcome)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it is."""
        return self.path, None, f"scenario {self.name}"


def failure_text(outcome: Outcome) -> str:
    """What a person reads about a scenario that did not pass."""
    report = outcome.report
    if report is None:
        return "\n".join(str(problem) for problem in outcome.problems)
    lines = [f"{report.verdict}: {report.scenario}" + (f": {report.reason}" if report.reason else "")]
    for step in report.steps:
        if str(step.verdict) not in ("pass", "not run"):
            hint = f" ({step.next_step})" if step.next_step else ""
            lines.append(f"{report.file}:{step.line}: {step.verdict}: {step.name}: {step.reason}{hint}")
    for problem in report.problems:
        parts = (problem.where, problem.what, problem.why)
        hint = f" ({problem.next_step})" if problem.next_step else ""
        lines.append(": ".join(part for part in parts if part) + hint)
    not_run = sum(str(step.verdict) == "not run" for step in report.steps)
    if not_run:
        lines.append(f"{not_run} later steps were not run")
    if outcome.exit_status == 10:
        lines.append("unknown is no pass; --allow-unknown lets it through")
    lines.append(f"report: {outcome.report_path}")
    return "\n".join(lines)


def _options(config: pytest.Config) -> Options:
    from scenarios.launch import Options

    runs_dir = Path(config.getoption("multinet_runs_dir") or config.getini("multinet_runs_dir"))
    nodes = config.getoption("multinet_nodes") or config.getini("multinet_nodes")
    dialect = config.getoption("multinet_dialect") or config.getini("multinet_dialect")
    return Options(
        runs_dir=config.rootpath / runs_dir,
        nodes=int(nodes) if nodes else None,
        dialect=str(dialect) if dialect else None,
    )


def _allow_unknown(config: pytest.Config) -> bool:
    return bool(config.getoption("allow_unknown") or config.getini("multinet_allow_unknown"))
