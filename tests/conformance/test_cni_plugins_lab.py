"""The row tests for CNI plugins, on the reference's and on Debian's: what differs is explained."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

from conformance.cnicall import IPAM
from conformance.profiles import Feature
from conformance.recorder import Recorder
from conformance.verdicts import FAILED

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
FINDINGS = ROOT / "conformance" / "findings.md"
BRIDGE, HOST_LOCAL = Path("/usr/lib/cni/bridge"), Path("/usr/lib/cni/host-local")
#: What bridge 1.1.1 does not meet, by row: the tests that say so.
KNOWN = {
    "CNI-ERR-1": {
        f"test_an_error_object[{what}]"
        for what in ("no JSON", "no name", "no variable", "no version", "an unknown command")
    },
    "CNI-ENV-1": {"test_a_variable_is_missing[CNI_COMMAND]"},
    "CNI-ADD-5": {"test_a_delegate_that_fails_is_called_with_del[refuses]"},
}


#: What the chain of bridge, portmap and tuning does not meet beyond that.
CHAIN = Path(__file__).with_name("chain.conflist")
OF_CHAIN = {
    "CNI-DEL-2": {f"test_del_without_a_namespace[{netns}]" for netns in ("None", "", "gone")},
    "CNI-DEL-4": {f"test_del_without_a_namespace[{netns}]" for netns in ("None", "", "gone")},
}


def run(target: str, tmp_path: Path, *options: str) -> dict[str, bool]:
    """Run the suite in namespaces of its own; whether each test that applies was passed."""
    written = tmp_path / "junit.xml"
    argv = [
        sys.executable,
        "-m",
        "scenarios.isolated",
        sys.executable,
        "-m",
        "pytest",
        "conformance/suite/cni",
    ]
    argv += ["--target", target, "--profile", "cni-plugin", "-q", "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        [*argv, f"--junitxml={written}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert written.exists(), done.stdout + done.stderr
    cases = ElementTree.parse(written).iter("testcase")
    ends = {str(case.get("name")): {child.tag for child in case} for case in cases}
    return {name: not tags for name, tags in ends.items() if "skipped" not in tags}


def test_the_references_plugin_meets_every_row_that_applies(tmp_path: Path) -> None:
    passed = run("multinet-cni", tmp_path)
    assert [name for name, well in passed.items() if not well] == []
    assert len(passed) > 80


def test_what_bridge_does_not_meet_is_explained(tmp_path: Path) -> None:
    if not BRIDGE.exists():
        pytest.skip(f"{BRIDGE} is not there: apt-get install containernetworking-plugins")
    report = tmp_path / "report.yaml"
    passed = run(f"cni:{BRIDGE}", tmp_path, "--report", str(report))
    failed = {name for name, well in passed.items() if not well}
    assert failed == set().union(*KNOWN.values())
    clauses = yaml.safe_load(report.read_text())["specClauses"]
    assert {clause["id"] for clause in clauses if clause["verdict"] in FAILED} == set(KNOWN)
    assert len(passed) > 80
    table = FINDINGS.read_text().partition("## Multus")[0].splitlines()
    cells = [line.split("|")[1] for line in table if "| CNI-" in line]
    rows = {row for cell in cells for row in re.findall(r"CNI-[A-Z]+-\d", cell)}
    assert rows == {*KNOWN, *OF_CHAIN}


@pytest.mark.parametrize("name", ["ptp", "macvlan", "portmap", "tuning"])
def test_what_the_others_do_not_meet_is_the_same(name: str, tmp_path: Path) -> None:
    binary = BRIDGE.with_name(name)
    if not binary.exists():
        pytest.skip(f"{binary} is not there: apt-get install containernetworking-plugins")
    chained = name in ("portmap", "tuning")
    # The rest of what ptp and macvlan do is passed and takes a second for each test.
    chosen = () if chained else ("-k", "version or error_object or is_missing or delegate_that_fails")
    passed = run(f"cni:{binary}", tmp_path, *chosen)
    known = (tests for row, tests in KNOWN.items() if row != "CNI-ADD-5" or not chained)
    assert {name for name, well in passed.items() if not well} == set().union(*known)


def test_what_a_chain_does_not_meet_is_explained(tmp_path: Path) -> None:
    if not BRIDGE.exists():
        pytest.skip(f"{BRIDGE} is not there: apt-get install containernetworking-plugins")
    # The whole profile takes a minute and a half; what is left out here is passed, or fails as with bridge.
    chosen = "version or without_a_namespace or takes_back or acted_on or delegate or check_after"
    passed = run(f"cni:{CHAIN}", tmp_path, "-k", chosen)
    of_all = set().union(*KNOWN.values(), *OF_CHAIN.values())
    assert {name for name, well in passed.items() if not well} == of_all & set(passed)
    assert of_all & set(passed) >= OF_CHAIN["CNI-DEL-2"]
    assert passed["test_a_capability_is_acted_on_or_refused[portMappings-value0]"]
    whole = json.loads(CHAIN.read_text())
    whole["plugins"][2] = {"type": "tuning", "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}}
    other = tmp_path / "sysctl.conflist"
    other.write_text(json.dumps(whole))
    assert run(f"cni:{other}", tmp_path, "-k", "check_after_add") == {"test_check_after_add": False}


def test_what_host_local_does_not_meet_is_the_same(tmp_path: Path) -> None:
    if not HOST_LOCAL.exists():
        pytest.skip(f"{HOST_LOCAL} is not there: apt-get install containernetworking-plugins")
    passed = run(f"cni:{HOST_LOCAL}", tmp_path)
    of_all = set().union(*(tests for row, tests in KNOWN.items() if row != "CNI-ADD-5"))
    assert {name for name, well in passed.items() if not well} == of_all
    assert passed["test_the_result_of_an_ipam_plugin_is_abbreviated[1.0.0]"]


def test_an_ipam_plugin_that_lists_interfaces_is_found_out(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.install([IPAM])
    described = {"binary": f"bin/{IPAM}", "config": {"type": IPAM}, "onlyAddresses": True}
    file = tmp_path / "ipam.json"
    file.write_text(json.dumps({**described, "features": [Feature.MANAGES_ADDRESSES]}))
    passed = run(f"cni:{file}", tmp_path, "-k", "abbreviated")
    assert passed
    assert not any(passed.values())
