"""Why a pod can't be attached: a refusal with the reason that goes into conditions and Events."""

from __future__ import annotations

from multinet.errors import InputError, NetworkingError


class Refusal(NetworkingError):
    """The pod's selection can't be met now.

    ``reason`` is a CamelCase word. ``topics`` name what has to change before another look is worth it
    (see :mod:`multinet.controller.waiting`); without topics only a change of the pod itself can help.
    ``grace_s`` is how long the cause may last before it is told: what was applied in one go with the pod
    may come a moment later. ``transient``: this controller itself is about to remove the cause.
    """

    def __init__(
        self,
        reason: str,
        what: str,
        *,
        where: str = "",
        why: str = "",
        next_step: str = "",
        topics: tuple[str, ...] = (),
        grace_s: float = 0.0,
        transient: bool = False,
    ) -> None:
        super().__init__(what, where=where, why=why, next_step=next_step)
        self.reason = reason
        self.topics = topics
        self.grace_s = grace_s
        self.transient = transient

    @classmethod
    def of(
        cls, error: InputError, reason: str, *, topics: tuple[str, ...] = (), grace_s: float = 0.0
    ) -> Refusal:
        """The refusal of what the model's rules found to be impossible."""
        return cls(
            reason,
            error.what,
            where=error.where,
            why=error.why,
            next_step=error.next_step,
            topics=topics,
            grace_s=grace_s,
        )
