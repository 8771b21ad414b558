"""Report, page, badge and known issues of a run, against the published schema and each other."""

import json
import re
from datetime import date
from pathlib import Path

import jsonschema
import pytest
import yaml

from conformance import report
from conformance.known_issues import Issue, State, load
from conformance.verdicts import Verdict
from multinet.errors import InputError

# pytest runs whole suites here.
pytestmark = pytest.mark.programs

pytest_plugins = ["pytester"]

REPORTS = Path(report.__file__).with_name("reports")

BODY = """
    @requirement("NPWG-5.3.5-b", "NPWG-5.2-a")
    def test_status(): pass

    @requirement("NPWG-4.2-a")
    def test_twice(evidence):
        evidence.case("a,a", "two interfaces")
        evidence.saw("one <b>interface</b>")
        evidence.log("agent", "made eth0\\nmade eth1\\nall done", about=["made"])
        assert False, "one interface"

    @requirement("NPWG-4.1-d")
    def test_empty(evidence):
        evidence.ambiguous("as without annotation")
"""


@pytest.fixture
def written(project):
    result = project(BODY, "--report=out/report.yaml")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["report: *out/report.yaml"])
    return project.path / "out"


def test_the_published_schema_is_fresh():
    assert report.SCHEMA_FILE.read_text() == report.schema(), "run: python -m conformance.report"


def test_a_report_fits_its_schema_and_says_what_was_seen(written):
    document = yaml.safe_load((written / "report.yaml").read_text())
    jsonschema.validate(document, json.loads(report.SCHEMA_FILE.read_text()))
    core, status = document["profiles"]
    assert (core["name"], core["core"]["result"]) == ("core", "failure")
    assert core["core"]["failedTests"] == ["NPWG-4.2-a"]
    assert core["core"]["statistics"]["Failed"] == 1
    assert status["extended"]["result"] == "partial"
    assert status["extended"]["statistics"]["Passed"] == 2
    assert "ips" in core["extended"]["unsupportedFeatures"]
    clauses = {one["id"]: one for one in document["specClauses"]}
    (test,) = clauses["NPWG-4.2-a"]["tests"]
    assert test | {"seconds": 0} == {
        "name": "test_a_report_fits_its_schema_and_says_what_was_seen.py::test_twice",
        "verdict": "fail",
        "seconds": 0,
        "reason": "one interface",
        "input": "a,a",
        "expected": "two interfaces",
        "observed": "one <b>interface</b>",
        "logs": {"agent": "made eth0\nmade eth1"},
    }
    assert clauses["NPWG-4.1-d"]["verdict"] == "ambiguous"
    assert clauses["NPWG-4.1-a"] | {"statement": ""} == {
        "id": "NPWG-4.1-a",
        "document": "npwg",
        "section": "4.1",
        "level": "MUST",
        "profiles": ["core"],
        "statement": "",
        "verdict": "unknown",
        "reason": report.NO_TEST,
    }
    assert clauses["NPWG-4.1.2.1.3-a"]["reason"] == "the target does not claim ips"
    assert {one["id"] for one in document["untestable"]} & {"NPWG-1.1.1-a", "NPWG-6-b"}


def test_page_and_badge_are_of_the_same_report(written):
    value = report.read(written / "report.yaml")
    page = (written / "report.html").read_text()
    assert "one &lt;b&gt;interface&lt;/b&gt;" in page
    assert all(clause.id in page for clause in value.spec_clauses)
    badge = (written / "report.svg").read_text()
    assert f"<desc>{value.digest}</desc>" in badge
    assert "not conformant" in badge


def test_the_digest_is_of_the_verdicts_and_shows_a_change(project, written):
    first = report.read(written / "report.yaml")
    project(BODY, "--report=again.yaml")
    again = report.read(project.path / "again.yaml")
    assert again.digest == first.digest
    file = project.path / "again.yaml"
    file.write_text(file.read_text().replace("verdict: fail", "verdict: pass"))
    with pytest.raises(InputError, match="digest does not fit"):
        report.read(file)


@pytest.mark.parametrize("path", sorted(REPORTS.rglob("*-report.yaml")), ids=lambda path: path.stem)
def test_published_reports_are_whole(path):
    value = report.read(path)
    jsonschema.validate(report.plain(value), json.loads(report.SCHEMA_FILE.read_text()))
    assert value.digest in path.with_suffix(".svg").read_text()
    assert path.parent.parent.name == value.spec_version
    assert all(profile.core.result != "failure" for profile in value.profiles)
    assert "## Reproduce" in (path.parent / "README.md").read_text()


def issue(row, expires):
    return {"row": row, "reason": "known", "link": "https://example.org/1", "expires": expires}


@pytest.mark.parametrize(
    ("row", "expires", "status", "word"),
    [
        ("NPWG-4.2-a", "2999-01-01", 0, "KNOWN FAIL"),
        ("NPWG-4.2-a", "2001-01-01", 1, "NPWG-4.2-a is expired: known"),
        ("NPWG-5.2-a", "2999-01-01", 1, "NPWG-5.2-a is fixed: known"),
    ],
)
def test_a_known_issue_excuses_a_failure_until_it_is_fixed_or_its_time_is_over(
    project, row, expires, status, word
):
    (project.path / "known.yaml").write_text(yaml.safe_dump({"issues": [issue(row, expires)]}))
    chosen = ["-k", "status"] if row == "NPWG-5.2-a" else []
    result = project(BODY, "--known-issues=known.yaml", "--report=report.yaml", *chosen)
    assert result.ret == status
    result.stdout.fnmatch_lines([f"*{word}*"])
    (noted,) = report.read(project.path / "report.yaml").known_issues
    assert noted.state == (re.findall("is (expired|fixed)", word) or ["open"])[0]


def test_states_of_known_issues():
    today = date(2026, 5, 5)
    one = Issue.model_validate(issue("NPWG-4.2-a", "2026-05-05"))
    assert one.state(Verdict.FAIL, today) == one.state(None, today) == State.OPEN
    assert one.state(Verdict.AMBIGUOUS, today) is State.OPEN
    assert one.state(Verdict.PASS, today) is State.FIXED
    assert one.state(Verdict.FAIL, date(2026, 5, 6)) is State.EXPIRED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("issues: [{row: NPWG-4.2-a}]", "issues.0.reason"),
        ("issues: [", "not YAML"),
        (yaml.safe_dump({"issues": [issue("NPWG-0-z", "2026-01-01")]}), "no requirement 'NPWG-0-z'"),
    ],
)
def test_a_bad_file_of_known_issues_is_told(tmp_path, text, message):
    file = tmp_path / "known.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        load(file, ["NPWG-4.2-a"])
