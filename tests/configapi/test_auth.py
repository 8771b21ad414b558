"""Tokens: asked of the Kubernetes API in the caller's own name, and remembered for a while."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from multinet.configapi.auth import Authenticator, token_of
from multinet.configapi.errors import RefusedError
from multinet.kube.config import ClusterAccess


class Reviews:
    """A Kubernetes API that only reviews access: ``good`` may, ``poor`` may not, others are nobody."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.asked.append(token)
        if token not in ("good", "poor"):
            status = {"kind": "Status", "code": 401, "reason": "Unauthorized", "message": "Unauthorized"}
            return web.json_response(status, status=401)
        body = await request.json()
        assert body["spec"]["resourceAttributes"]["group"] == "multinet.opencontrail.org"
        return web.json_response(body | {"status": {"allowed": token == "good"}}, status=201)


@pytest.fixture
async def reviews() -> Reviews:
    return Reviews()


@pytest.fixture
async def authenticator(reviews: Reviews) -> AsyncIterator[Authenticator]:
    application = web.Application()
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    application.router.add_post(path, reviews.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    made = Authenticator(ClusterAccess(f"http://127.0.0.1:{port}", token="own"))
    yield made
    await made.close()
    await runner.cleanup()


@pytest.mark.parametrize(
    ("token", "status"), [("", 401), ("unknown", 401), ("no\ttoken", 401), ("poor", 403)]
)
async def test_refused_tokens(authenticator: Authenticator, token: str, status: int) -> None:
    with pytest.raises(RefusedError) as refused:
        await authenticator.client_of(token)
    assert refused.value.status == status


async def test_a_good_token_is_asked_about_once_and_its_owner_does_the_writing(
    authenticator: Authenticator, reviews: Reviews
) -> None:
    first = await authenticator.client_of("good")
    assert await authenticator.client_of("good") is first
    assert first.access.token == "good"
    assert reviews.asked == ["good"]


def test_where_the_token_is() -> None:
    assert token_of("Bearer a", "b") == "b"
    assert token_of("bearer a", "") == "a"
    assert token_of("Basic a", "") == ""
