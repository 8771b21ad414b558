"""Sections 1 to 3: the definition of NADs, their names, and what stays as Kubernetes has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conformance import requirement
from conformance.bench import Bench, PodWish, Space, selection
from conformance.evidence import Evidence
from conformance.suite.judging import attached, expect_attached, runs, why
from conformance.target import ClusterTarget, Network
from multinet.kube import resources
from multinet.kube.errors import InvalidError, KubeError
from multinet.model.objects import Obj

GROUP = "k8s.cni.cncf.io"
PLURAL = "network-attachment-definitions"
LONGEST = "n" * 63


def bare(space: Space, name: str, **parts: Any) -> Obj:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": space.namespace},
        **parts,
    }


def discovered(bench: Bench) -> Obj:
    listed = bench.call(bench.client.get_path(f"/apis/{GROUP}/v1"))
    found = [one for one in listed["resources"] if one["name"] == PLURAL]
    assert len(found) == 1, f"{PLURAL} in discovery: {found}"
    resource: Obj = found[0]
    return resource


@requirement("NPWG-3.1-a", "NPWG-3.1-c", "NPWG-3.1-d")
def test_the_definition(bench: Bench, evidence: Evidence) -> None:
    evidence.case(f"GET customresourcedefinitions/{PLURAL}.{GROUP}")
    crd = bench.call(bench.client.get(resources.CRDS, f"{PLURAL}.{GROUP}"))
    spec = crd["spec"]
    evidence.saw(spec["names"])
    versions = {one["name"]: (one["served"], one["storage"]) for one in spec["versions"]}
    assert spec["group"] == GROUP
    assert versions.get("v1") == (True, True), versions
    names = spec["names"]
    assert (names["plural"], names["singular"], names["kind"]) == (
        PLURAL,
        "network-attachment-definition",
        "NetworkAttachmentDefinition",
    )
    assert "net-attach-def" in names.get("shortNames", ())


@requirement("NPWG-3.1-a", "NPWG-3.1-c", "NPWG-3.1-d", "NPWG-3.1-b")
def test_what_discovery_says(bench: Bench, evidence: Evidence) -> None:
    evidence.case(f"GET /apis/{GROUP}/v1")
    found = discovered(bench)
    evidence.saw(found)
    assert found["kind"] == "NetworkAttachmentDefinition"
    assert found["singularName"] == "network-attachment-definition"
    assert found["namespaced"] is True
    assert "net-attach-def" in found.get("shortNames", ())


@requirement("NPWG-3.1-b", "NPWG-3.1-a")
def test_one_name_in_two_namespaces_is_two_objects(space: Space, other: Space, bench: Bench) -> None:
    for one in (space, other):
        bench.create(bare(one, "same", spec={"config": json.dumps({"name": one.namespace})}))
    for one in (space, other):
        read = bench.call(bench.client.get(resources.NADS, "same", one.namespace))
        assert json.loads(read["spec"]["config"]) == {"name": one.namespace}


@pytest.mark.parametrize("config", [{"type": "x"}, 5, ["x"], True])
@requirement("NPWG-3.1-e")
def test_config_of_another_type_is_refused(space: Space, evidence: Evidence, config: Any) -> None:
    evidence.case(config, "an error of the API")
    with pytest.raises(InvalidError) as caught:
        space.bench.create(bare(space, "typed", spec={"config": config}))
    evidence.saw(str(caught.value))


@pytest.mark.parametrize(
    ("parts", "row"),
    [
        pytest.param({}, "a", marks=requirement("NPWG-3.2-a"), id="no spec"),
        pytest.param({"spec": {}}, "b", marks=requirement("NPWG-3.2-b"), id="no config"),
        pytest.param(
            {"spec": {"config": "{}"}}, "", marks=requirement("NPWG-3.1-e"), id="config is a string"
        ),
    ],
)
def test_what_may_be_left_out(space: Space, evidence: Evidence, parts: Obj, row: str) -> None:
    evidence.case(parts)
    (made,) = space.bench.create(bare(space, f"partly{row}", **parts))
    evidence.saw(made)
    assert made.get("spec", {}) == parts.get("spec", {})


@requirement("NPWG-3.2-f")
def test_a_nad_without_config_is_the_network_of_its_name(space: Space, evidence: Evidence) -> None:
    network = space.network("known", space.subnet(), without_config=True)
    evidence.case(space.bench.target.nad(network))
    pod = space.pod("known")
    runs(pod, evidence)
    attached(pod, network)


@requirement("NPWG-3.2-g", "NPWG-3.2-h")
def test_settings_of_its_own_stand_in_annotations(cluster: ClusterTarget, evidence: Evidence) -> None:
    nad = cluster.nad(Network("documented", "default", ("10.96.1.0/24",)))
    evidence.case(nad)
    config = json.loads(nad.get("spec", {}).get("config", "{}") or "{}")
    assert isinstance(config, dict)
    plugins = config.get("plugins", [config]) if config else []
    assert all(isinstance(one.get("type"), str) for one in plugins), config
    known = {"cniVersion", "name", "type", "plugins", "ipam", "dns", "args", "capabilities", "disableCheck"}
    evidence.saw(f"keys of config: {sorted(config)}")
    assert set(config) <= known, f"settings in config: {sorted(set(config) - known)}"
    assert all("/" in key for key in nad["metadata"].get("annotations", {}))


@pytest.mark.parametrize("form", ["comma", "JSON"])
@pytest.mark.parametrize("name", ["ok-name", "0start", LONGEST])
@requirement("NPWG-3.3-a")
def test_names_of_labels(space: Space, evidence: Evidence, name: str, form: str) -> None:
    network = space.network(name)
    expect_attached(space, evidence, name if form == "comma" else selection(name=name), network)


@requirement("NPWG-3.3-b")
def test_names_up_to_63_characters_work_and_what_happens_to_longer_ones(
    space: Space, evidence: Evidence
) -> None:
    network = space.network(LONGEST)
    pod = space.pod(LONGEST)
    runs(pod, evidence)
    attached(pod, network)
    evidence.case(f"a NAD whose name has {len(LONGEST) + 1} characters")
    try:
        longer = space.network(LONGEST + "n")
    except KubeError as error:
        evidence.saw(f"the API refuses it: {error}")
        return
    pod = space.pod(longer.name)
    evidence.saw("it is attached" if pod.runs else f"it is refused: {why(pod)}")


@requirement("NPWG-1.1.2-a", "NPWG-4-a")
def test_the_pod_object_stays_as_kubernetes_has_it(space: Space, evidence: Evidence) -> None:
    networks = [space.network("a"), space.network("b")]
    space.start(p="a,b")
    made = space.bench.pod_object(space.namespace, "p") or {}
    (pod,) = space.settled("p").values()
    runs(pod, evidence)
    attached(pod, *networks)
    now = {key: value for key, value in pod.obj["spec"].items() if key != "nodeName"}
    before = {key: value for key, value in made.get("spec", now).items() if key != "nodeName"}
    assert now == before
    evidence.saw(f"pod IPs {[str(ip) for ip in pod.pod_ips]}; {pod.summary()}")
    assert pod.pod_ips
    assert {str(ip) for ip in pod.pod_ips} <= {text.partition("/")[0] for text in pod.default.addresses}
    others = {text.partition("/")[0] for one in pod.others for text in one.addresses}
    assert not others & {str(ip) for ip in pod.pod_ips}


@requirement("NPWG-1.1.4-a", "NPWG-2.1-b")
def test_pods_of_every_namespace_are_handled_by_an_unchanged_runtime(
    bench: Bench, space: Space, other: Space, evidence: Evidence
) -> None:
    nodes = bench.call(bench.client.list(resources.NODES)).items
    evidence.case(str([node["status"].get("nodeInfo", {}).get("containerRuntimeVersion") for node in nodes]))
    for one in (space, other):
        network = one.network("a")
        for position in range(max(1, len(bench.target.nodes) - 1)):
            pod = one.pod(PodWish("a", node=position))
            runs(pod, evidence)
            attached(pod, network)


@requirement("NPWG-2.3-a")
def test_an_attachment_without_addresses(space: Space, evidence: Evidence) -> None:
    space.network("bare", addressless=True)
    pod = space.pod("bare")
    runs(pod, evidence)
    (extra,) = pod.others
    assert not [text for text in extra.addresses if not text.startswith("fe80:")]
