"""Quantities, probe thresholds, payloads, capability arguments, mount plans: without a process."""

from __future__ import annotations

from fractions import Fraction

import pytest

from multinet.errors import InputError
from multinet.kubelet.environment import Sources, environment_of
from multinet.kubelet.mounts import Mount, plan
from multinet.kubelet.podspec import PodFacts, ignored_fields
from multinet.kubelet.probes import Probe, Tally, probes_of
from multinet.kubelet.projection import MissingSourceError, payload_of
from multinet.kubelet.references import Reference, references_of
from multinet.kubelet.runtimeargs import capability_args
from multinet.kubelet.volumes import exchange
from multinet.model.quantities import divided, quantity

POD = {"metadata": {"name": "web", "namespace": "ns", "labels": {"a": 'x"y'}}, "spec": {}}
HELD = {
    Reference("configMap", "ns", "cm"): {"data": {"k": "v", "B=D": "1"}, "binaryData": {"b=n": "AP8="}},
    Reference("secret", "ns", "bad"): {"metadata": {"name": "bad"}, "data": {"k": "!"}},
}
SOURCES = Sources(PodFacts("n1", ("192.0.2.1",), ()), HELD.get)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100m", Fraction(1, 10)),
        ("1.5Gi", Fraction(3, 2) * 2**30),
        ("10M", 10**7),
        ("2e3", 2000),
        (".5", Fraction(1, 2)),
        ("-1k", -1000),
        (3, 3),
    ],
)
def test_quantities(text, value):
    assert quantity(text, "here") == value


@pytest.mark.parametrize("text", ["", "M", "1MB", "1e999999999", "0x1", "1 k", None])
def test_what_is_no_quantity(text):
    with pytest.raises(InputError, match="quantity"):
        quantity(text, "here")


def test_a_divided_quantity_is_rounded_up():
    assert divided(quantity("1500m", ""), Fraction(1)) == "2"
    assert divided(quantity("1Gi", ""), quantity("1Mi", "")) == "1024"


def test_a_probe_turns_after_a_row_of_equal_answers():
    tally = Tally(Probe("liveness", {}, failures=3, successes=2), result=True)
    answers = [False, False, True, False, False, False, True, True]
    assert [tally.count(ok) for ok in answers] == [False, False, False, False, False, True, False, True]
    assert tally.result is True


def test_probe_numbers_and_their_defaults():
    (probe,) = probes_of({"livenessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 0}})
    assert (probe.kind, probe.period_s, probe.timeout_s, probe.failures) == ("liveness", 10, 1, 3)
    with pytest.raises(InputError, match="timeoutSeconds must be a number"):
        probes_of({"livenessProbe": {"tcpSocket": {"port": 80}, "timeoutSeconds": -1}})


def test_payloads():
    assert payload_of(POD, {"configMap": {"name": "cm"}}, SOURCES)["b=n"].data == b"\x00\xff"
    labels = {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}, "mode": 0o600}]}
    assert payload_of(POD, {"downwardAPI": labels}, SOURCES)["l"].data == b'a="x\\"y"'
    assert payload_of(POD, {"downwardAPI": labels}, SOURCES)["l"].mode == 0o600
    assert payload_of(POD, {"secret": {"secretName": "no", "optional": True}}, SOURCES) == {}
    with pytest.raises(MissingSourceError, match='secret "no" not found'):
        payload_of(POD, {"secret": {"secretName": "no"}}, SOURCES)
    with pytest.raises(MissingSourceError, match="non-existent key: x"):
        payload_of(POD, {"configMap": {"name": "cm", "items": [{"key": "x", "path": "p"}]}}, SOURCES)
    with pytest.raises(InputError, match=r"relative and without \.\."):
        payload_of(POD, {"configMap": {"name": "cm", "items": [{"key": "k", "path": "../p"}]}}, SOURCES)
    with pytest.raises(InputError, match="key k is not base64"):
        payload_of(POD, {"secret": {"secretName": "bad"}}, SOURCES)


def test_keys_that_are_no_variable_names_are_left_out_of_env_from():
    env = environment_of(POD, {"envFrom": [{"configMapRef": {"name": "cm"}}]}, SOURCES)
    assert (env["k"], "B=D" in env) == ("v", False)


def test_a_nul_is_no_environment():
    with pytest.raises(InputError, match="NUL"):
        environment_of(POD, {"env": [{"name": "A", "value": "x\0y"}]}, SOURCES)


def test_files_are_exchanged_in_one_step_and_stale_ones_go(tmp_path):
    payload = payload_of(POD, {"configMap": {"name": "cm", "items": [{"key": "k", "path": "d/f"}]}}, SOURCES)
    exchange(tmp_path, payload)
    first = (tmp_path / "..data").readlink()
    assert (tmp_path / "d" / "f").read_text() == "v"
    exchange(tmp_path, {"g": payload["d/f"]})
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[:2] != "..") == ["g"]
    assert (tmp_path / "..data").readlink() != first
    assert not (tmp_path / first).exists()


def test_references_of_a_pod():
    spec = {
        "volumes": [
            {"name": "a", "secret": {"secretName": "s"}},
            {"name": "b", "projected": {"sources": [{"configMap": {"name": "p"}}, {"downwardAPI": {}}]}},
        ],
        "containers": [{"envFrom": [{"configMapRef": {"name": "e"}}]}],
        "initContainers": [{"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "i"}}}]}],
    }
    found = references_of({**POD, "spec": spec})
    assert [(one.kind, one.name) for one in found] == [
        ("configMap", "e"),
        ("configMap", "p"),
        ("secret", "i"),
        ("secret", "s"),
    ]


def test_a_bandwidth_that_is_none_is_an_error():
    for text in ("fast", "1", "10E"):
        pod = {"metadata": {"annotations": {"kubernetes.io/egress-bandwidth": text}}, "spec": {}}
        with pytest.raises(InputError, match="egress-bandwidth"):
            capability_args(pod)


def test_ignored_fields_are_found_in_lists():
    spec = {"containers": [{"name": "a"}, {"securityContext": {"capabilities": {"add": ["X"]}}}]}
    assert ignored_fields({"spec": spec}) == ("containers[].securityContext.capabilities",)
    assert ignored_fields({"spec": {"securityContext": {}, "containers": [{"resources": {}}]}}) == ()


def test_a_directory_that_has_the_mount_path_is_bound_whole(tmp_path):
    steps = plan(tmp_path, [Mount(tmp_path, "/etc"), Mount(tmp_path, "/usr/bin")])
    assert steps[0] == ("tmpfs", str(tmp_path), "-")
    assert ("bind", str(tmp_path), f"{tmp_path}/etc") in steps
    assert ("same", "/usr", f"{tmp_path}/usr") in steps
    assert ("bind", str(tmp_path), f"{tmp_path}/usr/bin") in steps
    assert steps[-1] == ("root", str(tmp_path), "-")
