"""What arrives at a CNI plugin, and what a runtime and an agent read from disk: bytes from anywhere.

The plugin's side is total by CNI errors; the runtime's by ``InputError``; a file of a cache or of an agent's
state that is damaged counts as absent, whatever is in it.
"""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from conformance.fuzz.parsers.grammar import HALF_PAIRS, ODD, damaged_text, mutated, text_of
from conformance.fuzz.parsers.subject import NotTotalError, Subject, as_bytes, equal, refused
from multinet.cni import request, results, runtime_config, spec, wire
from multinet.cni.runtime_cache import Attachment, CachedAttachment, ResultCache
from multinet.cni.spec import CNIError
from multinet.cni.wire import WireError
from multinet.errors import InputError
from multinet.vrouter.marks import short_id
from multinet.vrouter.states import StateFiles

_TEXTS = (*ODD, *HALF_PAIRS)
_RESULT = {
    "cniVersion": "1.0.0",
    "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/x", "mtu": 1450}],
    "ips": [{"address": "10.1.0.5/24", "gateway": "10.1.0.1", "interface": 0, "version": "4"}],
    "routes": [{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "mtu": 1400}],
    "dns": {"nameservers": ["10.96.0.10"], "domain": "x"},
}
_LEGACY = {
    "cniVersion": "0.2.0",
    "ip4": {"ip": "10.1.0.5/24", "gateway": "10.1.0.1", "routes": [{"dst": "0.0.0.0/0"}]},
    "ip6": {"ip": "2001:db8::5/64"},
    "dns": {},
}
_CONFIG = {
    "cniVersion": "1.1.0",
    "name": "multinet",
    "type": "multinet-cni",
    "prevResult": _RESULT,
    "runtimeConfig": {"portMappings": [{"hostPort": 1, "containerPort": 2, "protocol": "tcp"}], "mac": ""},
    "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}],
    "cni.dev/attachments": [{"containerID": "c1", "ifname": "eth0"}],
}
_STDIN = text_of([_CONFIG, {"cniVersion": "0.4.0", "name": "n", "type": "t"}], _TEXTS)
_VARIABLES = {
    "CNI_CONTAINERID": "c0ffee",
    "CNI_NETNS": "/run/netns/x",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=p;K8S_POD_UID=u",
    "CNI_PATH": "/opt/cni/bin",
}
_COMMANDS = st.sampled_from(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"]) | st.text(max_size=5)
# What the kernel gives as a variable's value: no NUL, and bytes that are no UTF-8 as half pairs.
_VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20) | st.sampled_from(
    ["\udcff", "..", ".", "a/b", "=", ";;", "K", "é" * 9, "a" * 16, "٣"]
)


@st.composite
def _calls(draw: st.DrawFn) -> Any:
    variables = {**_VARIABLES, "CNI_COMMAND": draw(_COMMANDS)}
    for name in draw(st.lists(st.sampled_from(sorted(variables)), max_size=2)):
        if draw(st.booleans()):
            variables.pop(name, None)
        else:
            variables[name] = draw(_VALUES | damaged_text(variables.get(name, "")).map(_no_nul))
    return {"environment": variables, "stdin": draw(_STDIN)}


def _no_nul(text: str) -> str:
    return "".join(each for each in text if each != "\0" and not "\ud800" <= each <= "\udc7f")


def _call(given: Any) -> str:
    stdin = as_bytes(given["stdin"])
    version = request.stated_version(stdin)
    try:
        asked = request.parse(given["environment"], stdin)
        request.refuse_runtime_config(asked.config, ("portMappings",))
        if asked.command == request.GC:
            request.valid_attachments(asked.config)
        previous = results.previous_result(asked.config)
        made = results.Result().to_object(asked.version, previous)
        spec.encode(made)
    except CNIError as error:
        return _cni_error(error, version)
    return asked.command.lower()


def _cni_error(error: CNIError, version: str) -> str:
    printed = json.loads(error.to_json(version))
    if not printed["msg"] or not isinstance(printed["code"], int) or printed["code"] < 1:
        raise NotTotalError(f"this is no CNI error: {printed!r}") from error
    return "refused"


def _result(given: Any) -> str:
    try:
        if not isinstance(given, dict):
            return "nothing"
        for version in spec.SUPPORTED_VERSIONS:
            shaped = results.as_version(given, version)
            equal(f"a result of {version}", results.as_version(shaped, version), shaped)
        results.chained(given, _RESULT)
    except CNIError as error:
        return _cni_error(error, "1.0.0")
    return "read"


@st.composite
def _streams(draw: st.DrawFn) -> str:
    variables = [f"{key}={value}" for key, value in _VARIABLES.items()]
    parts = draw(mutated([["CNI1", *variables, "", '{"a": 1}']], ["", "x", "=", "CNI_X=1", "9" * 9]))
    if not isinstance(parts, list):
        parts = [parts]
    text = "".join(f"{len(str(part))}:{part}," for part in parts)
    return draw(st.just(text) | damaged_text(text))


def _stream(given: str) -> str:
    data = as_bytes(given)
    try:
        call = wire.decode_call(data)
        # What is there does not change what is missing.
        for end in range(0, len(data), 7):
            wire.decode_call(data[:end])
    except WireError:
        return "refused"
    if call is None:
        return "waiting"
    equal("a call", wire.decode_call(wire.encode_call(call)), call)
    return "read"


def _reply(given: str) -> str:
    try:
        reply = wire.decode_reply(as_bytes(given))
    except WireError:
        return "refused"
    equal("a reply", wire.decode_reply(wire.encode_reply(reply)), reply)
    return "read"


_REPLIES = damaged_text('1:0,17:{"cniVersion": 1},') | damaged_text("3:255,0:,") | st.text(max_size=20)
_LISTS: list[Any] = [
    {
        "cniVersion": "1.0.0",
        "cniVersions": ["0.4.0", "1.1.0"],
        "name": "net",
        "disableCheck": False,
        "disableGC": "true",
        "loadOnlyInlinedPlugins": False,
        "plugins": [{"type": "bridge", "capabilities": {"portMappings": True}}, {"type": "portmap"}],
    },
    {"cniVersion": "0.3.1", "name": "one", "type": "bridge"},
]


@st.composite
def _directories(draw: st.DrawFn) -> Any:
    endings = st.sampled_from(["10-a.conflist", "10-a.conf", "10-a.json", "20-b.conflist"])
    files = draw(st.dictionaries(endings, text_of(_LISTS, _TEXTS), max_size=2))
    return {"files": files, "beside": draw(st.none() | text_of([_LISTS[1]], _TEXTS))}


def _directory(given: Any) -> str:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        for file, text in given["files"].items():
            (path / file).write_bytes(as_bytes(text))
        if given["beside"] is not None:
            (path / "net").mkdir()
            (path / "net" / "extra.conf").write_bytes(as_bytes(given["beside"]))
        try:
            found = runtime_config.load_network(path)
        except InputError as error:
            return refused(error)
    found.at_least("1.0.0")
    again = runtime_config.parse_network(found.source, where="again")
    equal("a network configuration", again, found)
    return "read"


_CACHED: Any = {
    "kind": "cniCacheV1",
    "containerId": "c1",
    "config": "e30=",
    "ifName": "eth0",
    "networkName": "net",
    "netns": "/run/netns/x",
    "cniArgs": [["K", "V"]],
    "capabilityArgs": {"mac": "x"},
    "result": _RESULT,
}


def _cache(given: str) -> str:
    with tempfile.TemporaryDirectory() as name:
        cache = ResultCache(Path(name))
        attachment = Attachment("c1", "/run/netns/x", "eth0")
        cache.store(CachedAttachment("net", attachment, b"{}", None))
        (Path(name) / "results" / "net-c1-eth0").write_bytes(as_bytes(given))
        logging.getLogger("multinet.cni.runtime_cache").disabled = True
        found = cache.load("net", attachment)
        every = list(cache.entries("net"))
        if found is None:
            return "absent"
        equal("a cache entry", every, [found])
        cache.store(found)
        equal("a cache entry", cache.load("net", found.attachment), found)
    return "read"


_STATE: Any = {
    "version": 1,
    "containerID": "c1",
    "netns": "/run/netns/x",
    "pod": "default/p",
    "podUID": "u",
    "network": "multinet",
    "ifname": "eth0",
    "netnsInode": 4026531840,
    "ports": [
        {
            "index": 0,
            "name": "eth0",
            "mac": "02:00:00:00:00:01",
            "addresses": ["10.1.0.5/24"],
            "gateways": ["10.1.0.1"],
            "askedMtu": 0,
            "network": {"vni": 7, "mode": "l2_l3", "services": ["10.1.0.2"], "confined": False},
            "bandwidth": {"ingressRate": 1000},
            "portMappings": [{"hostPort": 1, "containerPort": 2, "protocol": "tcp", "hostIP": ""}],
            "guarded": True,
            "hostName": "v1",
            "hostIndex": 5,
            "podIndex": 6,
            "mtu": 1450,
            "shaperIndex": 0,
        }
    ],
}


def _state(given: str) -> str:
    with tempfile.TemporaryDirectory() as name:
        files = StateFiles(Path(name))
        (Path(name) / f"{short_id('c1')}.json").write_bytes(as_bytes(given))
        loaded = files.load()
        if loaded.damaged:
            files.tidy()
            equal("what is left of a damaged file", files.load().records, ())
            return "damaged"
        (record,) = loaded.records
        for path in Path(name).iterdir():
            path.unlink()
        files.store(record)
        equal("an agent's state", files.load().records, (record,))
    return "read"


SUBJECTS = (
    Subject("cni-call", _calls(), _call),
    Subject("cni-result", mutated([_RESULT, _LEGACY], _TEXTS), _result),
    Subject("cni-wire-call", _streams(), _stream),
    Subject("cni-wire-reply", _REPLIES, _reply),
    Subject("cni-config", _directories(), _directory),
    Subject("cni-cache", text_of([_CACHED], _TEXTS), _cache),
    Subject("agent-state", text_of([_STATE], _TEXTS), _state),
)
