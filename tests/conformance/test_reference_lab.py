"""The reference passes all that it claims, in one lab; the run's report says so and fits its schema."""

import json
import os
import subprocess
import sys

import jsonschema
import pytest
import yaml

from conformance import report
from conformance.verdicts import Verdict

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


def run(folder, target, *options):
    """The suite in namespaces of its own, below this test's; returns status, output and report."""
    file = folder / "report.yaml"
    argv = [sys.executable, "-m", "scenarios.isolated", sys.executable, "-m", "pytest", "conformance/suite"]
    argv += [f"--target={target}", f"--report={file}", "-p", "no:cacheprovider", "-q", *options]
    done = subprocess.run(argv, capture_output=True, text=True, env=_environment(), check=False)
    return done.returncode, done.stdout + done.stderr, report.read(file)


def _environment():
    # A worker of pytest-xdist has run this; the run below is one of its own.
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_XDIST")}


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    return run(tmp_path_factory.mktemp("default"), "reference")


def test_the_reference_passes_all_that_it_claims(default):
    status, output, found = default
    assert status == 0, output[-3000:]
    verdicts = {clause.id: clause.verdict for clause in found.spec_clauses}
    bad = {row: verdict for row, verdict in verdicts.items() if verdict in ("fail", "unsafe")}
    assert bad == {}
    assert sum(verdict == Verdict.PASS for verdict in verdicts.values()) >= 100
    assert verdicts["CTRL-S-12"] == Verdict.DOCUMENTED_LIMITATION
    assert verdicts["NPWG-4.1.2.1.3-c"] == Verdict.FAIL_CLOSED
    assert not [profile.name for profile in found.profiles if profile.core.result == "failure"]
    # All else of those profiles is asked of the cluster; these need somebody in a delegate's place.
    left = {clause.id for clause in found.spec_clauses if clause.reason == "the target does not delegate"}
    assert left == {"NPWG-1.1.6-a", "NPWG-2.1-a", "NPWG-2.3-b", "NPWG-7.2-e", "NPWG-7.2-g", "NPWG-7.3-a"}


def test_its_report_fits_the_schema(default):
    _, _, found = default
    jsonschema.validate(report.plain(found), json.loads(report.SCHEMA_FILE.read_text()))


def test_the_classic_dialect_is_told_from_the_default_one(tmp_path):
    """What Contrail's users observed violates rows of the standard: the suite has to say which."""
    chosen = "each_of_several or missing_fails or addresses_are_assigned or where_a_mac or list_of_addresses"
    options = ["--profile=core", "--profile=status", "-k", f"({chosen}) and not delegating"]
    status, output, found = run(tmp_path, "reference:contrail-classic", *options)
    assert status == 1, output[-3000:]
    verdicts = {clause.id: clause.verdict for clause in found.spec_clauses}
    assert verdicts["NPWG-7.2-a"] == Verdict.UNSAFE  # skipped in silence
    (clause,) = [clause for clause in found.spec_clauses if clause.id == "NPWG-7.2-a"]
    test = clause.tests[0]
    assert test.input
    assert test.expected == clause.statement
    assert "eth0" in test.observed
    assert "interfaces" in test.logs["controller-cp"]
    assert verdicts["NPWG-4.1.2.1.3-a"] == Verdict.FAIL  # dropped in silence
    assert verdicts["NPWG-4.2-c"] == Verdict.FAIL  # equal names share one entry
    assert verdicts["NPWG-5.3.3-a"] == Verdict.FAIL  # one text, not a list
    assert verdicts["NPWG-5.3.4-b"] == Verdict.FAIL  # a MAC without its interface


def test_namespaces_that_are_kept_apart(tmp_path):
    """In this mode a foreign network is refused; where every pod may select it the row can't be decided."""
    options = [
        "--profile=core",
        "-k",
        "(not_allowed or another_namespaces or pods_namespace) and not delegating",
    ]
    status, output, found = run(tmp_path, "reference:isolation", *options)
    assert status == 0, output[-3000:]
    verdicts = {clause.id: clause.verdict for clause in found.spec_clauses}
    assert verdicts["NPWG-7.4-b"] == Verdict.PASS
    assert verdicts["NPWG-4.1.1-a"] == Verdict.PASS  # the pod's own namespace is allowed
    assert verdicts["NPWG-4.1.1-b"] == Verdict.NOT_APPLICABLE


def test_a_live_cluster_described_by_a_file(tmp_path):
    """The lab of another process stands for the cluster; only a kubeconfig leads there."""
    nad = {
        "annotations": {"opencontrail.org/cidr": "$SUBNETS"},
        "config": json.dumps({"cniVersion": "0.3.1", "type": "contrail-k8s-cni"}),
    }
    described = {
        "container": {"name": "main", "image": "none"},
        "implementation": {"organization": "o", "project": "p", "url": "about:blank", "version": "1"},
        "profiles": ["core", "status"],
        "features": ["status", "interface"],
        "nad": nad,
    }
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(described))
    suite = [sys.executable, "-m", "pytest", "conformance/suite", f"--target=kubeconfig:{file}"]
    suite += ["-p", "no:cacheprovider", "-q", "-k", "both_formats or kernel_has or missing_fails"]
    lab = [sys.executable, "-m", "scenarios.shell", "--run-dir", str(tmp_path)]
    argv = [*lab, "--parent", str(os.getpid()), "--", *suite]
    done = subprocess.run(argv, capture_output=True, text=True, env=_environment(), check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
