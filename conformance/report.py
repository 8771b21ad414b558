"""The ConformanceReport: what a run says of an implementation, as data with a published schema.

Its shape follows the report of the Gateway API (``gateway.networking.k8s.io``, kind ``ConformanceReport``):
profiles with core and extended results, capitalised statistics, supported and unsupported features; in a
group of our own, with every clause and its verdict beside it. Counted are clauses, not tests. *Core* are the
clauses of a profile that bind everybody, *extended* those that need a feature.

A result is ``failure`` with any failed clause, else ``partial`` with any that was not decided, else
``success``. ``python -m conformance.report`` writes ``conformance/report.schema.json`` again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from conformance.applicability import Scope
from conformance.catalogue import Lane, Row
from conformance.evidence import Judged
from conformance.known_issues import Issue, State
from conformance.profiles import Profile
from conformance.verdicts import FAILED, PASSED, Verdict, combine
from multinet.errors import InputError

API_VERSION: Literal["conformance.multinet.opencontrail.org/v1alpha1"]
API_VERSION = "conformance.multinet.opencontrail.org/v1alpha1"
KIND: Literal["ConformanceReport"] = "ConformanceReport"
SCHEMA_FILE = Path(__file__).with_name("report.schema.json")
NO_TEST = "no test of this run decides it"

# What may differ between two runs that came to the same verdicts.
NOT_DIGESTED = frozenset({"date", "digest", "environment", "seconds", "reason", "observed", "logs"})

Result = Literal["success", "partial", "failure"]


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True
    )


class Who(_Model):
    """The implementation under test."""

    organization: str
    project: str
    url: str
    version: str
    contact: tuple[str, ...] = ()


class Statistics(_Model):
    """Numbers of clauses, with the keys of the Gateway API."""

    passed: int = Field(alias="Passed")
    skipped: int = Field(alias="Skipped")
    failed: int = Field(alias="Failed")


class Core(_Model):
    """Result of clauses that bind everybody; lists hold ids of clauses."""

    result: Result
    statistics: Statistics
    skipped_tests: tuple[str, ...] = ()
    failed_tests: tuple[str, ...] = ()


class Extended(Core):
    """Result of clauses that need features."""

    supported_features: tuple[str, ...] = ()
    unsupported_features: tuple[str, ...] = ()


class ProfileReport(_Model):
    """One profile; ``extended`` is missing where it has no clause that needs a feature."""

    name: str
    summary: str
    core: Core
    extended: Extended | None = None


class TestReport(_Model):
    """One test on a clause, in full where it is no plain pass."""

    name: str
    verdict: str
    seconds: float
    reason: str = ""
    input: str = ""
    expected: str = ""
    observed: str = ""
    logs: dict[str, str] = Field(default_factory=dict)


class Clause(_Model):
    """One requirement and its verdict; ``known``: its failure is a known issue."""

    id: str
    document: str
    section: str
    level: str
    profiles: tuple[str, ...]
    statement: str
    verdict: str
    reason: str = ""
    known: bool = False
    tests: tuple[TestReport, ...] = ()


class Untestable(_Model):
    """A clause that no test can decide."""

    id: str
    reason: str


class KnownIssue(_Model):
    """An entry of the file of known issues."""

    row: str
    reason: str
    link: str
    expires: str
    state: str


class Suite(_Model):
    """By what was tested."""

    version: str
    strict: bool = False


class ConformanceReport(_Model):
    """The whole report."""

    api_version: Literal["conformance.multinet.opencontrail.org/v1alpha1"] = API_VERSION
    kind: Literal["ConformanceReport"] = KIND
    date: str
    spec_version: str
    mode: str
    implementation: Who
    suite: Suite
    environment: dict[str, str]
    profiles: tuple[ProfileReport, ...]
    verdicts: dict[str, int]
    spec_clauses: tuple[Clause, ...]
    untestable: tuple[Untestable, ...] = ()
    known_issues: tuple[KnownIssue, ...] = ()
    digest: str = ""


def build(
    scope: Scope,
    judged: Iterable[Judged],
    *,
    date: str,
    suite: Suite,
    environment: Mapping[str, str],
    issues: Iterable[tuple[Issue, State]] = (),
) -> ConformanceReport:
    """One value of everything that was judged; same verdicts, same digest."""
    by_row: dict[str, list[Judged]] = {}
    for one in sorted(judged, key=lambda one: one.test):
        for row in one.rows:
            by_row.setdefault(row, []).append(one)
    rows = list(scope.catalogue.of(scope.profiles))
    untestable = {row.id: why for row in rows if (why := _untestable(row)) and row.id not in by_row}
    clauses = [_clause(row, by_row.get(row.id, []), scope) for row in rows if row.id not in untestable]
    about = scope.claim.implementation
    report = ConformanceReport(
        date=date,
        spec_version=scope.version,
        mode=scope.claim.mode,
        implementation=Who(
            organization=about.organization,
            project=about.project,
            url=about.url,
            version=about.version,
            contact=about.contact,
        ),
        suite=suite,
        environment=dict(environment),
        profiles=tuple(
            _profile(profile, clauses, scope, suite.strict)
            for profile in Profile
            if profile in scope.profiles
        ),
        verdicts=dict(sorted(Counter(clause.verdict for clause in clauses).items())),
        spec_clauses=tuple(clauses),
        untestable=tuple(Untestable(id=row, reason=why) for row, why in untestable.items()),
        known_issues=tuple(
            KnownIssue(
                row=issue.row,
                reason=issue.reason,
                link=issue.link,
                expires=issue.expires.isoformat(),
                state=str(state),
            )
            for issue, state in issues
        ),
    )
    return report.model_copy(update={"digest": digest(plain(report))})


def _untestable(row: Row) -> str:
    """Why no test decides a row: its own reason, or a lane that the suite does not have."""
    if row.untestable:
        return row.untestable
    if {Lane.L0, Lane.L1} & set(row.lanes):
        return ""
    return f"needs lane {', '.join(row.lanes)}, which the suite does not have: {row.test}"


def _clause(row: Row, judged: list[Judged], scope: Scope) -> Clause:
    verdicts = [Verdict(one.rows[row.id]) for one in judged]
    if verdicts:
        verdict = combine(verdicts)
        reason = next((one.reason for one in judged if one.rows[row.id] == verdict), "")
    else:
        why = scope.why_not(row)
        verdict, reason = (Verdict.NOT_APPLICABLE, why) if why else (Verdict.UNKNOWN, NO_TEST)
    return Clause(
        id=row.id,
        document=scope.catalogue.document_of(row).id,
        section=row.section,
        level=str(row.level),
        profiles=tuple(map(str, row.profiles)),
        statement=row.statement,
        verdict=str(verdict),
        reason=reason,
        known=any(row.id in one.known for one in judged),
        # Tests for another kind of target say nothing where others decided.
        tests=tuple(
            _test(one, row)
            for one in judged
            if verdict is Verdict.NOT_APPLICABLE or one.rows[row.id] != Verdict.NOT_APPLICABLE
        ),
    )


def _test(judged: Judged, row: Row) -> TestReport:
    verdict = Verdict(judged.rows[row.id])
    # A node id's folder depends on from where pytest was started.
    name = judged.test.rpartition("/")[2]
    if verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE):
        return TestReport(name=name, verdict=str(verdict), seconds=judged.seconds, reason=judged.reason)
    return TestReport(
        name=name,
        verdict=str(verdict),
        seconds=judged.seconds,
        reason=judged.reason,
        input=judged.input,
        expected=judged.expected or row.statement,
        observed=judged.observed,
        logs=judged.logs,
    )


def _profile(profile: Profile, clauses: Iterable[Clause], scope: Scope, strict: bool) -> ProfileReport:
    own = [clause for clause in clauses if profile in clause.profiles]
    needed = {clause.id: set(scope.catalogue[clause.id].features) for clause in own}
    core = _core([clause for clause in own if not needed[clause.id]], strict)
    more = [clause for clause in own if needed[clause.id]]
    extended = None
    if more:
        features = set().union(*needed.values())
        result = _core([clause for clause in more if needed[clause.id] <= scope.claim.features], strict)
        extended = Extended(
            **dict(result),
            supported_features=tuple(sorted(features & scope.claim.features)),
            unsupported_features=tuple(sorted(features - scope.claim.features)),
        )
    results = {core.result} | ({extended.result} if extended else set())
    words = {"success": "all met", "partial": "not all decided", "failure": "not met"}
    worst = next(word for word in ("failure", "partial", "success") if word in results)
    return ProfileReport(name=str(profile), summary=words[worst], core=core, extended=extended)


def _core(clauses: list[Clause], strict: bool) -> Core:
    passed, failed, skipped = [], [], []
    for clause in clauses:
        verdict = Verdict(clause.verdict)
        if verdict in FAILED or (strict and verdict is Verdict.FAIL_CLOSED):
            failed.append(clause.id)
        elif verdict in (*PASSED, Verdict.FAIL_CLOSED):
            passed.append(clause.id)
        elif verdict is not Verdict.NOT_APPLICABLE:
            skipped.append(clause.id)
    result: Result = "failure" if failed else "partial" if skipped else "success"
    numbers = Statistics(Passed=len(passed), Skipped=len(skipped), Failed=len(failed))
    return Core(result=result, statistics=numbers, skipped_tests=tuple(skipped), failed_tests=tuple(failed))


def plain(report: ConformanceReport) -> dict[str, Any]:
    """As JSON and YAML take it: empty lists and missing parts are left out."""
    found: dict[str, Any] = _pruned(report.model_dump(mode="json", exclude_none=True))
    return found


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        pruned = {key: _pruned(item) for key, item in value.items()}
        return {key: item for key, item in pruned.items() if not _is_nothing(item)}
    return [_pruned(item) for item in value] if isinstance(value, list) else value


def _is_nothing(value: Any) -> bool:
    return value is False or (isinstance(value, str | list | dict) and not value)


def digest(document: Mapping[str, Any]) -> str:
    """``sha256:<hex>`` of the canonical JSON, without what differs between runs of the same verdicts."""
    kept = _digested(document)
    canonical = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


def _digested(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _digested(item) for key, item in value.items() if key not in NOT_DIGESTED}
    return [_digested(item) for item in value] if isinstance(value, list) else value


def render(report: ConformanceReport) -> str:
    """The file's content; keys in the order of the model."""
    return yaml.safe_dump(plain(report), sort_keys=False, allow_unicode=True, width=110)


def read(path: Path) -> ConformanceReport:
    """A report from its file; ``InputError`` when it is none, or its digest is not its own."""
    try:
        document = yaml.load(
            path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
        report = ConformanceReport.model_validate(document)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError("this is no ConformanceReport", where=str(path), why=str(error)) from error
    if digest(document) != report.digest:
        raise InputError(
            "the report's digest does not fit its content", where=str(path), next_step="make it again"
        )
    return report


def schema() -> str:
    """The published schema."""
    found = ConformanceReport.model_json_schema(by_alias=True)
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(found, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema(), encoding="utf-8")
