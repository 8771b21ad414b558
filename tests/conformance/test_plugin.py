"""The plugin in somebody else's project: verdicts, what is left out, exit statuses, pytest-xdist."""

import pytest

# Pytester forgets what a run imports first, and PyYAML's C part can't be imported twice.
import conformance.session  # noqa: F401
from conformance.target import make
from multinet.errors import InputError

# pytest runs whole suites here.
pytestmark = pytest.mark.programs

pytest_plugins = ["pytester"]

TARGET = "--target=tests.conformance.sample_target"
ROW = '@requirement("NPWG-5.3.5-b")'


BODIES = {
    "pass": "assert target.facts == {'answer': 42}",
    "fail": "assert 1 + 1 == 3",
    "unsafe": "evidence.unsafe('two networks of three')",
    "fail_closed": "evidence.fail_closed('refused')",
    "ambiguous": "evidence.ambiguous('eth0 keeps its route')",
    "unsupported_ok": "evidence.unsupported_ok('refused')",
    "unknown": "evidence.unknown('no way in')",
    "broken_lab": "raise LabError('the lab is gone')",
    "not_applicable": "evidence.not_applicable('has none')",
    "suite_error": "{}['key']",
}
WORDS = {"broken_lab": "UNKNOWN"}


def bodies_of(*names):
    return "".join(
        f"\n    {ROW}\n    def test_{name}(target, evidence):\n        {BODIES[name]}\n" for name in names
    )


def test_each_verdict_has_its_word(project):
    result = project(bodies_of(*BODIES))
    words = {name: WORDS.get(name, name.upper().replace("_", "-")) for name in BODIES}
    result.stdout.fnmatch_lines([f"*::test_{name} {word}*" for name, word in words.items()])
    assert result.ret == 1


@pytest.mark.parametrize(
    ("options", "status"),
    [([], 10), (["--strict-verdicts"], 1), (["-k", "test_pass or test_fail_closed"], 0)],
)
def test_unknown_is_no_pass_and_a_refusal_one_only_where_tolerated(project, options, status):
    harmless = [name for name in BODIES if name not in ("fail", "unsafe", "suite_error")]
    assert project(bodies_of(*harmless), *options).ret == status


def test_a_documented_limit_is_no_failure(project):
    body = '    @requirement("NPWG-4.2-a")\n    def test_it():\n        assert False\n'
    result = project(body, target=f"{TARGET}:limited")
    result.stdout.fnmatch_lines(["*DOCUMENTED-LIMITATION*"])
    assert result.ret == 0


@pytest.mark.parametrize(
    ("option", "word", "status"), [("-x", "AMBIGUOUS", 0), ("--strict-verdicts", "FAIL", 1)]
)
def test_what_no_text_asks_for_fails_only_a_strict_run(project, option, word, status):
    body = '    @requirement("NPWG-4.1.2.1.9-h")\n    def test_it():\n        assert 1 == 2\n'
    result = project(body, option)
    result.stdout.fnmatch_lines([f"*::test_it {word}*"])
    assert result.ret == status


def test_what_is_not_applicable_is_told_and_what_is_not_asked_for_left_out(project):
    body = """
    @requirement("NPWG-4.1.2.1.3-a")
    def test_ips():
        raise RuntimeError

    @requirement("NPWG-4.1.2.1.3-a", unsupported="test")
    def test_refused(evidence):
        evidence.unsupported_ok("refused")

    @requirement("NPWG-4.1.2.1.3.2-a")
    def test_delegate():
        raise RuntimeError
"""
    result = project(body, "-rs")
    result.stdout.fnmatch_lines(["*the target does not claim ips*"])
    result.assert_outcomes(skipped=1, deselected=1)
    assert result.ret == 0
    older = project(body, "--profile=delegating", "--spec-version=1.2", "-rs")
    older.stdout.fnmatch_lines(["*version 1.2 of the standard does not have it (from 1.0 to 1.0)*"])


def test_rows_select_tests(project):
    body = f"    {ROW}\n    def test_a(): pass\n\n    @requirement('NPWG-4.2-a')\n    def test_b(): pass\n"
    result = project(body, "-m", "section-4 and profile-core and level-must and not profile-status")
    result.stdout.fnmatch_lines(["*::test_b PASS*"])
    result.assert_outcomes(passed=1, deselected=1)


def test_workers_of_xdist_share_the_target_and_the_status(project):
    body = f"""
    @pytest.mark.parametrize("number", range(4))
    {ROW}
    def test_it(number, target, evidence):
        assert target.facts == {{"answer": 42}}
        if number == 3:
            evidence.unknown("no way in")
"""
    result = project(body, "-n2")
    assert result.ret == 10
    assert sum("PASS" in line for line in result.outlines) >= 3


def test_tests_that_need_something_alone_wait_for_each_other(project):
    body = f"""
    @pytest.mark.alone("thing")
    @pytest.mark.parametrize("number", range(6))
    {ROW}
    def test_it(number):
        with open("{project.path}/held", "x"):
            import select
            select.select([], [], [], 0.1)
        import os
        os.unlink("{project.path}/held")
"""
    result = project(body, "-n2")
    assert result.ret == 0, result.outlines[-5:]


@pytest.mark.parametrize(
    ("target", "body", "message", "status"),
    [
        ("--target=nobody", "", "no target 'nobody'*known are cni, kubeconfig, meta, multinet-cni", 4),
        (f"{TARGET}:broken", "", "the target could not be started: it does not start (mend it)", 3),
        (TARGET, "@requirement('NPWG-4.2-z')", "test_*.py:*no requirement 'NPWG-4.2-z'*NPWG-4.2-a", 4),
        (TARGET, "@requirement('NPWG-1.1.1-a')", "is listed as untestable", 4),
        ("-q", "@requirement('NPWG-4.2-a')", "conformance tests need an implementation", 4),
    ],
)
def test_wrong_use_is_told(project, target, body, message, status):
    result = project(f"    {body}\n    def test_it(): pass\n", target=target)
    (result.stderr if status == 4 else result.stdout).fnmatch_lines([f"*{message}*"])
    assert result.ret == status


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("r.html", "name it .yaml"),
        ("taken/r.yaml", "no folder can be made"),
        ("folder.yaml", "can't be written"),
    ],
)
def test_a_report_without_a_place_is_told_at_once(project, pytester, report, message):
    (pytester.path / "taken").write_text("")
    (pytester.path / "folder.yaml").mkdir()
    result = project("    def test_it(): pass\n", f"--report={report}")
    result.stderr.fnmatch_lines([f"*--report *{report}*{message}*"])
    assert result.ret == 4


def test_a_report_that_no_disk_takes_is_told(project, pytester):
    (pytester.path / "r.yaml").symlink_to("/dev/full")
    result = project(bodies_of("pass"), "--report=r.yaml")
    result.stdout.fnmatch_lines(["the report could not be written: */r.yaml: No space left on device"])
    assert result.ret == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.json", "{", "no description of a plugin"),
        ("c.json", '{"config": {"type": "x"}}', "the key 'binary' is missing"),
        ("c.json", '{"binary": "x", "config": "x"}', "config is no map with a type"),
        ("c.conflist", "{}", "no configuration list.*the key 'plugins' is missing"),
        ("c.conflist", '{"plugins": []}', "plugins is no list of plugins"),
        ("k.yaml", "[]", "it is no map"),
        ("k.yaml", "{}", "the key 'implementation' is missing"),
        ("absent.yaml", None, "No such file or directory"),
    ],
)
def test_a_description_that_is_none_says_why(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    kind = "kubeconfig" if path.suffix == ".yaml" else "cni"
    with pytest.raises(InputError, match=message) as caught:
        make(f"{kind}:{path}")
    assert str(path) in str(caught.value)
    assert caught.value.next_step
