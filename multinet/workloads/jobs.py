"""Jobs: pods until enough of them have succeeded. Source: kubernetes ``pkg/controller/job``."""

from __future__ import annotations

from datetime import datetime
from time import time

from multinet.kube.resources import JOBS, PODS
from multinet.model.objects import Obj, metadata_of, section
from multinet.workloads.cluster import Cluster, merged_conditions, now_text
from multinet.workloads.owned import condition, first_to_go, is_active, is_ending, is_ready, pod_from
from multinet.workloads.replicasets import make_pods, remove_pods


class Jobs:
    """Reconciles one Job at a time. Indexed completion is not served: its pods are all alike."""

    resource = JOBS

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def reconcile(self, key: str) -> float | None:
        """Start what is to run, end what is to end, write the status."""
        job = self._cluster.get(JOBS, key)
        if job is None or is_ending(job):
            return None
        if _is_done(job):
            return await self._expire(job)
        pods = await self._cluster.claimed(PODS, job)
        ended = _end_of(job, pods)
        active = [pod for pod in pods if is_active(pod)]
        if ended is not None or section(job, "spec").get("suspend"):
            await remove_pods(self._cluster, job, active)
        else:
            await self._scale(job, pods, active)
        await self._report(job, ended)
        return _deadline(job) if ended is None else self._ttl(job)

    async def _scale(self, job: Obj, pods: list[Obj], active: list[Obj]) -> None:
        spec = section(job, "spec")
        wanted = int(spec.get("parallelism", 1))
        succeeded = sum(section(pod, "status").get("phase") == "Succeeded" for pod in pods)
        if spec.get("completions") is not None:
            wanted = min(wanted, int(spec["completions"]) - succeeded)
        elif succeeded:
            wanted = len(active)
        if len(active) > wanted:
            doomed = sorted(active, key=first_to_go, reverse=True)[: len(active) - wanted]
            await remove_pods(self._cluster, job, doomed)
        await make_pods(self._cluster, job, [pod_from(job) for _ in range(wanted - len(active))])

    async def _report(self, job: Obj, ended: Obj | None) -> None:
        pods = self._cluster.owned(PODS, job)
        active = [pod for pod in pods if is_active(pod)]
        before = section(job, "status")
        status: Obj = {
            "active": len(active),
            "ready": sum(map(is_ready, active)),
            "succeeded": _count(pods, "Succeeded"),
            "failed": _count(pods, "Failed"),
            "startTime": before.get("startTime") or now_text(),
        }
        if ended is not None:
            status["active"] = status["ready"] = 0
            status["conditions"] = merged_conditions(before.get("conditions") or (), [ended])
            if ended["type"] == "Complete":
                status["completionTime"] = now_text()
            kind = "Normal" if ended["type"] == "Complete" else "Warning"
            reason = "Completed" if ended["type"] == "Complete" else ended["reason"]
            self._cluster.recorder.record(
                job, "Normal" if kind == "Normal" else "Warning", reason, ended["message"]
            )
        await self._cluster.write_status(JOBS, job, status)

    async def _expire(self, job: Obj) -> float | None:
        left = self._ttl(job)
        if left is not None and left <= 0:
            await self._cluster.delete(JOBS, job)
            return None
        return left

    def _ttl(self, job: Obj) -> float | None:
        """Seconds until a finished job is deleted (``ttlSecondsAfterFinished``)."""
        limit = section(job, "spec").get("ttlSecondsAfterFinished")
        found = condition(job, "Complete") or condition(job, "Failed")
        if limit is None:
            return None
        since = found.get("lastTransitionTime")
        begun = datetime.fromisoformat(since).timestamp() if since else time()
        return begun + float(limit) - time()


def _is_done(job: Obj) -> bool:
    return any(condition(job, kind).get("status") == "True" for kind in ("Complete", "Failed"))


def _count(pods: list[Obj], phase: str) -> int:
    return sum(section(pod, "status").get("phase") == phase for pod in pods)


def _end_of(job: Obj, pods: list[Obj]) -> Obj | None:
    """The condition that ends the job now, or None."""
    spec = section(job, "spec")
    succeeded, failed = _count(pods, "Succeeded"), _count(pods, "Failed")
    restarts = sum(
        int(item.get("restartCount", 0))
        for pod in pods
        if section(pod, "spec").get("restartPolicy") == "OnFailure" and is_active(pod)
        for item in section(pod, "status").get("containerStatuses") or ()
    )
    if failed + restarts > int(spec.get("backoffLimit", 6)):
        return _condition("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = _deadline(job)
    if left is not None and left <= 0:
        message = "Job was active longer than specified deadline"
        return _condition("Failed", "DeadlineExceeded", message)
    completions = spec.get("completions")
    active = any(is_active(pod) for pod in pods)
    enough = succeeded >= completions if completions is not None else bool(succeeded) and not active
    if enough:
        return _condition("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def _condition(kind: str, reason: str, message: str) -> Obj:
    return {"type": kind, "status": "True", "reason": reason, "message": message}


def _deadline(job: Obj) -> float | None:
    """Seconds until ``activeDeadlineSeconds`` are over."""
    limit = section(job, "spec").get("activeDeadlineSeconds")
    if limit is None:
        return None
    since = section(job, "status").get("startTime") or metadata_of(job).get("creationTimestamp")
    return datetime.fromisoformat(str(since)).timestamp() + float(limit) - time()
