"""Section 5: the status annotation, of pods of many kinds; each test is held against every one of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import pytest

from conformance import requirement
from conformance.bench import PodWish, Space, selection
from conformance.evidence import Evidence
from conformance.oracles import Seen, addresses_of
from conformance.profiles import Feature
from conformance.suite.judging import is_refused, runs, with_control
from conformance.target import Network
from multinet.model.objects import ANNOTATION_STATUS

STANDARD_KEYS = frozenset(
    {"name", "interface", "ips", "mac", "default", "dns", "default-route", "device-info"}
)
KINDS = ("plain", "one", "two", "twice", "foreign", "asked", "dual", "alias", "other-node")
# A kubelet makes a folder NAMESPACE_NAME_UID for a pod's logs, and a file's name has 255 characters at most.
_LONG = "a-pod.whose-name.is-as-long-as-kubelets-can-take-and-has-dots." + "x" * 88
Pods = Mapping[str, Seen]


@pytest.fixture(scope="module")
def pods(shared: Space, a: Network, b: Network) -> Pods:
    """One pod of each kind, started together; a kind that needs what the target lacks is left out."""
    assert a != b
    claimed = shared.bench.target.claim.features
    wishes: dict[str, PodWish | str | None] = {
        "plain": None,
        "one": "a",
        "two": "a,b",
        "twice": "b,a,b",
    }
    if Feature.NAMESPACE_ISOLATION not in claimed:
        far = shared.bench.space("there").network("a")
        wishes["foreign"] = f"a,{far.namespace}/{far.name}"
    if Feature.INTERFACE in claimed:
        wishes["asked"] = selection({"name": "a", "interface": "data0"}, {"name": "b"})
    if Feature.DUAL_STACK in claimed:
        shared.network("dual", shared.subnet(), shared.subnet6())
        wishes["dual"] = "dual,b"
    shared.network("second", same_as=a)
    wishes["alias"] = "a,second"
    wishes["other-node"] = PodWish("a,b", node=min(1, len(shared.bench.target.nodes) - 1))
    found = shared.batch(*wishes.values())
    return dict(zip(wishes, found, strict=True))


@pytest.fixture(params=KINDS)
def pod(pods: Pods, request: pytest.FixtureRequest, evidence: Evidence) -> Seen:
    """A pod that runs, of each kind."""
    if request.param not in pods:
        evidence.not_applicable("the target does not claim, or does not allow, what such a pod asks for")
    found = pods[request.param]
    evidence.case(f"a pod of kind {request.param}")
    runs(found, evidence)
    evidence.saw(found.status_text or "no status")
    return found


@requirement("NPWG-5-b", "NPWG-5-c")
def test_the_annotation_is_a_list_of_maps(pod: Seen) -> None:
    assert pod.status_text is not None, f"no annotation {ANNOTATION_STATUS}"
    assert pod.entries


@requirement("NPWG-5.1-a", "NPWG-5.3.2-a", "NPWG-5.3.3-b", "NPWG-5.3.4-a")
def test_status_is_what_the_kernel_has(pod: Seen) -> None:
    assert list(pod.disagreements()) == []
    named = [entry["interface"] for entry in pod.entries if "interface" in entry]
    assert len(set(named)) == len(named), f"interfaces named twice: {named}"


@requirement("NPWG-5.2-a", "NPWG-5.2-b", "NPWG-5.3.5-b")
def test_exactly_one_entry_is_the_default_one(pod: Seen) -> None:
    assert len(pod.default_entries) == 1
    (entry,) = pod.default_entries
    assert pod.says_pod_ip(entry), f"pod IPs {[str(ip) for ip in pod.pod_ips]}, default entry {entry}"


@requirement("NPWG-5.3.5-a")
def test_default_is_there_and_a_boolean(pod: Seen, evidence: Evidence) -> None:
    flags = [entry.get("default") for entry in pod.entries]
    assert all(flag is None or isinstance(flag, bool) for flag in flags), flags
    if None in flags:
        evidence.ambiguous("left out where it would be false, as the examples of 1.1 and later have it")


@requirement("NPWG-5.3-a")
def test_keys_of_its_own_have_a_dot(pod: Seen) -> None:
    strange = {key for entry in pod.entries for key in entry if "." not in key} - STANDARD_KEYS
    assert not strange, f"keys that are neither the standard's nor have a dot: {sorted(strange)}"


@requirement("NPWG-5.3.1-a", "NPWG-5.3.1-b")
def test_names_are_those_of_the_selection(pod: Seen) -> None:
    names = [entry.get("name") for entry in pod.entries]
    assert all(isinstance(name, str) and name for name in names), names
    selected = {"a", "b", "dual", "second"}
    assert {str(entry["name"]).rpartition("/")[2] for entry in pod.other_entries} <= selected


@requirement("NPWG-5.3.1-c")
def test_names_have_their_namespace(pod: Seen) -> None:
    bare = [entry["name"] for entry in pod.other_entries if "/" not in str(entry["name"])]
    assert not bare, f"names without namespace: {bare}"


@requirement("NPWG-5.3.3-a")
def test_ips_are_a_list_of_addresses(pod: Seen) -> None:
    for entry in pod.entries:
        if "ips" not in entry:
            continue
        assert isinstance(entry["ips"], list), entry
        for ip in entry["ips"]:
            assert isinstance(ip, str), entry
            ipaddress.ip_interface(ip)


@requirement("NPWG-5.3.4-b")
def test_where_a_mac_is_the_interface_is_too(pod: Seen) -> None:
    assert all(entry.get("interface") for entry in pod.entries if "mac" in entry)


@requirement("NPWG-5.3.6-a", "NPWG-5.3.6.1-a", "NPWG-5.3.6.2-a", "NPWG-5.3.6.3-a")
def test_dns_has_its_form_where_it_is(pod: Seen, evidence: Evidence) -> None:
    found = [entry["dns"] for entry in pod.entries if "dns" in entry]
    if not found:
        evidence.not_applicable("no entry has dns")
    for dns in found:
        assert isinstance(dns, dict), dns
        for server in dns.get("nameservers", []):
            ipaddress.ip_address(server)
        assert isinstance(dns.get("domain", ""), str), dns
        assert all(isinstance(one, str) for one in dns.get("search", [])), dns
        assert isinstance(dns.get("search", []), list), dns


@requirement("NPWG-5.x-a")
def test_as_many_entries_as_attachments(pod: Seen) -> None:
    assert len(pod.entries) == len(pod.interfaces), pod.summary()


@requirement("NPWG-5.x-c")
def test_no_value_is_the_rest_of_a_missing_one(pod: Seen) -> None:
    for entry in pod.entries:
        flat = [*entry.values(), *(item for v in entry.values() if isinstance(v, list) for item in v)]
        wrong = [value for value in flat if value in (None, "", "null", "none", "None", "<nil>", "0.0.0.0/0")]
        assert not wrong, entry


@requirement("NPWG-5.x-b")
def test_a_pod_without_selection_has_no_other_entry(pods: Pods, evidence: Evidence) -> None:
    plain = pods["plain"]
    runs(plain, evidence)
    evidence.saw(plain.status_text or "")
    assert not plain.other_entries


@requirement("NPWG-5.x-b")
def test_a_pod_that_was_refused_has_no_status(shared: Space, a: Network, evidence: Evidence) -> None:
    pod = with_control(shared, evidence, "a,missing", a)
    is_refused(pod, evidence)
    assert pod.status_text is None, f"it does not run, and has a status: {pod.status_text}"


@requirement("NPWG-5.x-d")
def test_status_does_not_depend_on_the_pods_name(space: Space, evidence: Evidence) -> None:
    network = space.network("a")
    evidence.case(f"pods called p and {_LONG}")
    found = space.pods(**{"p": "a", _LONG: "a", "1.p": "a"})
    for pod in found.values():
        runs(pod, evidence)
        evidence.saw(pod.status_text or "")
        assert list(pod.disagreements()) == []
        (entry,) = pod.entries_of(network.namespace, network.name)
        assert entry["ips"]
    names = [[entry["name"] for entry in pod.entries] for pod in found.values()]
    assert names[0] == names[1] == names[2]


@requirement("NPWG-4-a")
def test_pod_ips_are_the_default_networks_only(pod: Seen) -> None:
    others = {address for one in pod.others for address in addresses_of(one)}
    assert set(pod.pod_ips) <= set(addresses_of(pod.default))
    assert not set(pod.pod_ips) & others
