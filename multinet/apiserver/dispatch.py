"""HTTP requests to verbs: the URL grammar, the options in the query, the answers.

One handler parses the path itself: the set of resources changes at run time, and a router's table would
have to be rebuilt for each CRD.
"""

from __future__ import annotations

import base64
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from urllib.parse import unquote

import orjson
from aiohttp import web

from multinet.apiserver import apps, discovery, kubelet_proxy, openapi, patches, pods, watching
from multinet.apiserver.codec import JSON, decode_object, encode
from multinet.apiserver.errors import (
    StatusError,
    bad_request,
    expect,
    expired,
    internal,
    invalid,
    method_not_allowed,
    no_such_path,
    unauthorized,
    unsupported,
)
from multinet.apiserver.lifecycle import Lifecycle
from multinet.apiserver.operations import Deletion, Operations, Options, Target, require_verb
from multinet.apiserver.representations import form_of, render, render_list
from multinet.apiserver.selectors import select
from multinet.apiserver.store import Entry
from multinet.model.objects import Obj

_log = logging.getLogger("multinet.apiserver")
_OPEN_PATHS = frozenset(("/healthz", "/readyz", "/livez", "/version"))
_PROPAGATIONS = ("Foreground", "Background", "Orphan")
# Whose deletion is answered with the object; that of others with a Status.
_SHOWN_WHEN_GONE = frozenset(("pods", "services", "serviceaccounts"))
_TRUE = frozenset(("true", "1", ""))
Query = Mapping[str, str]


class Dispatcher:
    """Answers every request of one server."""

    def __init__(
        self, operations: Operations, lifecycle: Lifecycle, token: str, kubelets: kubelet_proxy.KubeletProxy
    ) -> None:
        self._operations = operations
        self._lifecycle = lifecycle
        self._authorization = f"Bearer {token}".encode()
        self._kubelets = kubelets
        self._verbs: dict[str, Callable[[web.BaseRequest, Target], Awaitable[web.StreamResponse]]] = {
            "GET": self._get,
            "POST": self._post,
            "PUT": self._put,
            "PATCH": self._patch,
            "DELETE": self._delete,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request; whatever goes wrong becomes a Status."""
        try:
            return await self._answer(request)
        except StatusError as error:
            return status_response(error)
        except ConnectionError:
            raise
        except web.HTTPRequestEntityTooLarge:
            limit = "Request entity too large: limit is 3145728"
            return status_response(StatusError(413, "RequestEntityTooLarge", limit))
        except Exception as error:
            _log.exception("%s %s failed", request.method, request.path_qs)
            return status_response(internal(f"{type(error).__name__}: {error}"))

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path not in _OPEN_PATHS and not self._authenticated(request):
            raise unauthorized()
        target = self._target(request.rel_url.raw_path)
        if target is None:
            return self._other(request, path)
        verb = self._verbs.get(request.method)
        if verb is None:
            raise method_not_allowed()
        return await verb(request, target)

    def _authenticated(self, request: web.BaseRequest) -> bool:
        # A header may hold any bytes, which aiohttp hands over as surrogates.
        sent = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        return hmac.compare_digest(sent, self._authorization)

    def _target(self, path: str) -> Target | None:
        """Return what a resource path is about; None if it is no resource path."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[0] == "api" and len(parts) > 2:
            group, version, rest = "", parts[1], parts[2:]
        elif parts[0] == "apis" and len(parts) > 3:
            group, version, rest = parts[1], parts[2], parts[3:]
        else:
            return None
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        name, subresource = (*rest[1:3], "", "")[:2]
        resource_type = self._operations.types.find(group, rest[0])
        found = resource_type.version(version) if resource_type else None
        if resource_type is None or found is None or len(rest) > 3:
            raise no_such_path()
        if subresource and subresource not in resource_type.subresources:
            raise no_such_path()
        if resource_type.namespaced != bool(namespace) and (namespace or name):
            raise no_such_path()
        return Target(resource_type, found, namespace, name, subresource)

    def _other(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            raise no_such_path()
        if path in ("/healthz", "/readyz", "/livez") or path.startswith(("/readyz/", "/livez/", "/healthz/")):
            return web.Response(text="ok")
        accept = request.headers.get("Accept", "")
        types = self._operations.types
        answer = discovery.answer(types, path, accept) or openapi.answer(types, path, accept)
        if answer is None:
            raise no_such_path()
        body, content_type = answer
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _get(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        query = request.query
        if target.subresource == "log":
            return await self._kubelets.log(request, self._operations.get(target).view(), query)
        if target.subresource == "exec":
            return await self._kubelets.exec(request, self._operations.get(target).view())
        if target.subresource == "scale":
            return _body(encode(apps.scale_of(self._operations.get(target).view())))
        require_verb(target.type, "get")
        if query.get("watch", "false") in _TRUE:
            return await self._watch(request, target, query)
        form = form_of(request.headers.get("Accept", ""), query.get("includeObject", ""))
        if target.name:
            return _body(render(target, self._operations.get(target), form))
        entries, metadata = self._list(target, query)
        return _body(render_list(target, entries, metadata, form))

    async def _watch(self, request: web.BaseRequest, target: Target, query: Query) -> web.StreamResponse:
        fields = query.get("fieldSelector", "")
        if target.name:
            fields = f"{fields},metadata.name={target.name}".lstrip(",")
        timeout = query.get("timeoutSeconds", "")
        asked = watching.WatchRequest(
            selects=select(query.get("labelSelector", ""), fields, target.type),
            resource_version=query.get("resourceVersion", ""),
            send_initial=query.get("sendInitialEvents", "false") in _TRUE,
            bookmarks=query.get("allowWatchBookmarks", "false") in _TRUE,
            timeout_s=float(_integer("timeoutSeconds", timeout)) if timeout else None,
            form=form_of(request.headers.get("Accept", ""), query.get("includeObject", "")),
        )
        return await watching.serve(request, self._operations.store, target, asked)

    def _list(self, target: Target, query: Query) -> tuple[list[Entry], Obj]:
        """Return the entries of one page and the list's metadata."""
        store = self._operations.store
        selects = select(query.get("labelSelector", ""), query.get("fieldSelector", ""), target.type)
        revision, after = store.revision, ("", "")
        if query.get("continue"):
            revision, after = _continued(query["continue"])
        elif query.get("resourceVersionMatch") == "Exact" or query.get("resourceVersion"):
            asked = _integer("resourceVersion", query.get("resourceVersion", ""))
            revision = asked if query.get("resourceVersionMatch") == "Exact" else revision
        if revision == store.revision:
            entries = store.entries(target.type.key, target.namespace)
        else:
            entries = store.entries_at(target.type.key, target.namespace, revision)
        if selects is not None:
            entries = [entry for entry in entries if selects(entry)]
        if after != ("", ""):
            entries = [entry for entry in entries if entry.key > after]
        metadata: Obj = {"resourceVersion": str(revision)}
        limit = _integer("limit", query.get("limit", "0"))
        if 0 < limit < len(entries):
            metadata["continue"] = _continue_token(revision, entries[limit - 1].key)
            if selects is None:
                metadata["remainingItemCount"] = len(entries) - limit
            entries = entries[:limit]
        return entries, metadata

    async def _post(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        if target.subresource == "exec":
            return await self._kubelets.exec(request, self._operations.get(target).view())
        body = decode_object(await request.read(), request.headers.get("Content-Type", JSON))
        options = _options(request.query)
        if target.subresource == "binding":
            pods.bind(self._operations, target, body, options)
            return web.Response(body=encode(success({})), status=201, content_type=JSON)
        if target.subresource == "eviction":
            apps.evict(self._operations, target, body, options)
            return web.Response(body=encode(success({})), status=201, content_type=JSON)
        if target.name or (target.type.namespaced and not target.namespace):
            raise method_not_allowed()
        entry = self._operations.create(target, body, options)
        return _written(request, target, entry, options, 201)

    async def _put(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        _require_object(target)
        body = decode_object(await request.read(), request.headers.get("Content-Type", JSON))
        options = _options(request.query)
        if target.subresource == "scale":
            return _body(encode(apps.rescale(self._operations, target, lambda _scale: body, options)))
        return _written(request, target, self._operations.update(target, body, options), options, 200)

    async def _patch(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        _require_object(target)
        body = await request.read()
        change = patches.patcher(body, request.headers.get("Content-Type", ""), target.type)
        options = _options(request.query)
        if target.subresource == "scale":
            return _body(encode(apps.rescale(self._operations, target, change, options)))
        return _written(request, target, self._operations.modify(target, change, options), options, 200)

    async def _delete(self, request: web.BaseRequest, target: Target) -> web.StreamResponse:
        require_verb(target.type, "delete")
        body = await request.read()
        sent = decode_object(body, request.headers.get("Content-Type", JSON)) if body.strip() else {}
        deletion = _deletion(sent, request.query)
        if not target.name:
            return self._delete_collection(request, target, deletion)
        entry, gone = self._delete_one(target, deletion)
        if gone and target.type.key not in _SHOWN_WHEN_GONE:
            details = {"name": entry.name, "kind": target.type.plural, "uid": entry.uid}
            if target.type.group:
                details["group"] = target.type.group
            return _body(encode(success(details)))
        return _body(render(target, entry, form_of(request.headers.get("Accept", ""), "")))

    def _delete_one(self, target: Target, deletion: Deletion) -> tuple[Entry, bool]:
        entry = self._operations.get(target)
        self._operations.check_preconditions(target, entry, deletion)
        # They hold; what happens to the dependents next may give the object another version.
        deletion = replace(deletion, uid="", resource_version="")
        if deletion.propagation == "Orphan" and not deletion.dry_run:
            self._lifecycle.orphan(entry.uid)
        if deletion.propagation == "Foreground" and not deletion.dry_run:
            self._lifecycle.hold_for_dependents(entry)
        return self._operations.delete(target, deletion)

    def _delete_collection(
        self, request: web.BaseRequest, target: Target, deletion: Deletion
    ) -> web.StreamResponse:
        if target.type.namespaced and not target.namespace:
            raise method_not_allowed()
        entries, metadata = self._list(target, request.query)
        for entry in entries:
            one = Target(target.type, target.version, entry.namespace, entry.name)
            self._delete_one(one, deletion)
        form = form_of(request.headers.get("Accept", ""), "")
        return _body(render_list(target, entries, metadata, form))


def status_response(error: StatusError) -> web.Response:
    """Return a Status as the answer."""
    return web.Response(body=encode(error.status()), status=error.code, content_type=JSON)


def success(details: Obj) -> Obj:
    """Return the Status of a request that did what it should and has no object to show."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def _body(body: bytes) -> web.Response:
    return web.Response(body=body, content_type=JSON)


def _written(
    request: web.BaseRequest, target: Target, entry: Entry, options: Options, status: int
) -> web.Response:
    form = form_of(request.headers.get("Accept", ""), request.query.get("includeObject", ""))
    response = web.Response(body=render(target, entry, form), status=status, content_type=JSON)
    for warning in options.warnings:
        quoted = warning.replace("\\", "\\\\").replace('"', '\\"')
        response.headers.add("Warning", f'299 - "{quoted}"')
    return response


def _require_object(target: Target) -> None:
    if not target.name or target.type.answer or target.subresource not in ("", "status", "scale"):
        raise method_not_allowed()


def _options(query: Query) -> Options:
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        raise bad_request(f'Invalid value: "{dry_run}": dryRun supports only "All"')
    validation = query.get("fieldValidation") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        raise bad_request(
            f'Invalid value: "{validation}": fieldValidation supports "Ignore", "Warn", "Strict"'
        )
    return Options(dry_run=dry_run == "All", field_validation=validation)


def _deletion(body: Obj, query: Query) -> Deletion:
    grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    for field, kind in (("preconditions", dict), ("dryRun", list), ("propagationPolicy", str)):
        expect(body.get(field), kind, field)
    preconditions = body.get("preconditions") or {}
    for field in ("uid", "resourceVersion"):
        expect(preconditions.get(field), str, f"preconditions.{field}")
    orphan = body.get("orphanDependents", query.get("orphanDependents") == "true")
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or ""
    if propagation not in ("", *_PROPAGATIONS):
        finding = unsupported("propagationPolicy", propagation, _PROPAGATIONS)
        raise invalid("DeleteOptions", "meta.k8s.io", "", [finding])
    return Deletion(
        grace_seconds=None if grace is None else _integer("gracePeriodSeconds", str(grace)),
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        propagation=propagation or ("Orphan" if orphan else "Background"),
        dry_run="All" in (body.get("dryRun") or query.getall("dryRun", [])),  # type: ignore[attr-defined]
    )


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise bad_request(f'Invalid value: "{text}": {name} must be an integer') from error


def _continue_token(revision: int, last: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([revision, *last])).decode().rstrip("=")


def _continued(token: str) -> tuple[int, tuple[str, str]]:
    try:
        revision, namespace, name = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(revision), (str(namespace), str(name))
    except (ValueError, TypeError) as error:
        raise expired(f"The provided continue parameter is not valid: {error}") from error
