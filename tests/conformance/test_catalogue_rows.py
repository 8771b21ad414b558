"""The rows themselves: what holds for all of them, against tables read from the texts beside them."""

import re
from collections import Counter

from conformance.catalogue import Level, Scope, load
from conformance.profiles import DELEGATING_SECTIONS, NEWEST, Feature, Profile, is_for_delegating, numbers

ROWS = list(load())
NPWG = [row for row in ROWS if row.id.startswith("NPWG")]

DELEGATING_ELSEWHERE = {
    "NPWG-3.2-c": "only who delegates executes a plugin's configuration",
    "NPWG-3.2-d": "only who delegates executes a list",
    "NPWG-3.2-e": "only who delegates passes a configuration on",
    "NPWG-4.1.2.1.6-a": "the text itself lets others ignore the key",
}
"""Rows for delegating implementations outside the sections headed for them, and why."""

OPTIONAL_KEYS = {
    Profile.INFINIBAND: ("4.1.2.1.10",),
    Profile.IPAM_CLAIM: ("4.1.2.1.11", "8"),
    Profile.DEVICE_INFO: ("5.3.7",),
    Profile.DYNAMIC: ("5.1",),
}
"""What an implementation may do without altogether; nothing else of the standard is optional."""


def test_counts_of_the_parts():
    """So that a row which is lost in an edit is missed."""
    kinds = Counter(row.id.split("-")[0] for row in ROWS)
    assert kinds == {"NPWG": 226, "DI": 16, "EXT": 13, "CNI": 76, "CTRL": 36}


def test_a_row_is_complete_and_says_which_text_was_read():
    for row in ROWS:
        for text in filter(None, (row.statement, row.test, row.note, row.untestable)):
            assert re.fullmatch(r"\S.*[.:]", text), f"{row.id}: {text}"
            assert not re.search(r"TODO|[“”’]|  ", text), f"{row.id}: {text}"
        assert len(row.statement) > 20, row.id
        assert row.checked or "Not checked" in row.note, f"{row.id} says neither what was read nor why not"
        assert not row.implied or row.level in {Level.MUST, Level.MUST_NOT, Level.SHOULD}, row.id


def test_an_id_is_that_of_its_section():
    for row in NPWG:
        named = row.id.split("-")[1].removesuffix(".x")
        sections = row.section.split(", ")
        assert all(re.fullmatch(r"[1-8](\.\d+)*", section) for section in sections), row.id
        assert any(section == named or section.startswith(f"{named}.") for section in sections), row.id


def test_who_does_not_delegate_is_exempted_from_exactly_the_sections_headed_so():
    for row in NPWG:
        headed = all(is_for_delegating(section) for section in row.section.split(", "))
        delegating = row.scope is Scope.DELEGATING
        assert delegating == (headed or row.id in DELEGATING_ELSEWHERE), row.id
        assert not (headed and row.id in DELEGATING_ELSEWHERE), row.id
        assert (Profile.DELEGATING in row.profiles) == delegating, row.id
        assert (row.scope is Scope.NON_DELEGATING) == (row.profiles == (Profile.NON_DELEGATING,)), row.id


def test_no_section_headed_for_delegating_plugins_is_without_a_row():
    for headed, since in DELEGATING_SECTIONS.items():
        rows = [row for row in NPWG if row.section == headed or row.section.startswith(f"{headed}.")]
        assert rows, headed
        assert min(numbers(row.since) for row in rows) == numbers(since), headed


def test_only_what_may_be_left_out_altogether_is_optional():
    for row in NPWG:
        profile = next((known for known in OPTIONAL_KEYS if known in row.profiles), None)
        if row.scope is Scope.OPTIONAL:
            assert profile is not None, row.id
        if profile is not None and row.scope is not Scope.DELEGATING:
            assert row.section.startswith(OPTIONAL_KEYS[profile]), row.id


def test_rows_of_features_that_came_later_do_not_bind_the_first_version():
    first = {row.id for row in NPWG if row.holds_in("1.0")}
    newest = {row.id for row in NPWG if row.holds_in(NEWEST)}
    assert sorted(first - newest) == ["NPWG-1.1.5-a", "NPWG-4.1.2.1.3.2-a", "NPWG-4.1.2.1.4.2-a"]
    later = {re.sub(r"-\w$", "", row_id) for row_id in newest - first}
    assert not any(row_id.startswith("NPWG-8") for row_id in first)
    assert {"NPWG-4.1.2.1.7", "NPWG-4.1.2.1.8", "NPWG-4.1.2.1.9", "NPWG-7.5", "NPWG-8.1"} <= later


def test_every_status_row_needs_the_feature_unless_it_permits_something():
    for row in NPWG:
        if row.section.startswith("5") and row.scope is not Scope.OPTIONAL and row.untestable is None:
            assert Feature.STATUS in row.features, row.id


def test_every_profile_and_feature_that_can_be_claimed_is_in_a_row():
    assert {profile for row in ROWS for profile in row.profiles} == set(Profile)
    unused = set(Feature) - {feature for row in ROWS for feature in row.features}
    assert not unused, f"no row needs {sorted(unused)}"
