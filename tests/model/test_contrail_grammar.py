"""Rows 2.1 and 2.2: the parse table that was executed on the original, with its cache of NADs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multinet.model import selection_contrail
from multinet.model.selected import SelectionError

CACHE = {"ns1/net-a", "ns1/net-b", "other/net-c"}
A, B, C = ("ns1/net-a", ""), ("ns1/net-b", ""), ("other/net-c", "")

P2_KEPT = {
    "net-a": [A],
    "net-a,net-b": [A, B],
    "net-b,net-a": [B, A],
    "net-a, net-b": [A],
    "net-a,\nnet-b": [A],
    " net-a": [],
    "net-a\n": [],
    "other/net-c": [C],
    "ns1/net-a": [A],
    "net-c": [],
    "missing": [],
    "NET-A": [],
    "net-a,missing,net-b": [A, B],
    "net-a@eth5": [],
    "other/net-c@if1": [],
    "net-a,": [A],
    ",": [],
    "": [],
    "net-a,net-a": [A, A],
}
P3_KEPT = {
    "[]": [],
    '[ {"name":"net-a"} ]': [A],
    ' [{"name":"net-a"}]': [],
    '{"name":"net-a"}': [],
    "null": [],
    '[{"name":"net-c","namespace":"other"}]': [C],
    '[{"name":"other/net-c"}]': [],
    '[{"name":"net-a","namespace":""}]': [],
    '[{"name":"net-a","namespace":null}]': [],
    '[{"name":"net-a","interface":"foo"}]': [("ns1/net-a", "foo")],
    '[{"name":"net-a","interface":"x"},{"name":"missing","interface":"x"}]': [("ns1/net-a", "x")],
    '[{"name":"net-a","ips":["10.1.1.5"],"mac":"zz","default-route":5,"interfaceRequest":"q"}]': [A],
}
P6_ERRORS = {
    "a/b/c": "ValueError",
    '[{"name":"net-a","interface":"x"},{"name":"net-b","interface":"x"}]': "more than once",
    '[{"name":"net-a","interface":""},{"name":"net-b","interface":""}]': "more than once",
    '["net-a","net-b"]': "KeyError",
    '[{"namespace":"ns1"}]': "KeyError",
    "[1]": "TypeError",
    "[null]": "TypeError",
    '[{"name":"net-a"}': "JSONDecodeError",
    "[{'name': 'net-a'}]": "JSONDecodeError",
}


def parse(text):
    found = selection_contrail.parse(text, pod_namespace="ns1", knows=CACHE.__contains__)
    return [(item.nad, item.interface) for item in found]


@pytest.mark.parametrize("text", P2_KEPT)
def test_P2_the_comma_form_is_neither_trimmed_nor_checked(text):
    assert parse(text) == P2_KEPT[text]


@pytest.mark.parametrize("text", P3_KEPT)
def test_P1_P3_a_bracket_as_first_character_means_json_of_three_keys(text):
    assert parse(text) == P3_KEPT[text]


@pytest.mark.parametrize("text", P6_ERRORS)
def test_P6_what_raised_in_the_original_is_an_error_with_that_name(text):
    with pytest.raises(SelectionError, match=P6_ERRORS[text]):
        parse(text)


@given(st.one_of(st.text(), st.text().map(lambda text: "[" + text)))
def test_any_text_gives_selections_or_a_selection_error(text):
    position = 0
    try:
        parse(text)
    except SelectionError as error:
        position = error.position
    assert 0 <= position <= len(text)
