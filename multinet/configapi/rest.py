"""HTTP: the home page, collections, objects and actions of the config API."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from multinet.configapi import actions, listing, wire
from multinet.configapi.auth import Authenticator, token_of
from multinet.configapi.errors import RefusedError, bad_request, from_kube, unauthorized, unavailable
from multinet.configapi.kinds import KINDS, Kind
from multinet.configapi.service import Service
from multinet.errors import MultinetError, WaitExpiredError
from multinet.kube.client import Client
from multinet.kube.errors import KubeError
from multinet.model.objects import Obj

_log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
KindHandler = Callable[[Kind, web.Request], Awaitable[web.StreamResponse]]
CALLER: web.RequestKey[Client] = web.RequestKey("caller", Client)

ACTIONS = (
    ("name-to-id", "/fqname-to-id", "POST"),
    ("id-to-name", "/id-to-fqname", "POST"),
    ("ref-update", "/ref-update", "POST"),
    ("ref-relax-for-delete", "/ref-relax-for-delete", "POST"),
    ("list-bulk-collection", "/list-bulk-collection", "POST"),
    ("useragent-keyvalue", "/useragent-kv", "POST"),
    ("prop-collection-update", "/prop-collection-update", "POST"),
    ("prop-collection-get", "/prop-collection-get", "GET"),
    ("virtual-network-ip-alloc", "/virtual-network/%s/ip-alloc", "POST"),
    ("virtual-network-ip-free", "/virtual-network/%s/ip-free", "POST"),
    ("virtual-network-subnet-ip-count", "/virtual-network/%s/subnet-ip-count", "POST"),
    ("obj-perms", "/obj-perms", "GET"),
)
_TOKEN_PATHS = ("/v3/auth/tokens", "/v2.0/tokens")


class Rest:
    """The request handlers; :meth:`routes` says which is where."""

    def __init__(self, service: Service, authenticator: Authenticator) -> None:
        self._service = service
        self._authenticator = authenticator

    def routes(self) -> list[web.RouteDef]:
        """All routes, the actions before the objects whose paths they resemble."""
        made = [
            web.get("/", self._home),
            web.post("/v3/auth/tokens", self._token_v3),
            web.post("/v2.0/tokens", self._token_v2),
            web.post("/fqname-to-id", self._reading(actions.name_to_id)),
            web.post("/id-to-fqname", self._reading(actions.id_to_name)),
            web.post("/ref-update", self._writing(actions.ref_update)),
            web.post("/ref-relax-for-delete", self._writing(actions.ref_relax)),
            web.post("/useragent-kv", self._writing(actions.key_value)),
            web.post("/prop-collection-update", self._writing(actions.change_collection)),
            web.post("/list-bulk-collection", self._bulk),
            web.get("/prop-collection-get", self._collection),
            web.get("/obj-perms", self._permissions),
            web.post("/virtual-network/{uuid}/ip-alloc", self._ip_alloc),
            web.post("/virtual-network/{uuid}/ip-free", self._ip_free),
            web.post("/virtual-network/{uuid}/subnet-ip-count", self._ip_count),
        ]
        for kind in KINDS.values():
            made += [
                web.get(f"/{kind.plural}", self._of(kind, self._list)),
                web.post(f"/{kind.plural}", self._of(kind, self._create)),
                web.get(f"/{kind.name}/{{uuid}}", self._of(kind, self._read)),
                web.put(f"/{kind.name}/{{uuid}}", self._of(kind, self._update)),
                web.delete(f"/{kind.name}/{{uuid}}", self._of(kind, self._delete)),
            ]
        return made

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Authenticate, and turn errors into the answers which the original's client understands."""
        if request.path.startswith("/console"):
            return await handler(request)
        try:
            if request.path not in _TOKEN_PATHS:
                token = token_of(
                    request.headers.get("Authorization", ""), request.headers.get("X-Auth-Token", "")
                )
                if not token and request.path == "/" and "text/html" in request.headers.get("Accept", ""):
                    raise web.HTTPSeeOther("/console/")
                request[CALLER] = await self._authenticator.client_of(token)
            return await handler(request)
        except (MultinetError, web.HTTPException) as error:
            return answer_of(error, request)

    async def _home(self, request: web.Request) -> web.StreamResponse:
        base = _base(request)

        def link(path: str, name: str, rel: str, **more: str) -> Obj:
            return {"link": {"href": f"{base}{path}", "name": name, "rel": rel, **more}}

        links = [link("", "config-root", "root")]
        links += [link(f"/{kind.plural}", kind.name, "collection") for kind in KINDS.values()]
        links += [link(f"/{kind.name}", kind.name, "resource-base") for kind in KINDS.values()]
        links += [link(path, name, "action", method=method) for name, path, method in ACTIONS]
        return _json({"href": base, "links": links})

    async def _token_v3(self, request: web.Request) -> web.StreamResponse:
        """Keystone v3's password form, the password being the token: for clients that log in."""
        body = await _body(request)
        token = _at(body, "auth", "identity", "password", "user", "password")
        await self._authenticator.client_of(token)
        return web.Response(
            status=201,
            body=orjson.dumps({"token": {"methods": ["password"]}}),
            content_type="application/json",
            headers={"X-Subject-Token": token},
        )

    async def _token_v2(self, request: web.Request) -> web.StreamResponse:
        token = _at(await _body(request), "auth", "passwordCredentials", "password")
        await self._authenticator.client_of(token)
        return _json({"access": {"token": {"id": token}}})

    async def _list(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        query = listing.read_query(request.query, _base(request))
        return _json(listing.answer(kind, query, self._service.catalog))

    async def _create(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        body = _object(await _body(request), kind)
        entry = await self._service.create(kind, body, request[CALLER])
        return _json({kind.name: wire.identity(entry, wire.Shape(_base(request)))})

    async def _read(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        entry = self._service.entry(kind.name, request.match_info["uuid"])
        shape = listing.shape_of(request.query, _base(request))
        return _json({kind.name: wire.full(entry, self._service.catalog, shape)})

    async def _update(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        entry = self._service.entry(kind.name, request.match_info["uuid"])
        await self._service.update(entry, _object(await _body(request), kind), request[CALLER])
        href = wire.href(_base(request), kind.name, entry.uuid)
        return _json({kind.name: {"uuid": entry.uuid, "href": href}})

    async def _delete(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        entry = self._service.entry(kind.name, request.match_info["uuid"])
        await self._service.delete(entry, request[CALLER])
        return web.Response()

    async def _bulk(self, request: web.Request) -> web.StreamResponse:
        return _json(actions.bulk_list(self._service, await _body(request), _base(request)))

    async def _collection(self, request: web.Request) -> web.StreamResponse:
        return _json(actions.read_collection(self._service, request.query))

    async def _permissions(self, _request: web.Request) -> web.StreamResponse:
        return _json(actions.permissions())

    async def _ip_alloc(self, request: web.Request) -> web.StreamResponse:
        uuid, body = request.match_info["uuid"], await _body(request)
        return _json(await actions.ip_alloc(self._service, uuid, body, request[CALLER]))

    async def _ip_free(self, request: web.Request) -> web.StreamResponse:
        uuid, body = request.match_info["uuid"], await _body(request)
        return _json(await actions.ip_free(self._service, uuid, body, request[CALLER]))

    async def _ip_count(self, request: web.Request) -> web.StreamResponse:
        uuid, body = request.match_info["uuid"], await _body(request)
        return _json(actions.ip_count(self._service, uuid, body))

    def _of(
        self, kind: Kind, handler: Callable[[Kind, web.Request], Awaitable[web.StreamResponse]]
    ) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await handler(kind, request)

        return handle

    def _reading(self, action: Callable[[Service, Mapping[str, Any]], Obj]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return _json(action(self._service, await _body(request)))

        return handle

    def _writing(self, action: Callable[[Service, Mapping[str, Any], Client], Awaitable[Obj]]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            return _json(await action(self._service, await _body(request), request[CALLER]))

        return handle


def refusal_of(error: MultinetError) -> RefusedError:
    """Any error of ours as one with an HTTP status."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, KubeError):
        return from_kube(error)
    if isinstance(error, WaitExpiredError):
        return unavailable(error.what, where=error.where, why=error.why, next_step=error.next_step)
    return bad_request(error.what, where=error.where, why=error.why, next_step=error.next_step)


def answer_of(error: MultinetError | web.HTTPException, request: web.Request) -> web.StreamResponse:
    """The answer to a request that failed: the status, and the reason as text."""
    if isinstance(error, web.HTTPException):
        if error.status == 404:
            text = f"{request.path} is not served here; see the links of the home page"
            return web.Response(status=404, text=text)
        if error.status == 405:
            text = f"{request.method} {request.path} is not possible"
            return web.Response(status=405, text=text, headers={"Allow": error.headers.get("Allow", "")})
        return web.Response(status=error.status, text=error.text or error.reason, headers=_location(error))
    refused = refusal_of(error)
    log = _log.warning if refused.status >= 500 else _log.info
    log("%s %s: %d %s", request.method, request.path, refused.status, refused)
    return web.Response(status=refused.status, text=str(refused))


def _location(error: web.HTTPException) -> dict[str, str]:
    return {"Location": error.headers["Location"]} if "Location" in error.headers else {}


def _base(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"


def _json(body: object) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json", charset="utf-8")


async def _body(request: web.Request) -> Obj:
    try:
        read = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise bad_request("the body is not JSON", where=request.path, why=str(error)) from error
    if not isinstance(read, dict):
        raise bad_request("the body is no JSON object", where=request.path)
    return read


def _object(body: Obj, kind: Kind) -> Obj:
    found = body.get(kind.name)
    if not isinstance(found, dict):
        raise bad_request(f"the body has no {kind.name!r} object", where=kind.name)
    return found


def _at(body: Any, *path: str) -> str:
    for key in path:
        body = body.get(key) if isinstance(body, dict) else None
    if not isinstance(body, str):
        raise unauthorized("Authentication required", why=f"{'.'.join(path)} is missing")
    return body
