"""Refusals: the four parts of every error here, and the HTTP status the original answers with."""

from __future__ import annotations

from multinet.errors import MultinetError
from multinet.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    KubeError,
    NotFoundError,
    UnauthorizedError,
)


class RefusedError(MultinetError):
    """A request that can't be met; ``status`` is the HTTP status of the answer."""

    def __init__(
        self, status: int, what: str, *, where: str = "", why: str = "", next_step: str = ""
    ) -> None:
        super().__init__(what, where=where, why=why, next_step=next_step)
        self.status = status


def bad_request(what: str, *, where: str = "", why: str = "", next_step: str = "") -> RefusedError:
    """400: the request itself can't be used (the client's ``BadRequest``)."""
    return RefusedError(400, what, where=where, why=why, next_step=next_step)


def unauthorized(what: str, *, why: str = "", next_step: str = "") -> RefusedError:
    """401: nobody knows who asks (``AuthFailed``)."""
    return RefusedError(401, what, why=why, next_step=next_step)


def forbidden(what: str, *, where: str = "", why: str = "", next_step: str = "") -> RefusedError:
    """403: not allowed, or not to be changed here (``PermissionDenied``)."""
    return RefusedError(403, what, where=where, why=why, next_step=next_step)


def not_found(what: str, *, where: str = "", next_step: str = "") -> RefusedError:
    """404 (``NoIdError``)."""
    return RefusedError(404, what, where=where, next_step=next_step)


def conflict(what: str, *, where: str = "", why: str = "", next_step: str = "") -> RefusedError:
    """409: exists already, or still in use (``RefsExistError``)."""
    return RefusedError(409, what, where=where, why=why, next_step=next_step)


def unavailable(what: str, *, where: str = "", why: str = "", next_step: str = "") -> RefusedError:
    """503: not now; the original's client tries again by itself."""
    return RefusedError(503, what, where=where, why=why, next_step=next_step)


_STATUS: tuple[tuple[type[KubeError], int], ...] = (
    (UnauthorizedError, 401),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (AlreadyExistsError, 409),
    (ConflictError, 409),
    (InvalidError, 400),
)


def from_kube(error: KubeError) -> RefusedError:
    """What the Kubernetes API said, as an answer of this one."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 503)
    what = "the Kubernetes API refused" if status != 503 else "the Kubernetes API does not answer"
    return RefusedError(status, what, where=error.where, why=error.what, next_step=error.next_step)
