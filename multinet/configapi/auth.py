"""Who asks: the caller's token is the Kubernetes API's token, and that API is asked about it.

A token is tried with a SelfSubjectAccessReview in its own name ("may I list everything of our group?"), and
the answer is remembered for :data:`REMEMBERED_S`. Writes are then made with the caller's token, so that
Kubernetes' access rules and audit log see the caller and not this server.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace

from multinet.configapi.errors import forbidden, unauthorized
from multinet.kube.client import Client
from multinet.kube.config import ClusterAccess
from multinet.kube.errors import UnauthorizedError
from multinet.kube.resources import Resource
from multinet.model.objects import API_GROUP

REMEMBERED_S = 30.0
_CALLERS = 64
_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False
)
_REVIEW = {
    "apiVersion": "authorization.k8s.io/v1",
    "kind": "SelfSubjectAccessReview",
    "spec": {"resourceAttributes": {"group": API_GROUP, "resource": "*", "verb": "list"}},
}


@dataclass(slots=True)
class _Caller:
    client: Client
    good_until: float


class Authenticator:
    """Turns tokens into clients; close it to close them."""

    def __init__(self, access: ClusterAccess) -> None:
        self._access = access
        self._callers: dict[str, _Caller] = {}
        self._lock = asyncio.Lock()

    async def client_of(self, token: str) -> Client:
        """The access of a token's owner; 401 for no token or a wrong one, 403 where it may not read."""
        if not token:
            raise unauthorized(
                "Authentication required",
                why="the request carries no token",
                next_step="send the Kubernetes token as X-Auth-Token or Authorization: Bearer",
            )
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        loop = asyncio.get_running_loop()
        known = self._callers.get(digest)
        if known is not None and loop.time() < known.good_until:
            return known.client
        async with self._lock:
            known = self._callers.pop(digest, None)
            client = known.client if known is not None else await self._opened(token)
            try:
                await _review(client)
            except BaseException:
                await client.__aexit__(None, None, None)
                raise
            self._callers[digest] = _Caller(client, loop.time() + REMEMBERED_S)
            while len(self._callers) > _CALLERS:
                oldest = self._callers.pop(next(iter(self._callers)))
                await oldest.client.__aexit__(None, None, None)
            return client

    async def close(self) -> None:
        """Close all clients."""
        while self._callers:
            _, caller = self._callers.popitem()
            await caller.client.__aexit__(None, None, None)

    async def _opened(self, token: str) -> Client:
        if not token.isascii() or not token.isprintable() or " " in token:
            raise unauthorized("the token is not accepted", why="it holds characters that no token has")
        access = replace(
            self._access, token=token, token_file=None, exec_plugin=None, client_cert=None, client_key=None
        )
        client = Client(access)
        await client.__aenter__()
        return client


async def _review(client: Client) -> None:
    try:
        answer = await client.create(_REVIEWS, dict(_REVIEW))
    except UnauthorizedError as error:
        raise unauthorized(
            "the token is not accepted",
            why="the Kubernetes API does not know it",
            next_step="take the token of your kubeconfig (kubectl config view --raw)",
        ) from error
    if not answer.get("status", {}).get("allowed"):
        raise forbidden(
            "not allowed",
            why=f"Kubernetes' access rules don't let you list the resources of {API_GROUP}",
            next_step="ask for a role with the verb list on them",
        )


def token_of(authorization: str, x_auth_token: str) -> str:
    """The token in a request's headers; ``X-Auth-Token`` counts first, as the client sends that."""
    if x_auth_token:
        return x_auth_token.strip()
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
