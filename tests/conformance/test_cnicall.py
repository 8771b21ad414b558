"""The harness for one plugin call: what a call's end means, and how two snapshots differ."""

from __future__ import annotations

import pytest

from conformance.cnicall import Caller, Container, Outcome
from conformance.snapshot import Snapshot
from conformance.target import PluginCall


class Printing:
    """A target whose plugin prints its environment's CNI variables, as a JSON object."""

    def __init__(self, tmp_path):
        self.binary = tmp_path / "plugin"
        self.binary.write_text(
            "#!/bin/sh\n"
            "cat > /dev/null\n"
            'printf \'{"command":"%s","args":"%s","own":"%s","netns":"%s"}\' '
            '"$CNI_COMMAND" "$CNI_ARGS" "$OWN" "${CNI_NETNS-unset}"\n'
        )
        self.binary.chmod(0o755)
        self.cni_path = (tmp_path,)
        self.state_dirs = ()

    def call(self):
        return PluginCall({"type": "plugin"}, args=(("K", "{container}"),), environment={"OWN": "1"})


def test_a_call_has_what_the_target_asks_for_and_the_test_changes(tmp_path):
    caller = Caller(Printing(tmp_path), "1.0.0")
    said = caller("ADD", Container("c1", "/ns"), CNI_NETNS=None).result
    assert said == {"command": "ADD", "args": "K=c1", "own": "1", "netns": "unset"}
    assert caller.config(name=None, extra=1) == {"cniVersion": "1.0.0", "type": "plugin", "extra": 1}


@pytest.mark.parametrize(
    ("status", "stdout", "message"),
    [
        (0, '{"code":7,"msg":"x"}', "succeeded"),
        (-11, "", "killed by signal 11"),
        (1, "", "not one JSON value"),
        (1, "{} {}", "not one JSON value"),
        (1, "[]", "no JSON object"),
        (1, '{"code":7}', "no msg"),
    ],
)
def test_what_is_no_proper_error_is_a_failure_with_the_reason(status, stdout, message):
    with pytest.raises(AssertionError, match=message):
        assert Outcome("ADD", status, stdout, "").error


def test_an_error_object_and_its_code():
    done = Outcome("ADD", 1, '{"code":7,"msg":"x"}\n', "noise")
    assert (done.code, done.error["msg"]) == (7, "x")
    with pytest.raises(AssertionError, match="ADD failed"):
        assert done.result


def test_snapshots_name_what_differs():
    before, after = Snapshot(frozenset({"link a", "rule x"})), Snapshot(frozenset({"link b", "rule x"}))
    assert (before.added(after), before.gone(after)) == (["link b"], ["link a"])
