"""Requests to the embedded Kubernetes API: near-valid objects of each kind, patches, selectors, options.

Each input begins with a good object of a kind and goes on with requests about it. None may be answered with a
server error; a refusal is a Status with its code, reason and message; and what was stored is then shown in
every form there is, which must work whatever is in it. Where the house itself reads a kind, what the API took
must be readable there as well.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from conformance.fuzz.parsers.apihost import JSON, PARTIAL, TABLE, Answer, ApiHost
from conformance.fuzz.parsers.grammar import (
    HALF_PAIRS,
    ODD,
    damaged_text,
    mutated,
    paths,
    text_of,
    values,
)
from conformance.fuzz.parsers.protobufs import bodies
from conformance.fuzz.parsers.subject import NotTotalError, Subject
from multinet.apiserver import protobuf
from multinet.apiserver.builtins import BUILTINS
from multinet.apiserver.patches import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH
from multinet.model import nad
from multinet.model.nad import NadError
from multinet.model.objects import Obj
from multinet.model.policies import Policy, PolicyError
from multinet.model.services import EndpointSlice, Service
from multinet.waits import turn

_FILE = Path(__file__).with_name("samples.json")
SAMPLES: Mapping[str, Any] = {
    plural: value for plural, value in json.loads(_FILE.read_text(encoding="utf-8")).items() if plural
}
_CLUSTER_WIDE = {"namespaces", "nodes", "customresourcedefinitions"}
_REVIEWS = tuple(plural for plural in SAMPLES if plural.startswith("selfsubject"))
_KINDS = tuple(plural for plural in SAMPLES if plural not in _REVIEWS)
_NULL_PATCHES: tuple[Any, ...] = (
    {"metadata": {"labels": None}},
    {"metadata": None},
    {"spec": None},
    {"metadata": {"$patch": "delete"}},
    {"spec": {"$patch": "replace"}},
    {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["a"]}},
    {"spec": {"$retainKeys": ["containers"], "containers": [{"name": "c", "$patch": "delete"}]}},
    {"spec": {"$setElementOrder/containers": [{"name": "c"}], "containers": [{"name": "c", "image": "j"}]}},
    {"spec": {"ports": [{"port": 80, "$patch": "delete"}], "$setElementOrder/ports": [{"port": 53}]}},
)
_SELECTORS = (
    "a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1",
    "app=web",
    "metadata.name=x,spec.nodeName!=y",
    "x==",
)
_NUMBERS = st.sampled_from(["0", "1", "-1", "x", "1e3", "", " 7", "9" * 30, "9" * 5000, "٣", "1_0", "0x1"])
_FLAGS = st.sampled_from(["true", "false", "1", "", "maybe"])
_TOKENS = st.sampled_from(["", "W10", "WzEsIngiLCJ5Il0", "bnVsbA", "!", "é", "WzFlOTk5LDEsMV0", "Int9Ig"])
_QUERIES: Mapping[str, st.SearchStrategy[str]] = {
    "labelSelector": st.sampled_from(_SELECTORS) | st.sampled_from(_SELECTORS).flatmap(damaged_text),
    "fieldSelector": st.sampled_from(_SELECTORS) | st.sampled_from(_SELECTORS).flatmap(damaged_text),
    "resourceVersion": _NUMBERS,
    "resourceVersionMatch": st.sampled_from(["Exact", "NotOlderThan", "x"]),
    "limit": _NUMBERS,
    "continue": _TOKENS,
    "watch": _FLAGS,
    "timeoutSeconds": _NUMBERS,
    "sendInitialEvents": _FLAGS,
    "allowWatchBookmarks": _FLAGS,
    "includeObject": st.sampled_from(["None", "Metadata", "Object", "x"]),
    "dryRun": st.sampled_from(["All", "", "None"]),
    "fieldValidation": st.sampled_from(["Strict", "Warn", "Ignore", "x"]),
    "gracePeriodSeconds": _NUMBERS,
    "propagationPolicy": st.sampled_from(["Orphan", "Foreground", "Background", "x"]),
    "orphanDependents": _FLAGS,
    "container": st.text(max_size=3),
}
_ACCEPTS = st.sampled_from(
    [JSON, TABLE, PARTIAL, "application/yaml", "application/json;as=Table;v=v9", "*/*", ";;"]
)
_OPTIONS = {
    "kind": "DeleteOptions",
    "apiVersion": "v1",
    "gracePeriodSeconds": 0,
    "preconditions": {"uid": "u", "resourceVersion": "7"},
    "propagationPolicy": "Foreground",
    "orphanDependents": False,
    "dryRun": ["All"],
}
_SCALE = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "x"}, "spec": {"replicas": 3}}
_BINDING = {"metadata": {"name": "x"}, "target": {"kind": "Node", "name": "node1"}}
_EVICTION = {
    "apiVersion": "policy/v1",
    "kind": "Eviction",
    "metadata": {"name": "x"},
    "deleteOptions": _OPTIONS,
}
_SUBRESOURCES: tuple[tuple[str, Any], ...] = (
    ("scale", _SCALE),
    ("binding", _BINDING),
    ("eviction", _EVICTION),
    ("exec", {}),
    ("log", {}),
)
_WAYS = (
    *("create", "replace", "patch", "patch", "get", "list", "delete", "status", "raw", "protobuf", "sub"),
    "odd",
)
_TEXTS = (*ODD, *HALF_PAIRS)


def collection(plural: str) -> str:
    """The path of a kind's collection in the namespace of these requests."""
    api_version = str(SAMPLES[plural]["apiVersion"])
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    inside = "" if plural in _CLUSTER_WIDE or plural in _REVIEWS else "/namespaces/default"
    return f"{root}{inside}/{plural}"


def _patches(sample: Any) -> st.SearchStrategy[Any]:
    merge = mutated([sample, *_NULL_PATCHES], _TEXTS, least=1)
    pointers = ["".join(f"/{part}" for part in path) for path in paths(sample)]
    places = st.sampled_from([*pointers, "", "/", "/metadata", "/spec/-", "/x/y", "~2", "/metadata/~1", "/é"])
    operations = st.lists(
        st.fixed_dictionaries(
            {
                "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]),
                "path": places,
            },
            optional={"value": values(_TEXTS), "from": places},
        ),
        min_size=1,
        max_size=3,
    )
    return st.one_of(
        st.fixed_dictionaries({"type": st.just(MERGE_PATCH), "body": merge}),
        st.fixed_dictionaries({"type": st.just(STRATEGIC_PATCH), "body": merge}),
        st.fixed_dictionaries({"type": st.just(JSON_PATCH), "body": operations}),
        st.fixed_dictionaries({"type": st.just(JSON_PATCH), "body": mutated([[{"op": "add"}]], _TEXTS)}),
    )


@st.composite
def _requests(draw: st.DrawFn) -> Any:
    """A kind, and one to three requests about an object of it."""
    plural = draw(st.sampled_from(_KINDS))
    sample, asked = SAMPLES[plural], []
    for _ in range(draw(st.integers(1, 3))):
        asked.append(draw(_request(plural, sample)))
    return {"kind": plural, "requests": asked}


@st.composite
def _request(draw: st.DrawFn, plural: str, sample: Any) -> Any:
    path = collection(plural)
    one = f"{path}/{sample['metadata']['name']}"
    keys = draw(st.lists(st.sampled_from(sorted(_QUERIES)), max_size=3, unique=True))
    query = {key: draw(_QUERIES[key]) for key in keys}
    common = {"query": query, "accept": draw(_ACCEPTS)} if keys else {}
    way = draw(st.sampled_from(_WAYS))
    if way == "create":
        other = {**sample, "metadata": {**sample["metadata"], "name": "other"}}
        return {"method": "POST", "path": path, "body": draw(mutated([other], _TEXTS, least=1)), **common}
    if way in ("replace", "status"):
        to = one if way == "replace" else f"{one}/status"
        return {"method": "PUT", "path": to, "body": draw(mutated([sample], _TEXTS, least=1)), **common}
    if way == "patch":
        to = draw(st.sampled_from([one, one, f"{one}/status", f"{one}/scale"]))
        return {"method": "PATCH", "path": to, **draw(_patches(sample)), **common}
    if way == "get":
        return {"method": "GET", "path": one, **common}
    if way == "list":
        return {"method": "GET", "path": path, **common}
    if way == "delete":
        body = {"body": draw(mutated([_OPTIONS, {}], _TEXTS))} if draw(st.booleans()) else {}
        return {"method": "DELETE", "path": draw(st.sampled_from([one, path])), **body, **common}
    if way == "raw":
        return {"method": "POST", "path": path, **draw(_raw(sample)), **common}
    if way == "protobuf":
        return draw(_protobuf(plural, sample)) | common
    if way == "sub":
        name, body = draw(st.sampled_from(_SUBRESOURCES))
        method = "PUT" if name == "scale" else draw(st.sampled_from(["POST", "GET"]))
        return {"method": method, "path": f"{one}/{name}", "body": draw(mutated([body], _TEXTS)), **common}
    to = draw(
        damaged_text(one) | damaged_text("/openapi/v3/apis/apps/v1") | st.text(max_size=12).map("/".__add__)
    )
    method = draw(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]))
    return {"method": method, "path": "/" + to.lstrip("/"), **common}


@st.composite
def _raw(draw: st.DrawFn, sample: Any) -> Any:
    media = draw(st.sampled_from([JSON, "application/yaml", protobuf.MEDIA_TYPE, "", "text/plain", "é;q=1"]))
    return {"type": media, "raw": draw(text_of([sample], _TEXTS) | st.text(max_size=20))}


@st.composite
def _protobuf(draw: st.DrawFn, plural: str, sample: Any) -> Any:
    """What a client that knows the kind sends: the object, its end, its eviction; or another kind's."""
    one = f"{collection(plural)}/{sample['metadata']['name']}"
    ways: list[tuple[str, str, Any]] = [("DELETE", one, _OPTIONS), ("POST", f"{one}/eviction", _EVICTION)]
    other = {**sample, "metadata": {**sample["metadata"], "name": "other"}}
    if str(sample["kind"]) in protobuf.KINDS:
        ways += [("POST", collection(plural), other), ("PUT", one, sample), ("PUT", f"{one}/status", sample)]
    method, path, body = draw(st.sampled_from(ways))
    return {
        "method": method,
        "path": path,
        "type": protobuf.MEDIA_TYPE,
        "base64": draw(bodies([body], _TEXTS)),
    }


def _answer_requests(given: Any) -> str:
    return asyncio.run(_answered(given))


async def _answered(given: Any) -> str:
    plural = given["kind"]
    host = ApiHost(custom=plural not in _BUILT_IN)
    made = await host.ask({"method": "POST", "path": collection(plural), "body": SAMPLES[plural]})
    if made.status != 201:
        raise NotTotalError(f"the sample of {plural} is not taken: {made.body}")
    word = "refused"
    for asked in given["requests"]:
        answer = await host.ask(asked)
        check(answer, asked)
        word = "taken" if answer.status < 300 else word
        # What a client changes sets off work of the server's own in the same turn of the loop.
        await turn()
    await _show_all(host, plural)
    return word


def check(answer: Answer, asked: object) -> None:
    """``NotTotalError`` for a server error, or a refusal that is no proper Status."""
    if answer.status == 0 or answer.status < 300:
        return
    body = answer.body
    proper = isinstance(body, dict) and body.get("kind") == "Status" and body.get("message")
    if answer.status >= 500 and not _is_of_a_kubelet(asked):
        raise NotTotalError(f"answered {answer.status}: {body}: to {asked!r:.1500}")
    if not proper or body.get("code") != answer.status or not body.get("reason"):
        raise NotTotalError(f"a refusal that is no Status: {answer.status} {body!r:.300}: to {asked!r:.1500}")
    causes = (body.get("details") or {}).get("causes") or ()
    if answer.status == 422 and causes and not all(each.get("field") for each in causes):
        raise NotTotalError(f"a cause without its field: {body!r:.600}: to {asked!r:.1500}")


def _is_of_a_kubelet(asked: object) -> bool:
    """Logs and commands are the kubelet's, which is not there."""
    return isinstance(asked, dict) and asked["path"].split("/")[-1] in ("log", "exec")


async def _show_all(host: ApiHost, plural: str) -> None:
    queries: tuple[dict[str, str], ...] = ({}, {"watch": "true", "resourceVersion": "0"})
    for accept in (JSON, TABLE, PARTIAL):
        for query in queries:
            asked = {"method": "GET", "path": collection(plural), "accept": accept, "query": query}
            check(await host.ask(asked), asked)
    for path in ("/openapi/v2", "/apis"):
        if plural == "customresourcedefinitions":
            check(await host.ask({"method": "GET", "path": path}), path)
    found = host.operations.types.find(_BUILT_IN.get(plural, "k8s.cni.cncf.io"), plural)
    reader = _READERS.get(plural)
    if found is not None and reader is not None:
        for entry in host.operations.store.entries(found.key):
            reader(entry.view())


_BUILT_IN = {found.plural: found.group for found in BUILTINS}


def _read_multi_policy(obj: Obj) -> None:
    try:
        Policy.of(obj)
    except PolicyError:
        return


def _read_nad(obj: Obj) -> None:
    try:
        nad.parse(obj)
    except NadError:
        return


# A policy or NAD of a custom kind may be stored and meaningless; of what is built in, the API checks it all.
_READERS: Mapping[str, Callable[[Obj], object]] = {
    "networkpolicies": Policy.of,
    "multi-networkpolicies": _read_multi_policy,
    "network-attachment-definitions": _read_nad,
    "services": Service.from_object,
    "endpointslices": EndpointSlice.from_object,
}


@st.composite
def _reviews(draw: st.DrawFn) -> Any:
    plural = draw(st.sampled_from(_REVIEWS))
    return {"method": "POST", "path": collection(plural), "body": draw(mutated([SAMPLES[plural]], _TEXTS))}


def _review(given: Any) -> str:
    async def ask() -> str:
        answer = await ApiHost().ask(given)
        check(answer, given)
        return "taken" if answer.status < 300 else "refused"

    return asyncio.run(ask())


SUBJECTS = (
    Subject("kubernetes-api", _requests(), _answer_requests),
    Subject("kubernetes-review", _reviews(), _review),
)
