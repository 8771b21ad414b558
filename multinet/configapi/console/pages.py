"""The console's requests: login, networks, pods, topology."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
from aiohttp import web

from multinet.configapi import kinds
from multinet.configapi.auth import Authenticator
from multinet.configapi.console import counters, facts, topology
from multinet.configapi.console.sessions import COOKIE, LIFETIME_S, Session, Sessions
from multinet.configapi.entries import Entry
from multinet.configapi.errors import RefusedError, bad_request, forbidden, unauthorized
from multinet.configapi.kinds import KINDS
from multinet.configapi.read_places import DEFAULT_IPAM, DEFAULT_PROJECT
from multinet.configapi.rest import Handler, refusal_of
from multinet.configapi.service import Service
from multinet.errors import MultinetError
from multinet.model.networks import L2_L3, L3
from multinet.model.objects import Obj

_log = logging.getLogger(__name__)
_SESSION: web.RequestKey[Session] = web.RequestKey("session", Session)
_OPEN = frozenset({"/console/login", "/console/console.css"})
_REFRESH_LIMIT_S = 3600
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_EMPTY_FORM = {
    "name": "",
    "project": ":".join(DEFAULT_PROJECT),
    "cidr": "",
    "gateway": "",
    "dns": "",
    "mode": L2_L3,
}
_HERE = Path(__file__).parent


@functools.cache
def _environment() -> jinja2.Environment:
    """One for the process: it keeps the templates that it has compiled."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Console:
    """Handlers of everything below ``/console/``. ``secure``: the cookie is for TLS only."""

    def __init__(self, service: Service, authenticator: Authenticator, *, secure: bool) -> None:
        self._service = service
        self._authenticator = authenticator
        self._secure = secure
        self._sessions = Sessions()
        self._style = (_HERE / "console.css").read_bytes()
        self._templates = _environment()

    def routes(self) -> list[web.RouteDef]:
        """All routes."""
        return [
            web.get("/console", self._to_start),
            web.get("/console/console.css", self._css),
            web.get("/console/login", self._login_form),
            web.post("/console/login", self._login),
            web.post("/console/logout", self._logout),
            web.get("/console/", self._networks),
            web.post("/console/networks", self._create_network),
            web.get("/console/networks/{uuid}", self._network),
            web.post("/console/networks/{uuid}/delete", self._delete_network),
            web.get("/console/pods", self._pods),
            web.get("/console/topology", self._topology),
        ]

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Sessions and forged forms first; errors become a page."""
        if not request.path.startswith("/console"):
            return await handler(request)
        try:
            if request.method == "POST":
                _refuse_foreign(request)
            if request.path not in _OPEN:
                session = self._sessions.get(request.cookies.get(COOKIE))
                if session is None:
                    raise web.HTTPSeeOther("/console/login")
                request[_SESSION] = session
                if request.method == "POST":
                    await self._refuse_forged(request, session)
                await self._authenticator.client_of(session.token)
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                error.headers.update(_HEADERS)
                raise
            return self._error(request, RefusedError(error.status, error.reason))
        except MultinetError as error:
            refused = refusal_of(error)
            if refused.status == 401 and request.path not in _OPEN:
                self._sessions.close(request.cookies.get(COOKIE))
                return self._page(request, "login.html.j2", 401, error=refused)
            return self._error(request, refused)

    async def _to_start(self, _request: web.Request) -> web.StreamResponse:
        raise web.HTTPSeeOther("/console/")

    async def _css(self, _request: web.Request) -> web.StreamResponse:
        headers = {"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=self._style, content_type="text/css", charset="utf-8", headers=headers)

    async def _login_form(self, request: web.Request) -> web.StreamResponse:
        return self._page(request, "login.html.j2", error=None)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        form = await request.post()
        token = str(form.get("token") or "").strip()
        try:
            await self._authenticator.client_of(token)
        except MultinetError as error:
            refused = refusal_of(error)
            if not token:
                refused = unauthorized("no token was given", next_step="paste the token of your kubeconfig")
            return self._page(request, "login.html.j2", refused.status, error=refused)
        answer = web.HTTPSeeOther("/console/")
        answer.set_cookie(
            COOKIE,
            self._sessions.open(token),
            path="/console",
            max_age=int(LIFETIME_S),
            httponly=True,
            samesite="Strict",
            secure=self._secure,
        )
        raise answer

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        self._sessions.close(request.cookies.get(COOKIE))
        answer = web.HTTPSeeOther("/console/login")
        answer.del_cookie(COOKIE, path="/console")
        raise answer

    async def _networks(self, request: web.Request) -> web.StreamResponse:
        return self._networks_page(request)

    def _networks_page(
        self,
        request: web.Request,
        status: int = 200,
        error: RefusedError | None = None,
        form: Mapping[str, str] | None = None,
    ) -> web.Response:
        catalog = self._service.catalog
        projects = sorted(entry.fq_name for entry in catalog.of_kind(kinds.PROJECT))
        return self._page(
            request,
            "networks.html.j2",
            status,
            networks=facts.networks(self._service.view, catalog),
            projects=[":".join(fq_name) for fq_name in projects],
            form=form or _EMPTY_FORM,
            error=error,
        )

    async def _create_network(self, request: web.Request) -> web.StreamResponse:
        posted = await request.post()
        form = {name: str(posted.get(name) or "").strip() for name in _EMPTY_FORM}
        client = await self._authenticator.client_of(request[_SESSION].token)
        try:
            made = await self._service.create(KINDS[kinds.NETWORK], _asked(form), client)
        except MultinetError as error:
            refused = refusal_of(error)
            return self._networks_page(request, refused.status, refused, form)
        raise web.HTTPSeeOther(f"/console/networks/{made.uuid}")

    async def _network(self, request: web.Request) -> web.StreamResponse:
        return await self._network_page(request, self._found(request))

    async def _network_page(
        self, request: web.Request, entry: Entry, status: int = 200, error: RefusedError | None = None
    ) -> web.Response:
        view, catalog = self._service.view, self._service.catalog
        shown = facts.network(view, catalog, entry)
        members = [
            found
            for found in facts.interfaces(view, catalog)
            if found.network is not None and found.network.uuid == entry.uuid
        ]
        places = counters.addresses_of(view, {found.interface.node for found in members})
        carried = await counters.fetch(places) if places else {}
        return self._page(
            request,
            "network.html.j2",
            status,
            facts=shown,
            nads=facts.nads_of(view, shown),
            members=members,
            counted=counters.SHOWN if carried else (),
            carried=carried,
            error=error,
        )

    async def _delete_network(self, request: web.Request) -> web.StreamResponse:
        entry = self._found(request)
        client = await self._authenticator.client_of(request[_SESSION].token)
        try:
            await self._service.delete(entry, client)
        except MultinetError as error:
            refused = refusal_of(error)
            return await self._network_page(request, entry, refused.status, refused)
        raise web.HTTPSeeOther("/console/")

    async def _pods(self, request: web.Request) -> web.StreamResponse:
        view = self._service.view
        found = facts.pods(view, self._service.catalog)
        waiting = {pod.name: facts.why_waiting(view, pod.name) for pod in found if not pod.interfaces}
        return self._page(request, "pods.html.j2", pods=found, waiting=waiting)

    async def _topology(self, request: web.Request) -> web.StreamResponse:
        view, catalog = self._service.view, self._service.catalog
        pods = facts.pods(view, catalog)
        drawing = topology.draw(facts.networks(view, catalog), pods, facts.nodes(view, pods))
        return self._page(request, "topology.html.j2", drawing=drawing, top=topology.HEAD)

    def _found(self, request: web.Request) -> Entry:
        return self._service.entry(kinds.NETWORK, request.match_info["uuid"])

    def _error(self, request: web.Request, refused: RefusedError) -> web.Response:
        _log.info("%s %s: %d %s", request.method, request.path, refused.status, refused)
        return self._page(request, "error.html.j2", refused.status, error=refused)

    def _page(self, request: web.Request, template: str, status: int = 200, **values: Any) -> web.Response:
        session = request.get(_SESSION)
        text = self._templates.get_template(template).render(
            path=request.path,
            csrf=session.csrf if session else "",
            is_known=session is not None,
            refresh=_refresh(request),
            modes=(L2_L3, L3),
            **values,
        )
        return web.Response(text=text, status=status, content_type="text/html", headers=_HEADERS)

    async def _refuse_forged(self, request: web.Request, session: Session) -> None:
        form = await request.post()
        if not session.matches(str(form.get("csrf") or "")):
            raise forbidden(
                "the form is not one of this session",
                why="its hidden field is missing or old",
                next_step="go back, reload the page and send the form again",
            )


def _refuse_foreign(request: web.Request) -> None:
    """Forms come from our own pages: browsers say from where in Origin (the login form has no session)."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise forbidden("the form comes from another site", why=f"its origin is {origin}")


def _refresh(request: web.Request) -> int:
    text = request.query.get("refresh", "")
    return min(int(text), _REFRESH_LIMIT_S) if text.isascii() and text.isdecimal() else 0


def _asked(form: Mapping[str, str]) -> Obj:
    """The config API's object for what the form says."""
    project = form["project"].split(":")
    if len(project) != 2 or not all(project):
        raise bad_request(f"{form['project']!r} is no project", next_step="choose one of the list")
    if not form["name"]:
        raise bad_request("the network has no name", next_step="give it one")
    block: Obj = {"subnet": _prefix(form["cidr"])}
    if form["gateway"]:
        block["default_gateway"] = form["gateway"]
    if form["dns"]:
        block["dns_server_address"] = form["dns"]
    made: Obj = {
        "fq_name": [*project, form["name"]],
        "parent_type": kinds.PROJECT,
        "network_ipam_refs": [{"to": list(DEFAULT_IPAM), "attr": {"ipam_subnets": [block]}}],
    }
    if form["mode"]:
        made["virtual_network_properties"] = {"forwarding_mode": form["mode"]}
    return made


def _prefix(cidr: str) -> Obj:
    address, slash, length = cidr.partition("/")
    if not slash or not length.isdecimal():
        raise bad_request(f"{cidr!r} is no subnet", next_step="write a block such as 10.1.1.0/24")
    return {"ip_prefix": address, "ip_prefix_len": int(length)}
