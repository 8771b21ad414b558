"""Filters of list requests, as clients write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multinet.configapi.errors import RefusedError
from multinet.configapi.listing import read_filters


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", {}),
        ('display_name=="blue"', {"display_name": ["blue"]}),
        ('a=="x",a=="y",b==true', {"a": ["x", "y"], "b": [True]}),
        ('annotations=={"k":["v",1]},n==1', {"annotations": [{"k": ["v", 1]}], "n": [1]}),
        ('name=="a,b==c",d==bare', {"name": ["a,b==c"], "d": ["bare"]}),
        ("name==bare", {"name": ["bare"]}),
    ],
)
def test_filters(text: str, read: dict[str, list[object]]) -> None:
    assert read_filters(text) == read


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = read_filters(text)
    except RefusedError as error:
        refused = error.status
    else:
        refused = 0
        assert all(values for values in read.values())
    assert refused in (0, 400)
