"""The selection annotation, seen at the delegates: NPWG 3.3, 4 to 4.1.2.1 and 4.2."""

from __future__ import annotations

import pytest

from conformance import requirement
from conformance.api import NADS
from conformance.delegating import DEFAULT, listed, single
from conformance.delegating.bench import Case


def networks(case: Case) -> list[str]:
    return [call.network for call in case.calls()]


def marks(case: Case) -> list[str]:
    return [str(call.config.get("mark")) for call in case.calls()]


@requirement("NPWG-4-b", "NPWG-4.1-c", "NPWG-6-a")
def test_without_annotation_only_the_default_network(case: Case) -> None:
    case.nad("net-a")
    case.attach(case.pod(None))
    assert [call.network for call in case.recorder.calls("ADD")] == [DEFAULT]


@requirement("NPWG-4-b", "NPWG-6-a")
def test_selected_networks_are_additional(case: Case) -> None:
    case.nad("net-a")
    case.attach(case.pod("net-a"))
    assert sorted(call.network for call in case.recorder.calls("ADD")) == [DEFAULT, "net-a"]


@requirement("NPWG-4.1-a", "NPWG-4.1.1-a", "NPWG-3.3-c")
def test_the_annotation_by_its_key(case: Case) -> None:
    case.nad("net-a")
    case.attach(case.pod("net-a"))
    assert networks(case) == ["net-a"]


@requirement("NPWG-4.1-b", "NPWG-4.1.2-a")
@pytest.mark.parametrize(
    "selection",
    ["net-a,net-b", [{"name": "net-a"}, {"name": "net-b"}]],
    ids=["commas", "json"],
)
def test_both_formats(case: Case, selection: str | list[dict[str, str]]) -> None:
    case.nad("net-a")
    case.nad("net-b")
    case.attach(case.pod(selection))
    assert sorted(networks(case)) == ["net-a", "net-b"]


@requirement("NPWG-4.1-d")
@pytest.mark.parametrize("text", ["", " ", "[]", "[ ]"])
def test_an_empty_annotation(case: Case, text: str) -> None:
    outcome = case.add(case.pod(text))
    assert networks(case) == []
    case.evidence.ambiguous("as without it" if outcome.ok else f"refused: {outcome.answer['msg']}")


@requirement("NPWG-4.1-e")
@pytest.mark.parametrize(
    "key",
    [
        "example.com__networks",
        "kubernetes.v1.cni.cncf.io__networks",
        "k8s.v1.cni.cncf.io__network",
        "k8s.cni.cncf.io__networks",
    ],
)
def test_keys_that_look_alike_select_nothing(case: Case, key: str) -> None:
    case.nad("net-a")
    case.attach(case.pod(None, **{key: "net-a"}))
    assert networks(case) == []


@requirement("NPWG-4.1-f")
@pytest.mark.parametrize(
    "text", ['net-a,{"name":"net-b"}', '[{"name":"net-a"}],net-b', 'net-a,[{"name":"net-b"}]']
)
def test_mixed_formats_are_not_attached_in_part(case: Case, text: str) -> None:
    case.nad("net-a")
    case.nad("net-b")
    outcome = case.add(case.pod(text))
    if outcome.ok and networks(case) not in ([], ["net-a", "net-b"]):
        case.evidence.unsafe(f"attached in part: {networks(case)}")
    case.evidence.ambiguous(
        f"attached: {networks(case)}" if outcome.ok else f"refused: {outcome.answer['msg']}"
    )


@requirement("NPWG-4.1.1-a")
def test_a_bare_name_is_of_the_pods_namespace(case: Case) -> None:
    case.nad("net-a", single("net-a", mark="own"))
    case.nad("net-a", single("net-a", mark="other"), namespace=case.other)
    case.attach(case.pod("net-a"))
    assert marks(case) == ["own"]


@requirement("NPWG-4.1.1-a", "NPWG-7.2-a")
def test_a_bare_name_is_not_looked_for_elsewhere(case: Case) -> None:
    case.nad("only-there", namespace="default")
    try:
        case.assert_refused(case.pod("only-there"), "a NAD of another namespace by its bare name")
    finally:
        case.api.delete(f"{NADS.format('default')}/only-there")
    assert networks(case) == []


@requirement("NPWG-4.1.1-b", "NPWG-3.3-c")
def test_a_name_with_its_namespace(case: Case) -> None:
    case.nad("net-a", single("net-a", mark="own"))
    case.nad("net-a", single("net-a", mark="other"), namespace=case.other)
    case.attach(case.pod(f"{case.other}/net-a,{case.namespace}/net-a"))
    assert marks(case) == ["other", "own"]


@requirement("NPWG-4.1.1-c")
@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_a_list_of_references(case: Case, count: int) -> None:
    names = [case.nad(f"net-{number}") for number in range(count)]
    case.attach(case.pod(",".join(names)))
    assert sorted(networks(case)) == sorted(names)


@requirement("NPWG-4.1.1-d")
def test_the_order_of_attachments(case: Case) -> None:
    names = [case.nad(name) for name in ("net-c", "net-a", "net-b")]
    case.attach(case.pod(",".join(names)))
    same = networks(case) == names
    case.evidence.ambiguous("in the annotation's order" if same else f"in another order: {networks(case)}")


@requirement("NPWG-4.1.1-e")
@pytest.mark.parametrize("text", [" net-a , net-b ", "net-a,\n net-b", "net-a,\tnet-b\n"])
def test_blanks_round_a_reference(case: Case, text: str) -> None:
    case.nad("net-a")
    case.nad("net-b")
    outcome = case.add(case.pod(text))
    if outcome.ok and sorted(networks(case)) != ["net-a", "net-b"]:
        case.evidence.unsafe(f"an item was left out: {networks(case)}")
    case.evidence.ambiguous("trimmed" if outcome.ok else f"refused: {outcome.answer['msg']}")


@requirement("NPWG-4.1.1-f")
@pytest.mark.parametrize(
    "text", ["x/y/net-a", "net-a,,net-b", "net-a,", ",net-a", "t/", "/net-a", "net-a/", ","]
)
def test_a_malformed_item(case: Case, text: str) -> None:
    case.nad("net-a")
    case.nad("net-b")
    outcome = case.add(case.pod(text))
    wanted = {item for item in text.split(",") if item in ("net-a", "net-b")}
    if not outcome.ok:
        assert "msg" in outcome.answer
    elif text == "/net-a" and networks(case) == ["net-a"]:
        case.evidence.ambiguous("an empty namespace is the pod's, as in the JSON format")
    elif networks(case) and set(networks(case)) != wanted:
        case.evidence.unsafe(f"attached: {networks(case)}")
    elif "/" in text:
        case.evidence.fail_closed("ignored in silence") if not networks(case) else case.evidence.unsafe(text)


@requirement("NPWG-3.3-d")
@pytest.mark.parametrize("name", ["A", "a_b", "-a", "a-", "net-a!", "Net-a"])
def test_a_reference_no_object_can_have(case: Case, name: str) -> None:
    case.nad("net-a")
    case.add(case.pod(name))
    assert networks(case) == []


@requirement("NPWG-3.3-a")
@pytest.mark.parametrize("name", ["ok-name", "0start", "a" * 63])
def test_names_that_objects_may_have(case: Case, name: str) -> None:
    case.nad(name, single("net"))
    case.attach(case.pod(f"{name},{case.namespace}/{name}"))
    assert networks(case) == ["net", "net"]


@requirement("NPWG-4.1.2-b")
@pytest.mark.parametrize(
    "text", ['\n [{"name": "net-a"}]\n', '[\n  {"name":\n "net-a"}\n]', ' [{"name":"net-a"}]']
)
def test_white_space_round_json(case: Case, text: str) -> None:
    case.nad("net-a")
    case.attach(case.pod(text))
    assert networks(case) == ["net-a"]


@requirement("NPWG-4.1.2-c")
@pytest.mark.parametrize(
    "text",
    [
        *("{}", "[{", "[null]", "[[]]", "null", "[5]", '["net-a"]', '{"name": "net-a"}', "[{}]", "5", "true"),
        *('[{"name": "net-a"}', '[{"name": "net-a"}, null]', '"net-a"', '[{"name": "net-a"}]]'),
    ],
)
def test_json_that_is_no_list_of_maps(case: Case, text: str) -> None:
    case.nad("net-a")
    case.judge_invalid(text)


@requirement("NPWG-4.1.2.1-b")
@pytest.mark.parametrize("key", ["no-such-key", "org.example.key"])
def test_keys_nobody_knows(case: Case, key: str) -> None:
    case.nad("net-a")
    outcome = case.add(case.pod([{"name": "net-a", key: {"a": 1}}]))
    if outcome.ok:
        assert networks(case) == ["net-a"]
    case.evidence.ambiguous("ignored" if outcome.ok else f"refused: {outcome.answer['msg']}")


@requirement("NPWG-4.1.2.1.1-a")
def test_name_names_the_nad(case: Case) -> None:
    case.nad("net-a", single("something"))
    case.attach(case.pod([{"name": "net-a"}]))
    assert networks(case) == ["something"]


@requirement("NPWG-4.1.2.1.1-b")
@pytest.mark.parametrize(
    "element", [{"namespace": "x"}, {"name": ""}, {"name": 5}, {"name": None}, {"name": ["a"]}]
)
def test_an_element_needs_a_name(case: Case, element: dict[str, object]) -> None:
    case.nad("net-a")
    case.judge_invalid([{"name": "net-a"}, element])


@requirement("NPWG-4.1.2.1.1-c")
@pytest.mark.parametrize("more", [{}, {"namespace": ""}], ids=["missing", "empty"])
def test_a_namespace_left_out_is_the_pods(case: Case, more: dict[str, str]) -> None:
    case.nad("net-a", single("net-a", mark="own"))
    case.nad("net-a", single("net-a", mark="other"), namespace=case.other)
    case.attach(case.pod([{"name": "net-a", **more}]))
    assert marks(case) == ["own"]


@requirement("NPWG-4.1.2.1.2-a")
def test_namespace_is_that_of_the_nad(case: Case) -> None:
    case.nad("net-a", single("net-a", mark="own"))
    case.nad("net-a", single("net-a", mark="other"), namespace=case.other)
    case.attach(case.pod([{"name": "net-a", "namespace": case.other}]))
    assert marks(case) == ["other"]


@requirement("NPWG-4.2-a", "NPWG-4.2-b")
@pytest.mark.parametrize("selection", ["net-a,net-a,net-a", [{"name": "net-a"}] * 3], ids=["commas", "json"])
def test_one_network_several_times(case: Case, selection: str | list[dict[str, str]]) -> None:
    case.nad("net-a")
    case.attach(case.pod(selection))
    assert networks(case) == ["net-a"] * 3


@requirement("NPWG-4.2.1-d")
@pytest.mark.parametrize("selection", ["net-a,net-a,net-a", "net-a,net-b,net-a,net-b"])
def test_made_up_interface_names_differ(case: Case, selection: str) -> None:
    case.nad("net-a")
    case.nad("net-b")
    case.attach(case.pod(selection))
    names = [call.ifname for call in case.recorder.calls("ADD")]
    assert len(set(names)) == len(names) == selection.count("net") + 1
    assert all(0 < len(name.encode()) <= 15 for name in names)


@requirement("NPWG-4.2.1-d", "NPWG-4.1.2.1.5.1-a")
def test_made_up_names_avoid_names_asked_for_later(case: Case) -> None:
    case.nad("net-a")
    case.attach(case.pod("net-a"))
    first = case.one().ifname
    case.recorder.clear()
    case.real_interfaces()
    outcome = case.add(case.pod([{"name": "net-a"}, {"name": "net-a", "interface": first}]))
    if not outcome.ok:
        case.evidence.ambiguous(f"refused, as a name that is taken (4.1.2.1.5): {outcome.answer['msg']}")
        return
    names = [call.ifname for call in case.calls()]
    assert len(set(names)) == 2
    assert names[1] == first


@requirement("NPWG-4.2-d")
def test_two_nads_of_one_network(case: Case) -> None:
    case.nad("net-a", single("shared"))
    case.nad("alias", listed("shared", single(None)))
    case.attach(case.pod("net-a,alias"))
    assert networks(case) == ["shared", "shared"]
    assert len({call.ifname for call in case.calls()}) == 2


@requirement("NPWG-4.2.1-a", "NPWG-4.2.1-b", "NPWG-4.2.1-c")
def test_add_and_del_name_an_attachment_alike(case: Case) -> None:
    case.nad("net-a", single("own-name"))
    case.nad("net-b")
    pod = case.pod("net-a,net-b,net-a")
    case.attach(pod)
    assert case.delete(pod).ok
    added = sorted(call.attachment for call in case.calls("ADD"))
    assert sorted(call.attachment for call in case.calls("DEL")) == added
    assert {container for container, _, _ in added} == {pod.container}
    assert sorted({network for _, network, _ in added}) == ["net-b", "own-name"]


@requirement("NPWG-4.2.1-e")
@pytest.mark.parametrize("change", ["nad-renamed", "nad-gone", "annotation", "pod-gone", "all-gone"])
def test_del_has_the_names_of_add_whatever_changed(case: Case, change: str) -> None:
    case.nad("net-a", single("first-name", mark="first"))
    pod = case.pod("net-a")
    case.attach(pod)
    if change == "nad-renamed":
        case.change_nad("net-a", single("second-name", mark="second"))
    if change in ("nad-gone", "all-gone"):
        case.delete_nad("net-a")
    if change == "annotation":
        case.annotate(pod, "")
    if change in ("pod-gone", "all-gone"):
        case.delete_pod(pod)
    case.delete(pod)
    assert case.one("DEL").attachment == case.one("ADD").attachment
