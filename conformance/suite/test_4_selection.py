"""Sections 4, 4.1 and 4.2: which networks a pod's annotation selects."""

from __future__ import annotations

import json

import pytest

from conformance import requirement
from conformance.bench import PodWish, Space, selection
from conformance.evidence import Evidence
from conformance.suite.judging import (
    attached,
    attaches_nothing,
    expect_attached,
    is_refused,
    runs,
    shown,
    three_outcomes,
    why,
    with_control,
)
from conformance.target import Network


@requirement("NPWG-4-b", "NPWG-4.1-a", "NPWG-4.1-c")
@pytest.mark.parametrize("count", [0, 1, 2])
def test_selected_networks_come_on_top_of_the_default_one(
    shared: Space, a: Network, b: Network, evidence: Evidence, count: int
) -> None:
    chosen = [a, b][:count]
    text = ",".join(one.name for one in chosen)
    evidence.case(text or "no annotation", f"{1 + count} interfaces")
    pod = shared.pod(text or None)
    runs(pod, evidence)
    attached(pod, *chosen)
    assert len(pod.interfaces) == 1 + count, pod.summary()


@requirement("NPWG-4.1-b", "NPWG-4.1.2-a", "NPWG-3.3-c", "NPWG-4.1.2.1.1-a")
def test_both_formats_make_the_same_attachments(
    shared: Space, a: Network, b: Network, evidence: Evidence
) -> None:
    comma, listed = "a,b", selection({"name": "a"}, {"name": "b"})
    evidence.case(f"{comma} and {listed}")
    for pod in shared.pods(comma=comma, listed=listed).values():
        runs(pod, evidence)
        attached(pod, a, b)


@pytest.mark.parametrize("text", ["", "  \n", "[]", " [ ] "])
@requirement("NPWG-4.1-d")
def test_empty_selections(shared: Space, a: Network, evidence: Evidence, text: str) -> None:
    pod = with_control(shared, evidence, text, a) if text else shared.pod(text)
    attaches_nothing(pod, evidence)
    evidence.ambiguous("as without annotation" if pod.runs else f"refused: {why(pod)}")


@pytest.mark.parametrize(
    "key",
    [
        "networks",
        "kubernetes.v1.cni.cncf.io/networks",
        "k8s.v1.cni.cncf.io/network",
        "v1.cni.cncf.io/networks",
    ],
)
@requirement("NPWG-4.1-e")
def test_keys_that_look_alike_select_nothing(shared: Space, a: Network, evidence: Evidence, key: str) -> None:
    pod = with_control(shared, evidence, f"{key}: a", a, PodWish(annotations={key: "a"}))
    runs(pod, evidence)
    assert not pod.others, pod.summary()


@pytest.mark.parametrize("text", ['a,{"name":"b"}', '[{"name":"a"}],b', 'b,[{"name":"a"}]'])
@requirement("NPWG-4.1-f")
def test_mixed_formats_are_never_attached_in_part(
    shared: Space, a: Network, b: Network, evidence: Evidence, text: str
) -> None:
    assert b
    pod = with_control(shared, evidence, text, a)
    if pod.runs and pod.others:
        attached(pod, a, b)
        evidence.ambiguous("both are attached")
    else:
        attaches_nothing(pod, evidence)
        evidence.ambiguous("ignored" if pod.runs else f"refused: {why(pod)}")


@pytest.mark.parametrize("form", ["comma", "JSON"])
@requirement("NPWG-4.1.1-a", "NPWG-3.3-c")
def test_a_bare_name_is_of_the_pods_namespace(
    space: Space, other: Space, evidence: Evidence, form: str
) -> None:
    own, foreign = space.network("same"), other.network("same")
    pod = expect_attached(space, evidence, "same" if form == "comma" else selection(name="same"), own)
    assert not pod.within(foreign.subnets[0])


@requirement("NPWG-4.1.1-a")
def test_a_bare_name_is_not_looked_up_elsewhere(space: Space, other: Space, evidence: Evidence) -> None:
    good = space.network("good")
    other.network("only-there")
    is_refused(with_control(space, evidence, "only-there", good), evidence)


@pytest.mark.parametrize("form", ["comma", "JSON"])
@requirement("NPWG-4.1.1-b", "NPWG-4.1.2.1.2-a", "NPWG-3.3-c")
def test_another_namespaces_network(space: Space, selectable: Space, evidence: Evidence, form: str) -> None:
    own, foreign = space.network("same"), selectable.network("same")
    comma, listed = f"{selectable.namespace}/same", selection(name="same", namespace=selectable.namespace)
    pod = expect_attached(space, evidence, comma if form == "comma" else listed, foreign)
    assert not pod.within(own.subnets[0])


@requirement("NPWG-4.1.1-b")
def test_the_own_namespace_written_out(space: Space, evidence: Evidence) -> None:
    network = space.network("a")
    expect_attached(space, evidence, f"{space.namespace}/a", network)


@pytest.mark.parametrize("count", [2, 5, 12])
@requirement("NPWG-4.1.1-c")
def test_each_item_is_an_attachment(space: Space, evidence: Evidence, count: int) -> None:
    networks = [space.network(f"n{number}") for number in range(count)]
    expect_attached(space, evidence, ",".join(one.name for one in networks), *networks)


@pytest.mark.parametrize("text", ["a,b", "b,a"])
@requirement("NPWG-4.1.1-d")
def test_the_order_of_attachments(
    shared: Space, a: Network, b: Network, evidence: Evidence, text: str
) -> None:
    pod = expect_attached(shared, evidence, text, a, b)
    order = [
        name for one in pod.others for name, net in (("a", a), ("b", b)) if one in pod.within(net.subnets[0])
    ]
    evidence.ambiguous(f"order in the kernel: {','.join(order)}")


@pytest.mark.parametrize("text", [" a , b ", "a,\nb", "\ta,b\n", "a, b"])
@requirement("NPWG-4.1.1-e")
def test_blanks_round_items(shared: Space, a: Network, b: Network, evidence: Evidence, text: str) -> None:
    pod = with_control(shared, evidence, text, a)
    if pod.runs:
        attached(pod, a, b)  # an item that is passed over in silence fails here
    evidence.ambiguous(f"both attached: {shown(pod)}" if pod.runs else f"refused: {why(pod)}")


@pytest.mark.parametrize("text", ["x/y/z", "a,,b", "a,", ",a", "a/", "/a", "a/b/", "a b"])
@requirement("NPWG-4.1.1-f")
def test_malformed_items(shared: Space, a: Network, b: Network, evidence: Evidence, text: str) -> None:
    pod = with_control(shared, evidence, text, a)
    if not pod.runs:
        attaches_nothing(pod, evidence)
        return
    items = text.split(",")
    if text == "/a" and pod.others:
        attached(pod, a)
        evidence.ambiguous("an empty namespace is the pod's own")
        return
    attached(pod, *(network for network in (a, b) if network.name in items))
    if all(item in ("", a.name, b.name) for item in items):
        evidence.ambiguous(f"an empty item is no item: {pod.summary()}")
    else:
        assert pod.refusals, f"a malformed item is passed over in silence: {pod.summary()}"
        evidence.ambiguous(f"runs, and is warned: {why(pod)}")


@pytest.mark.parametrize("name", ["A", "a_b", "-a", "a-", "a.", "ä"])
@requirement("NPWG-3.3-d")
def test_names_that_no_nad_can_have(shared: Space, a: Network, evidence: Evidence, name: str) -> None:
    attaches_nothing(with_control(shared, evidence, name, a), evidence)


@pytest.mark.parametrize("text", ['\n [{"name": "a"}]\n', '[{"name": "a"}]  ', ' \t[ {\n"name"\n: "a" } ]'])
@requirement("NPWG-4.1.2-b")
def test_white_space_round_json(shared: Space, a: Network, evidence: Evidence, text: str) -> None:
    expect_attached(shared, evidence, text, a)


@pytest.mark.parametrize(
    "text",
    ["{}", "[{", "[null]", "[[]]", "[1]", '["a"]', "null", '[{"name": "a"}] x', '[{"name": "a"}, null]'],
)
@requirement("NPWG-4.1.2-c")
def test_json_that_is_no_list_of_maps(shared: Space, a: Network, evidence: Evidence, text: str) -> None:
    three_outcomes(with_control(shared, evidence, text, a), evidence)


@pytest.mark.parametrize("key", ["no-such-key", "example.org/key"])
@requirement("NPWG-4.1.2.1-b")
def test_keys_that_nobody_knows(shared: Space, a: Network, evidence: Evidence, key: str) -> None:
    pod = with_control(shared, evidence, selection({"name": "a", key: "x"}), a)
    if pod.runs:
        attached(pod, a)
    else:
        attaches_nothing(pod, evidence)
    evidence.ambiguous("ignored" if pod.runs else f"refused: {why(pod)}")


@pytest.mark.parametrize("element", [{}, {"name": ""}, {"name": 5}, {"name": None}, {"name": ["a"]}])
@requirement("NPWG-4.1.2.1.1-b")
def test_an_element_without_a_proper_name(
    shared: Space, a: Network, evidence: Evidence, element: dict[str, object]
) -> None:
    text = json.dumps([{"name": "a"}, {"namespace": shared.namespace} | element])
    three_outcomes(with_control(shared, evidence, text, a), evidence)


@pytest.mark.parametrize("keys", [{}, {"namespace": ""}])
@requirement("NPWG-4.1.2.1.1-c")
def test_a_missing_or_empty_namespace_is_the_pods(
    space: Space, other: Space, evidence: Evidence, keys: dict[str, str]
) -> None:
    own = space.network("same")
    other.network("same")
    expect_attached(space, evidence, selection({"name": "same"} | keys), own)


@pytest.mark.parametrize("text", ["a,a", '[{"name":"a"},{"name":"a"}]', "a,b,a"])
@requirement("NPWG-4.2-a", "NPWG-4.2-b")
def test_a_network_selected_again_is_another_attachment(
    shared: Space, a: Network, b: Network, evidence: Evidence, text: str
) -> None:
    pod = expect_attached(shared, evidence, text, *([a, b, a] if "b" in text else [a, a]))
    twice = pod.within(a.subnets[0])
    assert len({one.interface for one in twice}) == 2
    assert len({one.mac for one in twice}) == 2, pod.summary()
    assert len({one.addresses for one in twice}) == 2, pod.summary()


@requirement("NPWG-4.2-d")
def test_two_nads_of_one_network_are_two_attachments(space: Space, evidence: Evidence) -> None:
    network = space.network("first")
    space.network("second", same_as=network)
    evidence.case("first,second")
    pod = space.pod("first,second")
    runs(pod, evidence)
    attached(pod, network, network)


@requirement("NPWG-4.2-c")
def test_each_of_several_attachments_has_its_status(shared: Space, a: Network, evidence: Evidence) -> None:
    evidence.case("a,a")
    pod = shared.pod("a,a")
    runs(pod, evidence)
    entries = pod.entries_of(a.namespace, a.name)
    evidence.saw(list(entries))
    assert len(entries) == 2
    assert len({entry.get("interface") for entry in entries}) == 2
