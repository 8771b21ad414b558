"""CNI, sections 2 and 5: what any call of a plugin must keep to; versions, errors, shapes of results."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from conformance.cnicall import VERSIONS, Caller, Container, Outcome, finish
from conformance.evidence import Evidence
from conformance.snapshot import Snapshot
from multinet.model.objects import Obj

AT_ONCE = 12
# Those of the tables up to 1.1.0; 8 is libcni's, not the specification's.
RESERVED = frozenset({1, 2, 3, 4, 5, 6, 7, 11, 50, 51})
SHAPED = VERSIONS[2:]
BAD_IDS = ("", "%", "-a", ".a", "a b", "a/b", "ä")
BAD_NAMES = ("x" * 16, ".", "..", "a/b", "a b", "a:b")


def spoken(versions: tuple[str, ...], version: str, evidence: Evidence) -> None:
    """End the test as not applicable where the plugin does not speak the version."""
    if version not in versions:
        evidence.not_applicable(f"the plugin does not speak {version}")


@pytest.mark.requirement("CNI-P-1", "CNI-P-2", "CNI-P-4", "CNI-ADD-3", "CNI-ST-3")
def test_a_call_and_its_end(attaching: Caller, container: Container, evidence: Evidence) -> None:
    evidence.case(attaching.config(), "a result and status 0, of DEL as well")
    added = attaching("ADD", container)
    evidence.saw(added)
    assert added.result
    deleted = attaching("DEL", container)
    assert deleted.status == 0, str(deleted)


@pytest.mark.requirement("CNI-P-5")
def test_an_unknown_key(attaching: Caller, container: Container, evidence: Evidence) -> None:
    config = attaching.config(**{"x-key": {"nested": [1]}})
    evidence.case(config, "accepted, or an error object")
    done = attaching("ADD", container, config=config)
    evidence.saw(done)
    assert done.result if done.status == 0 else done.error


@pytest.mark.requirement("CNI-P-6")
def test_foreign_args_in_the_configuration(
    attaching: Caller, container: Container, evidence: Evidence
) -> None:
    config = attaching.config(args={"example.org": {"labels": [{"key": "app", "value": "x"}]}})
    evidence.case(config, "accepted")
    assert attaching("ADD", container, config=config).result


@pytest.mark.requirement("CNI-P-7")
def test_calls_side_by_side(
    attaching: Caller, containers: Callable[[], Container], evidence: Evidence
) -> None:
    evidence.case(f"{AT_ONCE} ADDs at once", "all succeed, with addresses of their own")
    started = [attaching.start("ADD", containers()) for _ in range(AT_ONCE)]
    done = [finish("ADD", each, attaching.text()) for each in started]
    found = [item["address"] for each in done for item in addresses_of(each.result)]
    evidence.saw(found)
    assert len(found) == len(set(found))
    assert found or not attaching.call.ipam


@pytest.mark.requirement("CNI-ENV-1")
@pytest.mark.parametrize("variable", ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"])
def test_a_variable_is_missing(
    caller: Caller, container: Container, evidence: Evidence, variable: str
) -> None:
    evidence.case(f"ADD without {variable}", f"error 4 that names {variable}")
    done = caller("ADD", container, **{variable: None})
    evidence.saw(done)
    assert variable in done.error["msg"] + str(done.error.get("details", ""))
    assert done.code == 4


@pytest.mark.requirement("CNI-ENV-2")
@pytest.mark.parametrize("value", BAD_IDS)
def test_a_container_id_that_is_none(
    caller: Caller, container: Container, evidence: Evidence, value: str
) -> None:
    assert_error(caller, container, evidence, "CNI_CONTAINERID", value)


@pytest.mark.requirement("CNI-ENV-3")
@pytest.mark.parametrize("value", BAD_NAMES)
def test_an_interface_name_that_is_none(
    attaching: Caller, container: Container, evidence: Evidence, value: str
) -> None:
    assert_error(attaching, container, evidence, "CNI_IFNAME", value)


def assert_error(caller: Caller, container: Container, evidence: Evidence, variable: str, value: str) -> None:
    """ADD with this value is an error, and makes no interface."""
    evidence.case(f"ADD with {variable}={value!r}", "an error, and no interface")
    wrong: dict[str, Any] = {variable: value}
    done = caller("ADD", container, **wrong)
    evidence.saw(done)
    assert done.error
    assert set(container.links()) == {"lo"}


@pytest.mark.requirement("CNI-ENV-3")
def test_the_longest_interface_name(attaching: Caller, container: Container, evidence: Evidence) -> None:
    name = "n" * 15
    evidence.case(f"ADD with CNI_IFNAME={name}", "an interface of that name, or an error")
    done = attaching("ADD", container, CNI_IFNAME=name)
    evidence.saw(done)
    if done.status == 0:
        assert name in container.links()
        assert attaching("DEL", container, CNI_IFNAME=name).status == 0
    else:
        assert done.error


@pytest.mark.requirement("CNI-VER-1")
@pytest.mark.parametrize("version", VERSIONS)
def test_version(caller: Caller, versions: tuple[str, ...], evidence: Evidence, version: str) -> None:
    spoken(versions, version, evidence)
    evidence.case({"cniVersion": version}, f"cniVersion {version} and supportedVersions")
    answer = caller("VERSION", config={"cniVersion": version}).result
    evidence.saw(answer)
    assert version in answer["supportedVersions"]
    if version < "1.0.0" and answer["cniVersion"] != version:
        assert answer["cniVersion"] in answer["supportedVersions"]
        evidence.ambiguous(
            f"{answer['cniVersion']}: before 1.0.0 VERSION has no input, it is the output's version"
        )
    else:
        assert answer["cniVersion"] == version


@pytest.mark.requirement("CNI-VER-2")
def test_an_unknown_version(caller: Caller, container: Container, evidence: Evidence) -> None:
    config = caller.config(cniVersion="9.9.9")
    evidence.case(config, "error 1")
    done = caller("ADD", container, config=config)
    evidence.saw(done)
    assert done.code == 1
    assert set(container.links()) == {"lo"}


def provoked(caller: Caller, container: Container, what: str) -> tuple[Callable[[], Outcome], int]:
    """A call that must fail, and the code of the table for it."""
    return {
        "no JSON": (lambda: caller("ADD", container, stdin=b"{"), 6),
        "no name": (lambda: caller("ADD", container, config=caller.config(name=None)), 7),
        "a bad name": (lambda: caller("ADD", container, config=caller.config(name="a/b")), 7),
        "no variable": (lambda: caller("ADD", container, CNI_IFNAME=None), 4),
        "no version": (lambda: caller("ADD", container, config=caller.config(cniVersion="9.9.9")), 1),
        "an unknown command": (lambda: caller("NONSENSE", container), 4),
    }[what]


PROVOKED = ("no JSON", "no name", "no variable", "no version", "an unknown command")


@pytest.fixture(params=PROVOKED)
def failed(
    request: pytest.FixtureRequest, caller: Caller, container: Container, evidence: Evidence
) -> Outcome:
    """How a call that must fail ended."""
    evidence.case(request.param)
    done = provoked(caller, container, request.param)[0]()
    evidence.saw(done)
    return done


@pytest.mark.requirement("CNI-P-2")
def test_the_status_after_a_failure(failed: Outcome) -> None:
    assert failed.status != 0


@pytest.mark.requirement("CNI-P-3")
def test_a_failure_comes_with_an_error_object(failed: Outcome) -> None:
    assert failed.error


@pytest.mark.requirement("CNI-P-4")
def test_standard_output_is_one_value_after_a_failure(failed: Outcome) -> None:
    assert not failed.stdout.strip() or failed.error


@pytest.mark.requirement("CNI-ERR-1")
def test_an_error_object(failed: Outcome) -> None:
    error = failed.error
    assert error["msg"]
    assert isinstance(error.get("code"), int), "no code in the error"
    assert error["code"] >= 100 or error["code"] in RESERVED
    assert re.fullmatch(r"\d+\.\d+\.\d+", str(error.get("cniVersion", ""))), "no cniVersion in the error"


@pytest.mark.requirement("CNI-ERR-2")
@pytest.mark.parametrize("what", [*PROVOKED, "a bad name"])
def test_codes_of_errors(caller: Caller, container: Container, evidence: Evidence, what: str) -> None:
    call, code = provoked(caller, container, what)
    evidence.case(what, f"code {code}")
    done = call()
    evidence.saw(done)
    assert done.code == code


@pytest.mark.requirement("CNI-ERR-3")
@pytest.mark.parametrize(
    "stdin",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"[" * 20_000,
        b"\xff\xfe\x00",
        b'{"cniVersion":[],"name":{},"type":1}',
        b'{"cniVersion":"0.4.0","name":"n","type":"t","prevResult":[[]],"runtimeConfig":7,"ipam":"x"}',
    ],
    ids=["empty", "null", "list", "text", "deep", "binary", "wrong-types", "wrong-parts"],
)
@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_malformed_input(
    caller: Caller, container: Container, evidence: Evidence, command: str, stdin: bytes
) -> None:
    evidence.case(f"{command} with {stdin[:80]!r}", "an error object, no stack trace")
    done = caller(command, container, stdin=stdin)
    evidence.saw(done)
    if command == "ADD" or done.status != 0:
        assert done.error
    assert not any(sign in done.stdout + done.stderr for sign in ("Traceback", "goroutine ", "panicked"))


def shaped(caller: Caller, container: Container, version: str) -> Obj:
    """The result of an ADD in a version."""
    return caller("ADD", container, config=caller.config(cniVersion=version)).result


def addresses_of(result: Obj) -> list[Obj]:
    """The addresses of a result of any version."""
    old = [{"address": result[key]["ip"]} for key in ("ip4", "ip6") if key in result]
    return [*result.get("ips", ()), *old]


@dataclass(frozen=True, slots=True)
class Made:
    """The result of an ADD in a version, and what the kernel had then."""

    version: str
    result: Obj
    netns: str
    links: dict[str, Obj]
    addresses: dict[str, set[str]]

    def listed(self, key: str) -> list[Obj]:
        """A list of maps in the result; empty where it is left out."""
        found = self.result.get(key) or []
        assert isinstance(found, list), f"{key} is no list: {found}"
        assert all(isinstance(item, dict) for item in found), f"{key} is no list of maps: {found}"
        return found


@pytest.fixture(scope="module")
def made_before() -> dict[str, Made]:
    """One ADD in each version serves the tests of all parts of its result."""
    return {}


@pytest.fixture(params=SHAPED)
def made(
    request: pytest.FixtureRequest,
    attaching: Caller,
    containers: Callable[[], Container],
    versions: tuple[str, ...],
    evidence: Evidence,
    made_before: dict[str, Made],
) -> Made:
    """What an ADD in this version came to."""
    version = str(request.param)
    spoken(versions, version, evidence)
    evidence.case(attaching.config(cniVersion=version))
    if version not in made_before:
        container = containers()
        done = attaching("ADD", container, config=attaching.config(cniVersion=version))
        if done.status != 0:
            evidence.unknown(f"there is no result: {done}")
        links = container.links()
        addresses = {name: container.addresses(name) for name in links}
        made_before[version] = Made(version, done.result, container.netns, links, addresses)
    evidence.saw(made_before[version].result)
    return made_before[version]


def address_of(text: object) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    """An address as text; whatever else is a failure."""
    try:
        return ipaddress.ip_interface(str(text))
    except ValueError:
        raise AssertionError(f"no address: {text!r}") from None


@pytest.mark.requirement("CNI-RES-1")
def test_a_result_has_its_version(made: Made) -> None:
    assert made.result.get("cniVersion") == made.version


@pytest.mark.requirement("CNI-RES-2")
def test_a_result_lists_its_interfaces(made: Made) -> None:
    inside = [item for item in made.listed("interfaces") if item.get("sandbox")]
    assert {item["sandbox"] for item in inside} == {made.netns}
    for item in inside:
        assert item.get("name") in made.links, f"no interface {item.get('name')!r} in the container"
        address = made.links[item["name"]]["address"]
        assert item.get("mac", address) == address


@pytest.mark.requirement("CNI-RES-3")
@pytest.mark.parametrize("made", [version for version in SHAPED if version < "1.0.0"], indirect=True)
def test_an_address_of_old_has_its_family(made: Made) -> None:
    for item in made.listed("ips"):
        assert item.get("version") == str(address_of(item.get("address")).version), item


@pytest.mark.requirement("CNI-RES-4")
@pytest.mark.parametrize("made", [version for version in SHAPED if version >= "1.0.0"], indirect=True)
def test_an_address_has_no_family_since(made: Made, evidence: Evidence) -> None:
    if any("version" in item for item in made.listed("ips")):
        evidence.ambiguous(f"still there, no text forbids it: {made.listed('ips')}")


@pytest.mark.requirement("CNI-RES-5")
def test_an_address_of_a_result(made: Made) -> None:
    for item in made.listed("ips"):
        assert "/" in str(item.get("address")), item
        address_of(item["address"])
        assert not item.get("gateway") or address_of(item["gateway"])
        if "interface" in item:
            places = made.listed("interfaces")
            assert item["interface"] in range(len(places)), item
            place = places[item["interface"]]
            assert not place.get("sandbox") or item["address"] in made.addresses.get(
                place.get("name", ""), ()
            )


@pytest.mark.requirement("CNI-RES-6")
def test_the_routes_of_a_result(made: Made) -> None:
    for route in made.listed("routes"):
        assert "/" in str(route.get("dst")), route
        address_of(route["dst"])
        assert not route.get("gw") or address_of(route["gw"])


@pytest.mark.requirement("CNI-RES-7")
def test_the_dns_of_a_result(made: Made) -> None:
    dns = made.result.get("dns") or {}
    assert set(dns) <= {"nameservers", "domain", "search", "options"}
    assert all(isinstance(dns.get(key, []), list) for key in ("nameservers", "search", "options"))


@pytest.mark.requirement("CNI-RES-1")
@pytest.mark.parametrize("version", VERSIONS[:2])
def test_a_result_of_the_first_versions(
    attaching: Caller, container: Container, versions: tuple[str, ...], evidence: Evidence, version: str
) -> None:
    spoken(versions, version, evidence)
    evidence.case(attaching.config(cniVersion=version), "ip4 or ip6, no interfaces")
    result = shaped(attaching, container, version)
    evidence.saw(result)
    assert result["cniVersion"] == version
    assert not {"interfaces", "ips"} & set(result)
    assert addresses_of(result) or not attaching.call.ipam


@pytest.mark.requirement("CNI-DLG-2")
@pytest.mark.parametrize("version", SHAPED)
def test_the_result_of_an_ipam_plugin_is_abbreviated(
    caller: Caller, container: Container, versions: tuple[str, ...], evidence: Evidence, version: str
) -> None:
    spoken(versions, version, evidence)
    config = caller.config(cniVersion=version)
    evidence.case(config, "addresses without an index, and no interfaces")
    result = caller("ADD", container, config=config).result
    evidence.saw(result)
    assert result["ips"]
    assert "interfaces" not in result
    assert not [item for item in result["ips"] if "interface" in item]


@pytest.mark.requirement("CNI-CONV-1")
@pytest.mark.parametrize(
    ("capability", "value"),
    [
        ("portMappings", [{"hostPort": 18080, "containerPort": 80, "protocol": "tcp"}]),
        ("ips", ["10.88.0.77/24"]),
        ("mac", "02:00:00:00:77:77"),
        ("infinibandGUID", "c2:11:22:33:44:55:66:77"),
        ("ipRanges", [[{"subnet": "10.88.9.0/24"}]]),
    ],
)
def test_a_capability_is_acted_on_or_refused(
    attaching: Caller, container: Container, evidence: Evidence, capability: str, value: object
) -> None:
    if capability not in attaching.call.capabilities:
        evidence.not_applicable(f"its configuration does not ask for {capability}")
    config = attaching.config(runtimeConfig={capability: value})
    evidence.case(config, "done, or an error")
    before = Snapshot.take()
    done = attaching("ADD", container, config=config)
    evidence.saw(done)
    if done.status != 0:
        assert done.error
    elif capability == "mac":
        assert value in {link["address"] for link in container.links().values()}
    elif capability == "ips":
        assert set(value) <= {item["address"] for item in addresses_of(done.result)}  # type: ignore[call-overload]
    elif capability == "portMappings":
        filters = [line for line in before.added(Snapshot.take()) if line.startswith("filter ")]
        if not any("18080" in line for line in filters):
            evidence.unknown(
                "no rule about the port of the host: how else it may be forwarded is not seen here"
            )
    else:
        evidence.unknown(f"whether {capability} was acted on is not observed here")


def asked_by_args(attaching: Caller, container: Container, address: str, cni_args: str = "") -> Outcome:
    """ADD with an address in ``args``."""
    config = attaching.config(args={"cni": {"ips": [address]}})
    return attaching("ADD", container, config=config, CNI_ARGS=cni_args or None)


@pytest.mark.requirement("CNI-CONV-2")
def test_args_come_before_cni_args(
    attaching: Caller, containers: Callable[[], Container], evidence: Evidence
) -> None:
    evidence.case("args.cni.ips 10.88.0.60, and IP=10.88.0.61 in CNI_ARGS")
    first, second = containers(), containers()
    alone = asked_by_args(attaching, first, "10.88.0.60/24")
    if alone.status != 0 or "10.88.0.60/24" not in {item["address"] for item in addresses_of(alone.result)}:
        evidence.not_applicable("it does not understand args.cni.ips")
    attaching("DEL", first)
    both = asked_by_args(attaching, second, "10.88.0.60/24", "IgnoreUnknown=1;IP=10.88.0.61")
    evidence.saw(both)
    assert both.status == 0, f"CNI_ARGS were not ignored: {both}"
    found = {item["address"] for item in addresses_of(both.result)}
    assert found == {"10.88.0.60/24"}, f"CNI_ARGS were not ignored: {found}"


@pytest.mark.requirement("CNI-CONV-3")
@pytest.mark.parametrize("address", ["10.88.0.62", "10.88.0.62/24"])
def test_an_address_with_and_without_prefix_length(
    attaching: Caller, container: Container, evidence: Evidence, address: str
) -> None:
    evidence.case(f"args.cni.ips {address}", "that address, or an error object")
    done = asked_by_args(attaching, container, address)
    evidence.saw(done)
    if done.status != 0:
        assert done.error
        return
    found = {item["address"] for item in addresses_of(done.result)}
    if "10.88.0.62/24" not in found:
        evidence.not_applicable("it does not understand args.cni.ips")
