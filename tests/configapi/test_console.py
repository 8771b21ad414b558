"""The console without a browser: sessions, forged forms, escaping, headers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from multinet.configapi.console.sessions import LIFETIME_S, Sessions
from multinet.kube.resources import NADS


@dataclass(frozen=True)
class Browser:
    url: str
    session: aiohttp.ClientSession

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(self.url + path) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, headers: dict[str, str] | None = None, **form: str) -> tuple[int, str]:
        async with self.session.post(self.url + path, data=form, headers=headers) as answer:
            return answer.status, await answer.text()

    async def csrf(self) -> str:
        _, text = await self.get("/console/")
        found = re.search(r'name="csrf" value="([^"]+)"', text)
        assert found
        return found.group(1)


@pytest.fixture
async def browser(cluster: Any) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        made = Browser(cluster.config.url, session)
        status, text = await made.post("/console/login", token=cluster.token)
        assert (status, "Virtual networks" in text) == (200, True)
        yield made


async def test_without_login_every_page_is_the_login(cluster: Any) -> None:
    for path in ("/console/", "/console/pods", "/console/topology", "/console/networks/x"):
        async with cluster.session.get(cluster.config.url + path) as answer:
            assert str(answer.url).endswith("/console/login"), path
            assert "k8s-default-pod-network" not in await answer.text()
    url = f"{cluster.config.url}/console/networks"
    async with cluster.session.post(url, data={"name": "n"}, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/console/login")


async def test_a_wrong_token_is_refused_in_place(cluster: Any) -> None:
    async with cluster.session.post(f"{cluster.config.url}/console/login", data={"token": "wrong"}) as answer:
        assert answer.status == 401
        assert "not accepted" in await answer.text()
        assert "Set-Cookie" not in answer.headers


async def test_cookie_and_headers(cluster: Any) -> None:
    url = f"{cluster.config.url}/console/login"
    async with cluster.session.post(url, data={"token": cluster.token}, allow_redirects=False) as answer:
        cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert cluster.token not in cookie
    async with cluster.session.get(url) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "http" not in (await answer.text()).replace("http-equiv", "")


async def test_a_forged_form_changes_nothing(browser: Browser) -> None:
    form = {"name": "n", "project": "default-domain:default-project", "cidr": "10.44.1.0/24", "mode": "l3"}
    assert (await browser.post("/console/networks", **form))[0] == 403
    assert (await browser.post("/console/networks", csrf="guess", **form))[0] == 403
    csrf = await browser.csrf()
    evil = {"Origin": "http://evil.example"}
    assert (await browser.post("/console/networks", headers=evil, csrf=csrf, **form))[0] == 403
    assert "10.44.1.0/24" not in (await browser.get("/console/"))[1]
    assert (await browser.post("/console/networks", csrf=csrf, **form))[0] == 200
    assert "10.44.1.0/24" in (await browser.get("/console/"))[1]


async def test_names_are_escaped_everywhere(browser: Browser) -> None:
    name = '<script>alert("x")</script>'
    form = {"name": name, "project": "default-domain:default-project", "cidr": "10.1.1.0/24", "mode": "l3"}
    status, text = await browser.post("/console/networks", csrf=await browser.csrf(), **form)
    assert (status, "&lt;script&gt;" in text) == (200, True)
    for path in ("/console/", "/console/pods", "/console/topology"):
        assert "<script" not in (await browser.get(path))[1], path


async def test_an_error_is_shown_in_place_and_what_was_typed_stays(browser: Browser) -> None:
    form = {"name": "n", "project": "default-domain:default-project", "cidr": "10.1.1.0", "mode": "l3"}
    status, text = await browser.post("/console/networks", csrf=await browser.csrf(), **form)
    assert status == 400
    assert 'role="alert"' in text
    assert 'value="10.1.1.0"' in text


async def test_a_networks_page_names_the_nads_that_have_it(cluster: Any, browser: Browser) -> None:
    """A NAD that asks for a network of that name is refused, and is none of them."""
    csrf = await browser.csrf()
    form = {"name": "k8s-left-pod-network", "project": "default-domain:k8s-default", "cidr": "10.1.1.0/24"}
    async with browser.session.post(f"{browser.url}/console/networks", data=form | {"csrf": csrf}) as answer:
        page = answer.url.path
    await cluster.nad("left", {"opencontrail.org/cidr": "10.1.1.0/24"})
    await cluster.nad_mapped_to("right", "default-domain", "k8s-default", "k8s-left-pod-network")
    store = cluster.config.service.view.informers[NADS]
    await store.wait_until("both NADs", lambda known: len(known) == 2, 10.0)
    _, text = await browser.get(page)
    assert ("default/right" in text, "default/left" in text) == (True, False)


async def test_logout_ends_the_session(browser: Browser) -> None:
    await browser.post("/console/logout", csrf=await browser.csrf())
    assert "Log in" in (await browser.get("/console/"))[1]


def test_sessions_end_by_themselves() -> None:
    now = [0.0]
    sessions = Sessions(lambda: now[0])
    identity = sessions.open("token")
    assert sessions.get(identity) is not None
    now[0] = LIFETIME_S
    assert sessions.get(identity) is None
