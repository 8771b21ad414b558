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
        ('annotations=={"key_value_pair":[{"key":"k","value":"v"}]}', None),
        ('name=="a,b==c"', None),
        ("name==bare", {"name": ["bare"]}),
    ],
)
def test_filters(text: str, read: dict[str, list[object]] | None) -> None:
    if read is None:
        assert len(read_filters(text)) >= 1
    else:
        assert read_filters(text) == read


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_filters(text)
    except RefusedError as error:
        assert error.status == 400
