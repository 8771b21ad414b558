"""Whoever of a lab's processes is killed, and whenever: nothing stays, and nothing foreign is touched."""

import json

import pytest

pytestmark = pytest.mark.lab


def test_kill_9_at_ten_moments_leaves_nothing(run_script, prefix, tmp_path):
    done = run_script("crash_script.py", 20, tmp_path / "runs", prefix=prefix, limit_s=280)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert [one["left"] for one in result["rounds"]] == [[]] * 10, result
    assert result["changed"] == {}
    # The moments were not all before or all after the start: the test would prove little.
    moments = {one["last"] for one in result["rounds"]}
    assert moments & {"lab-ready", "ready"}, moments
    assert len(moments) > 1, moments
    assert max(one["gone_s"] for one in result["rounds"]) < 20.0
