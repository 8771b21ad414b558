"""Order, failures, teardown, versions and what goes to whom: NPWG 6 and 7, and CNI's rules for runtimes."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from conformance import requirement
from conformance.delegating import DEFAULT, listed, meaning, single
from conformance.delegating.bench import Case
from conformance.recorder import Answer, Call
from multinet.model.objects import Obj

VERSIONS = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"]
FAILURE = {"code": 100, "msg": "as told by the suite"}


def previous(call: Call) -> Obj:
    """What a call was told of the result before."""
    return meaning(call.config.get("prevResult") or {})


def order(calls: list[Call]) -> list[str]:
    return [call.network for call in calls]


@requirement("NPWG-6.2-a")
@pytest.mark.parametrize("networks", ["net-a", "net-a,net-b,net-a"])
def test_the_default_network_comes_first(case: Case, networks: str) -> None:
    case.nad("net-a")
    case.nad("net-b")
    case.attach(case.pod(networks))
    assert order(case.recorder.calls("ADD"))[:1] == [DEFAULT]


@requirement("NPWG-6.1.2-b")
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_nothing_is_done_before_the_default_network_is_ready(case: Case, command: str) -> None:
    ready = case.node.conf_dir.parent / "ready"
    case.on_node(ready_file=ready)
    case.nad("net-a")
    pod = case.pod("net-a")
    if command == "ADD":
        outcome = case.add(pod)
        assert not outcome.ok, "a pod was set up before the default network was ready"
        assert case.recorder.calls("ADD") == []
        ready.write_text("", encoding="utf-8")
        case.attach(pod)
        assert order(case.recorder.calls("ADD")) == [DEFAULT, "net-a"]
        return
    ready.write_text("", encoding="utf-8")
    case.attach(pod)
    ready.unlink()
    outcome = case.delete(pod)
    if outcome.ok:
        case.evidence.ambiguous("detached all the same; nothing is left")
        case.assert_torn_down(pod)


# -- failures (7.2) ------------------------------------------------------------------------------------------


@requirement("NPWG-7.2-a", "NPWG-7.2-c")
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_failed_attachment_fails_the_pod_at_once(case: Case, position: int) -> None:
    names = [case.nad(name) for name in ("net-a", "net-b", "net-c")]
    case.recorder.answer(Answer(command="ADD", network=names[position], error=FAILURE))
    outcome = case.add(case.pod(",".join(names)))
    assert not outcome.ok, "the pod was set up without one of its networks"
    assert set(order(case.calls())) <= set(names[: position + 1]), "attachments after the failure were tried"


@requirement("NPWG-7.2-a")
@pytest.mark.parametrize(
    "how", ["missing-nad", "missing-plugin", "crash", "no-json", "wrong-version", "status-only"]
)
def test_whatever_keeps_a_network_from_being_attached_fails_the_pod(case: Case, how: str) -> None:
    config = single("net-a", plugin="no-such-plugin") if how == "missing-plugin" else single("net-a")
    if how != "missing-nad":
        case.nad("net-a", config)
    answers = {
        "crash": Answer(command="ADD", network="net-a", signal=11),
        "no-json": Answer(command="ADD", network="net-a", stdout="this is no JSON"),
        "wrong-version": Answer(command="ADD", network="net-a", error={"code": 1, "msg": "version"}),
        "status-only": Answer(command="ADD", network="net-a", stdout="", status=7),
    }
    if how in answers:
        case.recorder.answer(answers[how])
    outcome = case.add(case.pod("net-a"))
    assert not outcome.ok, "the pod was set up without its network"


@requirement("NPWG-7.2-b", "NPWG-7.2-c")
def test_a_failed_default_network_fails_the_pod(case: Case) -> None:
    case.nad("net-a")
    case.recorder.answer(Answer(command="ADD", network=DEFAULT, error=FAILURE))
    outcome = case.add(case.pod("net-a"))
    assert not outcome.ok, "the pod was set up without the default network"
    assert case.calls() == [], "selected networks were tried"


@requirement("NPWG-7.2-d")
def test_teardown_detaches_everything(case: Case) -> None:
    names = [case.nad(name) for name in ("net-a", "net-b")]
    pod = case.pod(",".join([*names, "net-a"]))
    case.attach(pod)
    assert case.delete(pod).ok
    assert sorted(order(case.recorder.calls("DEL"))) == sorted([DEFAULT, *names, "net-a"])


@requirement("NPWG-7.2-d", "CNI-RT-11")
@pytest.mark.parametrize("position", [0, 1])
def test_teardown_after_a_failed_setup(case: Case, position: int) -> None:
    names = [case.nad(name) for name in ("net-a", "net-b")]
    case.recorder.answer(Answer(command="ADD", network=names[position], error=FAILURE))
    pod = case.pod(",".join(names))
    assert not case.add(pod).ok
    case.assert_torn_down(pod)


@requirement("NPWG-7.2-e")
@pytest.mark.parametrize("failing", [DEFAULT, "net-a", "net-b", "net-c"])
def test_one_failed_detachment_does_not_stop_the_others(case: Case, failing: str) -> None:
    names = [case.nad(name) for name in ("net-a", "net-b", "net-c")]
    pod = case.pod(",".join(names))
    case.attach(pod)
    case.recorder.answer(Answer(command="DEL", network=failing, error=FAILURE))
    case.delete(pod)
    assert set(order(case.recorder.calls("DEL"))) == {DEFAULT, *names}


@requirement("NPWG-7.2-f")
@pytest.mark.parametrize("failing", [DEFAULT, "net-a", "net-b"])
def test_a_failed_detachment_is_reported(case: Case, failing: str) -> None:
    names = [case.nad(name) for name in ("net-a", "net-b")]
    pod = case.pod(",".join(names))
    case.attach(pod)
    case.recorder.answer(Answer(command="DEL", network=failing, error=FAILURE))
    assert not case.delete(pod).ok, "the runtime was not told that a detachment failed"


@requirement("NPWG-7.2-g")
@pytest.mark.parametrize("damage", ["truncated", "zeroed", "garbage", "empty"])
def test_teardown_with_damaged_state(case: Case, damage: str) -> None:
    case.nad("net-a")
    pod = case.pod("net-a")
    case.attach(pod)
    files = [path for path in case.node.state_dir.rglob("*") if path.is_file()]
    if not files:
        case.evidence.not_applicable("it stores nothing where it was told to")
    for path in files:
        content = path.read_bytes()
        spoiled = {
            "truncated": content[: len(content) // 2],
            "zeroed": bytes(len(content)),
            "garbage": b"\xff{]}\x00" * 20,
            "empty": b"",
        }
        path.write_bytes(spoiled[damage])
    case.delete(pod)
    assert order(case.recorder.calls("DEL")).count("net-a") == 1, "the selected network was not detached"
    assert DEFAULT in order(case.recorder.calls("DEL")), "the default network was not detached"


@requirement("NPWG-7.2-h")
@pytest.mark.parametrize("nad", ["nad", "no-nad"])
@pytest.mark.parametrize("pod_object", ["pod", "no-pod"])
@pytest.mark.parametrize("state", ["state", "no-state"])
def test_teardown_when_things_are_gone(case: Case, nad: str, pod_object: str, state: str) -> None:
    case.nad("net-a")
    pod = case.pod("net-a")
    case.attach(pod)
    if nad == "no-nad":
        case.delete_nad("net-a")
    if pod_object == "no-pod":
        case.delete_pod(pod)
    if state == "no-state":
        for path in [path for path in case.node.state_dir.rglob("*") if path.is_file()]:
            path.unlink()
    outcome = case.delete(pod)
    found = order(case.recorder.calls("DEL"))
    assert DEFAULT in found, "the default network was not detached"
    if "net-a" not in found:
        known = state == "state" or (nad, pod_object) == ("nad", "pod")
        assert not known, "the selected network was not detached"
        case.evidence.ambiguous(f"nothing was left to know the network from; {outcome}")


@requirement("NPWG-7.2-d", "CNI-DEL-1")
def test_teardown_again(case: Case) -> None:
    case.nad("net-a")
    pod = case.pod("net-a")
    case.attach(pod)
    outcomes = [case.delete(pod) for _ in range(3)]
    assert all(outcome.ok for outcome in outcomes), [str(outcome) for outcome in outcomes]


# -- one after the other, or side by side (7.3) --------------------------------------------------------------


@requirement("NPWG-7.3-a", "CNI-RT-10")
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_operations_of_a_pod_do_not_overlap(case: Case, command: str) -> None:
    names = [case.nad(name) for name in ("net-a", "net-b", "net-c")]
    case.recorder.answer(Answer(command=command, seconds=0.1))
    pod = case.pod(",".join(names))
    case.attach(pod)
    case.delete(pod)
    calls = case.recorder.calls(command)
    assert len(calls) == 4
    for before, after in pairwise(calls):
        assert before.ended <= after.began, f"{before} and {after} overlap"


@requirement("NPWG-7.3-b")
def test_pods_side_by_side(case: Case) -> None:
    case.nad("net-a")
    pods = [case.pod("net-a,net-a") for _ in range(6)]
    text = case.config()

    def start(pod: Any) -> int:
        argv, env = case.command("ADD", pod)
        done = subprocess.run(argv, input=text, env=env, text=True, capture_output=True, check=False)
        return done.returncode

    with ThreadPoolExecutor(len(pods)) as pool:
        assert list(pool.map(start, pods)) == [0] * len(pods)
    for pod in pods:
        own = [call for call in case.recorder.calls("ADD") if call.container == pod.container]
        assert order(own) == [DEFAULT, "net-a", "net-a"]


# -- who may select what (7.4) -------------------------------------------------------------------------------


@requirement("NPWG-7.4-b")
@pytest.mark.parametrize("form", ["commas", "json"])
def test_a_forbidden_selection_fails_the_pod(case: Case, form: str) -> None:
    case.on_node(isolation=True)
    case.nad("net-a", namespace=case.other)
    selection = f"{case.other}/net-a" if form == "commas" else [{"name": "net-a", "namespace": case.other}]
    case.assert_refused(case.pod(selection), "a NAD that is not allowed")
    assert case.calls() == []


@requirement("NPWG-7.4-b")
def test_isolation_allows_the_pods_own_namespace(case: Case) -> None:
    case.on_node(isolation=True)
    case.nad("net-a")
    case.attach(case.pod(f"net-a,{case.namespace}/net-a"))
    assert order(case.calls()) == ["net-a", "net-a"]


# -- runtimeConfig (7.5) -------------------------------------------------------------------------------------

GIVEN = {
    "portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": ""}],
    "bandwidth": {"ingressRate": 1000, "ingressBurst": 1000, "egressRate": 1000, "egressBurst": 1000},
}


@requirement("NPWG-7.5-a")
@pytest.mark.parametrize("key", sorted(GIVEN))
def test_what_the_runtime_gives_does_not_reach_selected_networks(case: Case, key: str) -> None:
    case.nad("net-a", single("net-a", "portMappings", "bandwidth"))
    case.nad("net-b", listed("net-b", single(None, "portMappings", "bandwidth")))
    case.attach(case.pod("net-a,net-b"), runtimeConfig={key: GIVEN[key]})
    for call in case.calls():
        assert key not in (call.config.get("runtimeConfig") or {}), f"{key} of the pod reached {call.network}"


@requirement("NPWG-7.5-b")
@pytest.mark.parametrize("key", sorted(GIVEN))
def test_what_the_runtime_gives_reaches_the_default_network(case: Case, key: str) -> None:
    case.nad("net-a")
    case.attach(case.pod("net-a"), runtimeConfig={key: GIVEN[key]})
    given = case.one(network=DEFAULT).config.get("runtimeConfig") or {}
    assert key in given, f"{key} did not reach the default network"


# -- lists and versions (7.1, CNI section 3) -----------------------------------------------------------------


@requirement("NPWG-7.1-a", "CNI-RT-1")
def test_lists_run_forwards_and_backwards(case: Case) -> None:
    case.nad("net-a", listed("net-a", single(None), single(None, plugin="second")))
    pod = case.pod("net-a")
    case.attach(pod)
    assert case.delete(pod).ok
    assert [call.plugin for call in case.calls("ADD")] == ["delegate", "second"]
    assert [call.plugin for call in case.calls("DEL")] == ["second", "delegate"]


@requirement("NPWG-7.1-b", "CNI-RT-2")
@pytest.mark.parametrize("version", VERSIONS)
def test_each_plugin_of_a_list_has_its_name_and_version(case: Case, version: str) -> None:
    plugins = [single(None), single(None, plugin="second")]
    case.nad("net-a", listed("net-a", *plugins, version=version))
    case.attach(case.pod("net-a"))
    seen = [(call.config.get("name"), call.config.get("cniVersion")) for call in case.calls()]
    assert seen == [("net-a", version)] * 2


@requirement("NPWG-7.1-c", "CNI-RT-15")
@pytest.mark.parametrize("asked", VERSIONS)
@pytest.mark.parametrize("default", ["0.3.1", "1.0.0"])
def test_the_runtime_has_the_result_in_its_version(case: Case, asked: str, default: str) -> None:
    case.version = asked
    case.on_node(default={**case.node.default, "cniVersion": default})
    case.nad("net-a", {**single("net-a"), "cniVersion": "0.4.0"})
    result = case.attach(case.pod("net-a"))
    assert result.get("cniVersion") == asked
    addresses = result.get("ips")
    assert addresses, "the result has no addresses"
    assert all(("version" in item) == (asked < "1") for item in addresses), addresses


@requirement("CNI-RT-3")
def test_previous_results(case: Case) -> None:
    case.nad("net-a", listed("net-a", single(None), single(None, plugin="second")))
    pod = case.pod("net-a")
    case.attach(pod)
    case.delete(pod)
    first, second = case.exactly(2)
    assert "prevResult" not in first.config
    assert previous(second) == meaning(json.loads(first.stdout))
    final = meaning(json.loads(second.stdout))
    assert [previous(call) for call in case.calls("DEL")] == [final, final]


@requirement("CNI-RT-4")
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_a_list_stops_at_an_error(case: Case, command: str) -> None:
    case.nad("net-a", listed("net-a", single(None), single(None, plugin="second")))
    pod = case.pod("net-a")
    first = "delegate" if command == "ADD" else "second"
    case.recorder.answer(Answer(command=command, plugin=first, error=FAILURE))
    assert case.add(pod).ok == (command == "DEL")
    case.delete(pod)
    seen = [call.plugin for call in case.calls(command)]
    assert set(seen) == {first}, f"{command} went on after the error: {seen}"


@requirement("CNI-RT-5")
def test_del_by_another_process_has_the_stored_result(case: Case) -> None:
    case.nad("net-a")
    pod = case.pod("net-a")
    case.attach(pod)
    case.delete_nad("net-a")
    case.delete(pod)
    assert previous(case.one("DEL")) == meaning(json.loads(case.one("ADD").stdout))


@requirement("CNI-RT-6")
def test_del_has_the_parameters_of_add(case: Case) -> None:
    case.nad("net-a", single("net-a", "ips", "mac"))
    keys = {"ips": ["10.2.2.42/24"], "mac": "02:23:45:67:89:01", "cni-args": {"a": "b"}}
    pod = case.pod([{"name": "net-a", "interface": "x1", **keys}])
    case.attach(pod)
    case.delete(pod)
    added, deleted = case.one("ADD"), case.one("DEL")
    for key in ("runtimeConfig", "args"):
        assert deleted.config.get(key) == added.config.get(key), f"{key} differs"
    apart = {"CNI_COMMAND": "", "CNI_ARGS": ""}
    assert {**deleted.env, **apart} == {**added.env, **apart}
    given, later = added.env.get("CNI_ARGS"), deleted.env.get("CNI_ARGS")
    if given != later:
        case.evidence.ambiguous(f"the text asks it of CHECK; CNI_ARGS of ADD: {given}; of DEL: {later}")


@requirement("CNI-RT-7")
@pytest.mark.parametrize("shape", ["single", "list"])
def test_unknown_keys_are_preserved_also_on_del(case: Case, shape: str) -> None:
    more: Obj = {
        "x-own": {"deep": [1, {"a": None}]},
        "ipam": {"type": "delegate-ipam", "x-range": "10.0.0.0/8"},
    }
    one = single(None if shape == "list" else "net-a", **more)
    case.nad("net-a", listed("net-a", one) if shape == "list" else one)
    pod = case.pod("net-a")
    case.attach(pod)
    case.delete(pod)
    for command in ("ADD", "DEL"):
        config = case.one(command).config
        assert {key: config.get(key) for key in more} == more, f"{command} lost keys"


@requirement("CNI-RT-7")
def test_add_and_del_receive_the_same_but_for_the_previous_result(case: Case) -> None:
    case.nad("net-a", single("net-a", "ips", number=1.5, text="ü", empty={}, none=None))
    pod = case.pod([{"name": "net-a", "ips": ["10.2.2.42/24"]}])
    case.attach(pod)
    case.delete(pod)
    added, deleted = case.one("ADD").config, case.one("DEL").config
    deleted.pop("prevResult", None)
    assert deleted == added


@requirement("CNI-RT-8")
@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_capabilities_are_not_passed_on(case: Case, version: str) -> None:
    case.nad("net-a", {**single("net-a", "ips"), "cniVersion": version})
    case.attach(case.pod([{"name": "net-a", "ips": ["10.2.2.42/24"]}]))
    assert "capabilities" not in case.one().config


@requirement("CNI-RT-9")
@pytest.mark.parametrize("value", [True, "true"])
def test_check_is_not_called_where_it_is_off(case: Case, value: object) -> None:
    case.nad("net-a", listed("net-a", single(None), disableCheck=value))
    pod = case.pod("net-a")
    outcome = case.add(pod)
    if not outcome.ok and isinstance(value, str):
        case.evidence.ambiguous(f"a word since 1.0.0, text before; text is refused: {outcome.answer['msg']}")
        return
    assert outcome.ok, f"ADD failed: {outcome}"
    case.call("CHECK", pod, prevResult=outcome.answer)
    assert case.calls("CHECK") == []


@requirement("CNI-RT-12")
def test_whether_check_reaches_selected_networks(case: Case) -> None:
    case.nad("net-a")
    pod = case.pod("net-a")
    result = case.attach(pod)
    outcome = case.call("CHECK", pod, prevResult=result)
    case.evidence.ambiguous(f"{outcome}; asked: {[call.network for call in case.recorder.calls('CHECK')]}")


@requirement("CNI-RT-13", "CNI-RT-14")
@pytest.mark.parametrize("command", ["GC", "STATUS"])
def test_whether_gc_and_status_reach_networks(case: Case, command: str) -> None:
    case.version = "1.1.0"
    case.nad("net-a", {**single("net-a"), "cniVersion": "1.1.0"})
    pod = case.pod("net-a")
    if not case.add(pod).ok:
        case.evidence.not_applicable("1.1.0 is not supported")
    attachments = [{"containerID": pod.container, "ifname": "eth0"}]
    more = {"cni.dev/valid-attachments": attachments, "cni.dev/attachments": attachments}
    outcome = case.call(command, pod, **(more if command == "GC" else {}))
    case.evidence.ambiguous(f"{outcome}; asked: {[call.network for call in case.recorder.calls(command)]}")


@requirement("CNI-RT-16")
def test_whether_cni_args_have_a_key_twice(case: Case) -> None:
    case.nad("net-a")
    case.attach(case.pod("net-a"))
    keys = [pair.partition("=")[0] for pair in case.one().env.get("CNI_ARGS", "").split(";") if pair]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    case.evidence.ambiguous(f"twice: {twice}" if twice else "each once")


@requirement("CNI-VER-3")
def test_the_highest_common_version_is_taken(case: Case) -> None:
    config = listed("net-a", single(None), version="0.4.0", cniVersions=["0.3.1", "1.0.0"])
    case.nad("net-a", config)
    outcome = case.add(case.pod("net-a"))
    if not outcome.ok:
        case.evidence.not_applicable(f"lists with cniVersions are refused: {outcome}")
    assert case.one().config.get("cniVersion") == "1.0.0"


@requirement("NPWG-1.1.4-a", "NPWG-2.1-a", "NPWG-1.1.6-a")
def test_the_implementation_is_a_cni_plugin(case: Case) -> None:
    outcome = case.call("VERSION", case.pod(None))
    assert outcome.ok
    assert set(outcome.answer.get("supportedVersions", [])) & {"0.3.1", "0.4.0", "1.0.0", "1.1.0"}
