"""What Contrail's documents promise of multi-net: the seven rules of the guide, and the specification's.

Rows CTRL-1 to CTRL-7 are the guide's, CTRL-S those of the specification.
"""

from __future__ import annotations

import json

import pytest

from conformance import requirement
from conformance.bench import Bench, PodWish, Space, selection
from conformance.evidence import Evidence
from conformance.oracles import Address, addresses_of
from conformance.recorder import Recorder
from conformance.suite.judging import attached, attaches_nothing, expect_attached, runs, with_control
from conformance.target import ClusterTarget, Network
from multinet.kube import resources
from multinet.model.objects import ANNOTATION_SELECTION, Obj


def contrail_nad(space: Space, name: str, annotations: dict[str, str]) -> Obj:
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {
            "name": name,
            "namespace": space.namespace,
            "annotations": {f"opencontrail.org/{key}": value for key, value in annotations.items()},
        },
        "spec": {"config": '{ "cniVersion": "0.3.0", "type": "contrail-k8s-cni" }'},
    }


def meanwhile(space: Space) -> None:
    """The least time an administrator takes between two steps: another pod's start and end."""
    space.pods(meanwhile=None)
    space.remove("meanwhile")


@requirement("CTRL-1-a", "CTRL-1-b", "CTRL-S-1", "CTRL-S-4")
@pytest.mark.parametrize("text", [None, "a,b"])
def test_the_default_network_is_there_and_first(
    shared: Space, a: Network, b: Network, evidence: Evidence, text: str | None
) -> None:
    evidence.case(text or "no annotation")
    pod = shared.pod(text)
    runs(pod, evidence)
    attached(pod, *([a, b] if text else []))
    assert len(pod.interfaces) == (3 if text else 1)
    assert pod.default.interface == pod.interfaces[0].interface
    assert [interface for interface, _ in pod.default_routes()] == [pod.default.interface]


@requirement("CTRL-1-c")
def test_pods_reach_each_other_by_pod_ip_with_and_without_networks(space: Space, evidence: Evidence) -> None:
    space.network("a")
    pods = space.pods(plain=None, having="a")
    for pod in pods.values():
        runs(pod, evidence)
    ends = [(pod, pod.default.interface) for pod in pods.values()]
    seen = space.probe((one, two) for one in ends for two in ends if one is not two)
    evidence.saw([f"{one.source} to {one.destination}: {one.outcome}" for one in seen])
    assert all(one.outcome == "reached" for one in seen)


@requirement("CTRL-2-a", "CTRL-S-9")
def test_pod_ips_are_of_the_default_network(shared: Space, a: Network, evidence: Evidence) -> None:
    pod = shared.pod("a")
    runs(pod, evidence)
    attached(pod, a)
    assert not {address for one in pod.others for address in addresses_of(one)} & set(pod.pod_ips)


@requirement("CTRL-2-b")
def test_no_endpoint_of_a_service_is_in_a_further_network(space: Space, evidence: Evidence) -> None:
    network = space.network("a")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": space.namespace},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    space.bench.create(service)
    pod = space.pod(PodWish("a", labels={"app": "web"}))
    runs(pod, evidence)
    attached(pod, network)
    addresses = space.endpoints("web")
    evidence.saw(f"endpoints {sorted(addresses)}; {pod.summary()}")
    assert addresses
    assert addresses <= {str(ip) for ip in pod.pod_ips}


@requirement("CTRL-2-c")
def test_the_pod_object_is_kubernetes_own(shared: Space, a: Network, evidence: Evidence) -> None:
    pod = shared.pod("a")
    runs(pod, evidence)
    attached(pod, a)
    strange = set(pod.obj) - {"apiVersion", "kind", "metadata", "spec", "status"}
    assert not strange


@requirement("CTRL-3-a")
def test_addresses_are_of_the_block_and_differ(shared: Space, a: Network, evidence: Evidence) -> None:
    pods = shared.batch("a", "a", "a")
    found: list[Address] = []
    for pod in pods:
        runs(pod, evidence)
        (one,) = pod.within(a.subnets[0])
        found += addresses_of(one)
    assert len(set(found)) == len(pods)


@requirement("CTRL-3-b", "CTRL-3-c")
def test_a_nad_may_map_to_a_network_that_exists(space: Space, other: Space, evidence: Evidence) -> None:
    block = space.subnet()
    space.bench.create(contrail_nad(space, "made", {"cidr": block}))
    name = {
        "domain": "default-domain",
        "project": f"k8s-{space.namespace}",
        "name": "k8s-made-pod-network",
    }
    mapped = contrail_nad(other, "mapped", {"network": json.dumps(name)})
    other.bench.create(mapped)
    evidence.case(mapped)
    (left,) = space.batch("made")
    (right,) = other.batch("mapped")
    for pod in (left, right):
        runs(pod, evidence)
        assert len(pod.within(block)) == 1, pod.summary()
    ends = ((left, left.within(block)[0].interface), (right, right.within(block)[0].interface))
    (seen,) = space.probe([ends])
    evidence.saw(f"{seen.source} to {seen.destination}: {seen.outcome}: {seen.detail}")
    assert seen.outcome == "reached"


@pytest.mark.parametrize(
    "text",
    [
        '[\n  { "name": "a" },\n  { "name": "b" }\n]',
        "a,b",
    ],
)
@requirement("CTRL-3-d")
def test_both_forms_of_the_annotation(
    shared: Space, a: Network, b: Network, evidence: Evidence, text: str
) -> None:
    expect_attached(shared, evidence, text, a, b)


@requirement("CTRL-3-e")
def test_a_network_of_another_namespace(space: Space, other: Space, evidence: Evidence) -> None:
    own, foreign = space.network("left"), other.network("data")
    expect_attached(space, evidence, f"left,{other.namespace}/data", own, foreign)


@requirement("CTRL-3-f")
def test_the_definition_is_there(bench: Bench, evidence: Evidence) -> None:
    listed = bench.call(bench.client.get_path("/apis/k8s.cni.cncf.io/v1"))
    evidence.saw([one["name"] for one in listed["resources"]])
    assert "network-attachment-definitions" in [one["name"] for one in listed["resources"]]


@requirement("CTRL-3-g")
def test_two_networks_are_two(space: Space, evidence: Evidence) -> None:
    a, b = space.network("a"), space.network("b")
    one, two, neighbour = space.batch("a", "b", "a")
    for pod in (one, two, neighbour):
        runs(pod, evidence)
    (here,), (there,) = one.within(a.subnets[0]), two.within(b.subnets[0])
    (beside,) = neighbour.within(a.subnets[0])
    away, near = space.probe(
        [
            ((one, here.interface), (two, there.interface)),
            ((one, here.interface), (neighbour, beside.interface)),
        ]
    )
    evidence.saw(f"other network: {away.outcome} ({away.detail}); same network: {near.outcome}")
    assert near.outcome == "reached"
    if away.outcome == "unknown":
        evidence.unknown(away.detail)
    assert away.outcome == "not-reached"


@requirement("CTRL-4-a")
def test_every_network_is_an_interface_of_linux(
    shared: Space, a: Network, b: Network, evidence: Evidence
) -> None:
    pod = shared.pod("a,b")
    runs(pod, evidence)
    attached(pod, a, b)
    assert all(one.ifindex and one.up for one in pod.interfaces)


@requirement("CTRL-4-b")
def test_containers_share_the_namespace(space: Space, cluster: ClusterTarget, evidence: Evidence) -> None:
    network = space.network("a")
    containers = [cluster.container() | {"name": name} for name in ("one", "two")]
    evidence.case("a pod with two containers")
    pod = space.pod(PodWish("a", spec={"containers": containers}))
    runs(pod, evidence)
    attached(pod, network)
    states = pod.obj["status"]["containerStatuses"]
    assert [one["name"] for one in states if "running" in one["state"]] == ["one", "two"]


@requirement("CTRL-4-c")
def test_an_interface_may_be_a_network_card(space: Space, evidence: Evidence) -> None:
    network = space.network("wire", space.subnet(), device=True)
    evidence.case("a pod on each of two nodes, whose spare cards are the ends of one wire")
    pods = space.batch(PodWish("wire", node=0), PodWish("wire", node=1))
    for pod in pods:
        runs(pod, evidence)
        attached(pod, network)
    one, two = ((pod, pod.within(network.subnets[0])[0].interface) for pod in pods)
    seen = space.probe([(one, two), (two, one)])
    evidence.saw([f"{each.source} to {each.destination}: {each.outcome}: {each.detail}" for each in seen])
    assert all(each.outcome == "reached" for each in seen)


@pytest.mark.parametrize(("before", "after"), [("a", "a,b"), ("a,b", "a"), ("a,b", "")])
@requirement("CTRL-5-a", "CTRL-5-b")
def test_networks_of_a_running_pod_stay(space: Space, evidence: Evidence, before: str, after: str) -> None:
    networks = {"a": space.network("a"), "b": space.network("b")}
    evidence.case(f"{before!r} becomes {after!r}")
    space.start(p=before)
    (pod,) = space.settled("p").values()
    runs(pod, evidence)
    space.annotate("p", {ANNOTATION_SELECTION: after})
    control = space.pod("a,b")  # as much time as attaching takes
    runs(control, evidence)
    later = space.look("p")
    attached(later, *(networks[name] for name in before.split(",")))
    assert [one.ifindex for one in later.interfaces] == [one.ifindex for one in pod.interfaces]


@requirement("CTRL-S-5", "CTRL-S-6")
def test_a_pod_made_anew_has_the_new_networks(space: Space, evidence: Evidence) -> None:
    a, b = space.network("a"), space.network("b")
    for text, network in (("a", a), ("b", b)):
        (pod,) = space.pods(p=text).values()
        runs(pod, evidence)
        attached(pod, network)
        space.remove("p")


@requirement("CTRL-6-a", "CTRL-S-6")
def test_after_its_pods_a_nad_can_go_and_its_name_come_again(space: Space, evidence: Evidence) -> None:
    for _ in range(2):
        network = space.network("again")
        meanwhile(space)
        (pod,) = space.pods(p="again").values()
        runs(pod, evidence)
        attached(pod, network)
        space.remove("p")
        meanwhile(space)
        space.bench.delete(resources.NADS, {"metadata": {"name": "again", "namespace": space.namespace}})
        meanwhile(space)


@requirement("CTRL-6-b")
def test_a_nad_that_goes_first(space: Space, evidence: Evidence) -> None:
    network, good = space.network("gone"), space.network("good")
    (pod,) = space.pods(p="gone").values()
    runs(pod, evidence)
    space.bench.delete(resources.NADS, {"metadata": {"name": "gone", "namespace": space.namespace}})
    new = with_control(space, evidence, "gone", good)
    later = space.look("p")
    evidence.saw(f"running pod {later.summary()}; new pod {new.summary() if new.runs else new.refusals}")
    attached(later, network)


@requirement("CTRL-7-a")
def test_no_other_plugin_is_called(
    space: Space, evidence: Evidence, tmp_path_factory: pytest.TempPathFactory
) -> None:
    good = space.network("good")
    recorder = Recorder(tmp_path_factory.mktemp("recorder"))
    recorder.install(["recorder"])
    config = {"cniVersion": "0.3.1", "name": "foreign", "type": str(recorder.bin / "recorder")}
    nad = contrail_nad(space, "foreign", {}) | {"spec": {"config": json.dumps(config)}}
    space.bench.create(nad)
    pod = with_control(space, evidence, "foreign", good)
    attaches_nothing(pod, evidence)
    assert recorder.calls() == []


@requirement("CTRL-S-2", "CTRL-S-3")
@pytest.mark.parametrize("text", ["left,right", "right,left", "left,right,left"])
def test_an_interface_for_each_item_in_their_order(space: Space, evidence: Evidence, text: str) -> None:
    networks = {"left": space.network("left"), "right": space.network("right")}
    pod = expect_attached(space, evidence, text, *(networks[name] for name in text.split(",")))
    order = [
        name for one in pod.others for name, net in networks.items() if one in pod.within(net.subnets[0])
    ]
    assert order == text.split(",")


@pytest.mark.alone("last-node")
@requirement("CTRL-S-7")
def test_a_restart_changes_nothing_of_running_pods(space: Space, evidence: Evidence) -> None:
    networks = [space.network("a"), space.network("b")]
    evidence.case("the control plane of the implementation is started again under running pods")
    before = space.pods(p="a,b", q="b,a,b")
    for pod in before.values():
        runs(pod, evidence)
    space.bench.target.restart_control()
    new = space.pod("a,b")
    runs(new, evidence)
    attached(new, *networks)
    for name, pod in before.items():
        later = space.look(name)
        evidence.saw(f"before {pod.summary()}; after {later.summary()}")
        assert [(one.ifindex, one.mac, one.addresses) for one in later.interfaces] == [
            (one.ifindex, one.mac, one.addresses) for one in pod.interfaces
        ]
        assert later.status_text == pod.status_text


@requirement("CTRL-S-8")
def test_a_network_without_free_addresses_is_told(space: Space, evidence: Evidence) -> None:
    small, good = space.network("small", space.subnet().replace("/24", "/29")), space.network("good")
    pods = space.batch(*["small"] * 9, good.name)
    evidence.case("nine pods in a block of eight addresses")
    runs(pods[-1], evidence)
    refused = [pod for pod in pods[:-1] if not pod.runs]
    assert refused
    evidence.saw([*refused[0].refusals] or "nobody says why")
    assert refused[0].refusals, "a pod is refused without a word"
    attached(next(pod for pod in pods if pod.runs and pod is not pods[-1]), small)


@requirement("CTRL-S-10")
def test_all_interfaces_go_with_the_pod(space: Space, evidence: Evidence) -> None:
    a = space.network("a", space.subnet().replace("/24", "/29"))
    b = space.network("b", space.subnet().replace("/24", "/29"))
    for number in range(8):
        name = f"turn{number}"
        (pod,) = space.pods(**{name: "a,b"}).values()
        runs(pod, evidence)
        attached(pod, a, b)
        space.remove(name)


@requirement("CTRL-S-11")
def test_a_network_of_each_family(space: Space, evidence: Evidence) -> None:
    four, six = space.network("four"), space.network("six", space.subnet6())
    pod = space.pod("four,six")
    runs(pod, evidence)
    attached(pod, four, six)


@requirement("CTRL-S-12")
def test_a_name_in_json_may_have_its_namespace(space: Space, other: Space, evidence: Evidence) -> None:
    foreign = other.network("net-c")
    expect_attached(space, evidence, selection(name=f"{other.namespace}/net-c"), foreign)


@requirement("CTRL-S-13")
def test_a_blank_after_the_comma(space: Space, other: Space, evidence: Evidence) -> None:
    own, foreign = space.network("network-a"), other.network("network-b")
    expect_attached(space, evidence, f"network-a, {other.namespace}/network-b", own, foreign)
