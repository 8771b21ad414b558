"""Where a delegating implementation finds a network's configuration: NPWG 3.2 and 3.4."""

from __future__ import annotations

import json

import pytest

from conformance import requirement
from conformance.api import NADS
from conformance.delegating import listed, meaning, single
from conformance.delegating.bench import Case


@requirement("NPWG-3.2-c")
def test_a_single_configuration(case: Case) -> None:
    case.nad("net-a", single("net-a", mark="own"))
    case.attach(case.pod("net-a"))
    assert case.one().config.get("mark") == "own"


@requirement("NPWG-3.2-d")
def test_a_list_in_order_with_the_result_handed_on(case: Case) -> None:
    case.nad("net-a", listed("net-a", single(None), single(None, plugin="second")))
    case.attach(case.pod("net-a"))
    first, second = case.exactly(2)
    assert (first.plugin, second.plugin) == ("delegate", "second")
    assert meaning(second.config.get("prevResult") or {}) == meaning(json.loads(first.stdout))


@requirement("NPWG-3.4.1-a")
@pytest.mark.parametrize("file", ["net-a.conflist", "net-a.conf"])
def test_the_nads_configuration_comes_before_files(case: Case, file: str) -> None:
    content = single("net-a", mark="file")
    case.file(file, content if file.endswith(".conf") else listed("net-a", content))
    case.nad("net-a", single("net-a", mark="nad"))
    case.attach(case.pod("net-a"))
    assert case.one().config.get("mark") == "nad"


@requirement("NPWG-3.4.1-b", "NPWG-3.2-f")
@pytest.mark.parametrize("spec", [None, {}], ids=["no-spec", "empty-spec"])
def test_a_list_file_of_that_name(case: Case, spec: dict[str, str] | None) -> None:
    case.file("20-x.conflist", listed("net-a", single(None, mark="file")))
    case.bare_nad("net-a", spec)
    case.attach(case.pod("net-a"))
    assert case.one().config.get("mark") == "file"


@requirement("NPWG-3.4.1-c")
def test_a_single_file_of_that_name(case: Case) -> None:
    case.file("10-x.conf", single("net-a", mark="file"))
    case.bare_nad("net-a", {})
    case.attach(case.pod("net-a"))
    assert case.one().config.get("mark") == "file"


@requirement("NPWG-3.4.1-d")
def test_a_list_file_comes_before_a_single_one(case: Case) -> None:
    case.file("10-single.conf", single("net-a", mark="single"))
    case.file("20-list.conflist", listed("net-a", single(None, mark="list")))
    case.bare_nad("net-a", {})
    case.attach(case.pod("net-a"))
    assert case.one().config.get("mark") == "list"


@requirement("NPWG-3.4.1-e")
def test_no_configuration_anywhere_fails(case: Case) -> None:
    case.file("10-other.conf", single("other"))
    case.bare_nad("net-a", {})
    case.assert_refused(case.pod("net-a"), "a NAD without a configuration")
    assert case.calls() == []


@requirement("NPWG-3.4.1-f")
def test_a_file_is_found_by_the_name_inside(case: Case) -> None:
    case.file("net-a.conf", single("other", mark="by file name"))
    case.file("something.conf", single("net-a", mark="by JSON name"))
    case.bare_nad("net-a", {})
    case.attach(case.pod("net-a"))
    assert case.one().config.get("mark") == "by JSON name"


@requirement("NPWG-3.4.1-g")
@pytest.mark.parametrize("broken", ["{", "", "[]", "null"])
def test_a_broken_file_of_somebody_else_is_passed_over(case: Case, broken: str) -> None:
    case.file("05-bad.conf", broken)
    case.file("06-bad.conflist", broken)
    case.file("10-x.conf", single("net-a", mark="file"))
    case.bare_nad("net-a", {})
    case.attach(case.pod("net-a"))
    assert case.one().config.get("mark") == "file"


@requirement("NPWG-3.4.1-h")
def test_an_empty_config(case: Case) -> None:
    case.file("10-x.conf", single("net-a", mark="file"))
    case.nad("net-a", "")
    outcome = case.add(case.pod("net-a"))
    case.evidence.ambiguous("files are searched" if outcome.ok else f"refused: {outcome.answer['msg']}")


@requirement("NPWG-3.4.1-i")
@pytest.mark.parametrize(
    "config",
    [
        "{",
        "no JSON",
        "[]",
        "null",
        "5",
        '"text"',
        "{}",
        '{"type": 5}',
        '{"type": ""}',
        '{"type": null}',
        '{"plugins": []}',
        '{"plugins": {}}',
        '{"plugins": [null]}',
        '{"plugins": [{}]}',
        '{"cniVersion": "1.0.0", "type": "there-is-no-such-plugin"}',
        '{"cniVersion": "1.0.0", "type": "../bin/delegate"}',
    ],
)
def test_a_malformed_config_fails_in_order(case: Case, config: str) -> None:
    case.nad("net-a", config)
    case.assert_refused(case.pod("net-a"), f"spec.config {config}")


@requirement("NPWG-3.4.2-a", "NPWG-3.2-e")
def test_a_missing_name_is_the_nads(case: Case) -> None:
    case.nad("net-a", single(None))
    case.attach(case.pod("net-a"))
    assert [call.network for call in case.calls()] == ["net-a"]


@requirement("NPWG-3.4.2-b")
def test_a_missing_name_of_a_list_is_the_nads_for_each_plugin(case: Case) -> None:
    case.nad("net-a", listed(None, single(None), single(None, plugin="second")))
    case.attach(case.pod("net-a"))
    assert [call.network for call in case.calls()] == ["net-a", "net-a"]


@requirement("NPWG-3.4.2-c")
def test_a_name_that_is_there_is_left(case: Case) -> None:
    case.nad("net-a", single("other"))
    case.nad("net-b", listed("another", single(None)))
    case.attach(case.pod("net-a,net-b"))
    assert [call.network for call in case.calls()] == ["other", "another"]


@requirement("NPWG-3.4.2-d")
def test_the_stored_nad_stays_as_it_is(case: Case) -> None:
    path = f"{NADS.format(case.namespace)}/{case.nad('net-a', single(None))}"
    before = case.api.get(path)
    case.attach(case.pod("net-a"))
    assert case.api.get(path) == before
