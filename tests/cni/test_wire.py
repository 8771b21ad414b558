"""The wire between plugin and agent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multinet.cni import wire
from multinet.cni.wire import Call, Reply, WireError


def read(data):
    call = wire.decode_call(data)
    if call is None:
        raise WireError("it is not complete")
    return call


@given(
    values=st.dictionaries(
        st.text("ABC_", min_size=1).map("CNI_".__add__), st.text(st.characters(codec="utf-8"))
    ),
    stdin=st.binary(),
)
def test_a_call_survives_the_wire(values, stdin):
    call = Call(values, stdin)
    assert read(wire.encode_call(call)) == call


def test_a_call_is_none_before_its_last_byte():
    data = wire.encode_call(Call({"CNI_COMMAND": "ADD"}, b"x" * 12))
    assert [wire.decode_call(data[:end]) for end in range(len(data))] == [None] * len(data)
    assert read(data + b"more") == read(bytearray(data)) == Call({"CNI_COMMAND": "ADD"}, b"x" * 12)


def test_only_cni_variables_travel():
    assert read(wire.encode_call(Call({"PATH": "/bin", "CNI_A": "\udcff"}, b""))).environment == {
        "CNI_A": "\udcff"
    }


@given(code=st.integers(0, 255), stdout=st.binary())
def test_a_reply_survives_the_wire(code, stdout):
    assert wire.decode_reply(wire.encode_reply(Reply(code, stdout))) == Reply(code, stdout)


@given(st.binary(max_size=200))
def test_whatever_arrives_is_decoded_or_a_wire_error(data):
    outcomes = []
    for decode in (read, wire.decode_reply):
        try:
            outcomes.append(decode(data))
        except WireError as error:
            outcomes.append(error)
    assert isinstance(outcomes[0], Call | WireError)
    assert isinstance(outcomes[1], Reply | WireError)


@pytest.mark.parametrize(
    "data", [b"", b"4:CNI1", b"4:CNI2,0:,0:,", b"99999999999:", b"4:CNI1,3:A=b,0:,0:,", b"4:CNI1;", b":x,"]
)
def test_what_is_no_call(data):
    with pytest.raises(WireError):
        read(data)


def test_a_call_that_is_too_large_is_refused_before_it_is_read():
    with pytest.raises(WireError, match="refused"):
        read(b"4:CNI1,0:,99999999:")
