"""Writes one pod's status to the API: the latest wins, one request at a time, unchanged ones not at all."""

from __future__ import annotations

import asyncio
import logging

from multinet.kube.backoff import Backoff
from multinet.kube.client import Client
from multinet.kube.errors import ConflictError, ForbiddenError, InvalidError, KubeError, NotFoundError
from multinet.kube.resources import PODS
from multinet.kubelet.status import status_patch
from multinet.kubelet.wakeup import wait_or_timeout
from multinet.model.objects import Obj, name_of, namespace_of, section, uid_of

_log = logging.getLogger(__name__)


class StatusWriter:
    """Keeps the status of one pod written; :meth:`run` is its task.

    A ``lasting`` one outlives the pod in the API: it is a mirror's, which may be deleted and made anew.
    """

    def __init__(self, client: Client, pod: Obj, backoff: Backoff, *, lasting: bool = False) -> None:
        self._lasting = lasting
        self._client = client
        self._pod = pod
        self._backoff = backoff
        self._written: Obj = dict(section(pod, "status"))
        self._wanted: Obj | None = None
        self._asked = asyncio.Event()
        self._urgent = asyncio.Event()
        self._wait_s = 0.0

    def publish(self, status: Obj, *, within_s: float = 0.0) -> None:
        """Write ``status`` now, or after ``within_s`` unless a newer one comes before."""
        self._wanted = status
        self._wait_s = within_s
        self._asked.set()
        if not within_s:
            self._urgent.set()

    def retarget(self, pod: Obj) -> None:
        """Write to this object from now on."""
        self._pod = pod
        self._written = dict(section(pod, "status"))
        self._asked.set()

    async def run(self) -> None:
        """Write until cancelled, or until the pod is gone from the API."""
        failures = 0
        while True:
            await self._asked.wait()
            if self._wait_s and not self._urgent.is_set():
                await wait_or_timeout(self._urgent, self._wait_s)
            self._asked.clear()
            self._urgent.clear()
            wanted = self._wanted
            try:
                if wanted is not None and not await self._write(wanted) and not self._lasting:
                    return
                failures = 0
            except (InvalidError, ForbiddenError):
                _log.exception("status of %s was refused", name_of(self._pod))
            except KubeError as error:
                failures += 1
                _log.warning("status of %s is written later: %s", name_of(self._pod), error)
                await self._client.pause("status write back-off", self._backoff.delay(failures))
                self._asked.set()

    async def _write(self, wanted: Obj) -> bool:
        patch = status_patch(self._written, wanted)
        if not patch or not uid_of(self._pod):
            return True
        body = {"metadata": {"uid": uid_of(self._pod)}, "status": patch}
        try:
            await self._client.patch(
                PODS, name_of(self._pod), body, namespace_of(self._pod), subresource="status"
            )
        except (NotFoundError, ConflictError) as error:
            _log.info("status of %s is no longer wanted: %s", name_of(self._pod), error)
            return False
        self._written = wanted
        return True
