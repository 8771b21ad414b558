"""Steps that write objects: apply, annotate, label, delete.

Each ends when the local copies show what it wrote: the next step asks those, and "all pods" must not mean
the pods of a moment ago.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Literal

from multinet.kube.client import Client
from multinet.kube.errors import AlreadyExistsError, NotFoundError
from multinet.model.objects import Obj, uid_of
from reports.verdicts import Verdict
from scenarios.context import Context, Result
from scenarios.loader import LoadedStep
from scenarios.manifests import Manifest, Target, parse_reference
from scenarios.schema import Metadata


async def apply(context: Context, step: LoadedStep) -> Result:
    """Create each object, or merge-patch it where it exists; in the order of the file, one after another."""
    facts, written = [], []
    for manifest in step.manifests:
        done, obj = await _apply_one(context.client, manifest)
        facts.append(f"{done} {manifest.target()}")
        written.append((manifest.target().resource, obj))
    for resource, obj in written:
        await context.cluster.follow(resource, obj)
    return Result(facts=tuple(facts))


async def _apply_one(client: Client, manifest: Manifest) -> tuple[Literal["created", "changed"], Obj]:
    target, body = manifest.target(), manifest.complete()
    try:
        return "created", await client.create(target.resource, body)
    except AlreadyExistsError:
        return "changed", await client.patch(target.resource, target.name, body, target.namespace or None)


async def annotate(context: Context, step: LoadedStep) -> Result:
    """Merge annotations into an object; null removes one."""
    assert step.step.annotate is not None
    return await _merge(context, step.step.annotate, "annotations")


async def label(context: Context, step: LoadedStep) -> Result:
    """Merge labels into an object; null removes one."""
    assert step.step.label is not None
    return await _merge(context, step.step.label, "labels")


async def _merge(context: Context, change: Metadata, part: str) -> Result:
    target = _target(change.on)
    patch = {"metadata": {part: change.values}}
    written = await context.client.patch(target.resource, target.name, patch, target.namespace or None)
    await context.cluster.follow(target.resource, written)
    return Result(facts=(f"changed {part} of {target}: {', '.join(sorted(change.values))}",))


async def delete(context: Context, step: LoadedStep) -> Result:
    """Delete objects, then wait until none of them is there any more."""
    body = step.step.delete
    assert body is not None
    targets = [_target(reference) for reference in body.objects]
    asked = await asyncio.gather(*(_delete_one(context.client, t, body.grace_period) for t in targets))
    missing = [str(target) for target, obj in zip(targets, asked, strict=True) if obj is None]
    uids = {target: uid_of(obj) for target, obj in zip(targets, asked, strict=True) if obj is not None}

    def all_gone() -> bool | None:
        return True if not any(_there(context, target, uid) for target, uid in uids.items()) else None

    name = f"{', '.join(str(target) for target in targets)} to be gone"
    await context.cluster.until(name, all_gone, body.timeout, step=step.index, hint="is a finalizer left?")
    facts = tuple(f"deleted {target}" for target in uids)
    if missing:
        why = f"nothing to delete: the API has no {', no '.join(missing)}"
        return Result(Verdict.FAIL, why, "what should have made it, or what deleted it before?", facts)
    return Result(facts=facts)


async def _delete_one(client: Client, target: Target, grace: int | None) -> Obj | None:
    namespace = target.namespace or None
    try:
        there = await client.get(target.resource, target.name, namespace)
    except NotFoundError:
        return None
    # Gone between the two: it was there when the step asked.
    with contextlib.suppress(NotFoundError):
        await client.delete(target.resource, target.name, namespace, grace_seconds=grace)
    return there


def _there(context: Context, target: Target, uid: str) -> bool:
    key = f"{target.namespace}/{target.name}" if target.namespace else target.name
    try:
        found = context.cluster.objects(target.resource).get(key)
    except KeyError:
        return (
            False  # a kind that isn't watched: the API confirmed its deletion, and it has no finalizers here
        )
    return found is not None and uid_of(found) == uid


def _target(reference: str) -> Target:
    target = parse_reference(reference)
    assert target is not None, "the loader refuses unknown kinds"
    return target
