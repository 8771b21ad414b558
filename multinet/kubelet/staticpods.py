"""Static pods: manifests in a directory of the node, run by its kubelet alone and mirrored in the API.

They run without an API server, except that their network may need one: so the mirror is made first, within a
limit, and the pod's network is asked for in the mirror's name and uid where there is one. Deleting the mirror
deletes nothing on the node: it is made anew. A pod with a network of its own then gets a new sandbox, since
the attachment belonged to the mirror that went.

Source: Kubernetes "Create static Pods"; annotations ``kubernetes.io/config.*``, names ``<name>-<node>``.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from multinet.errors import WaitExpiredError
from multinet.kube.backoff import Backoff
from multinet.kube.errors import AlreadyExistsError, KubeError, NotFoundError
from multinet.kube.resources import PODS
from multinet.kubelet.context import NodeContext
from multinet.kubelet.inotify import DirectoryWatch
from multinet.kubelet.pods import PodWorker
from multinet.kubelet.podset import MIRROR, PodSet
from multinet.kubelet.status import timestamp
from multinet.kubelet.wakeup import wait_or_timeout
from multinet.model.objects import Obj, annotations_of, key_of, name_of, namespace_of, uid_of
from multinet.waits import wait_for

_log = logging.getLogger(__name__)
_ENDINGS = (".yaml", ".yml", ".json")
_RECHECK_S = 20.0
_MIRROR_LIMIT_S = 2.0


@dataclass(slots=True)
class _Static:
    """One static pod: its worker, and the task that keeps its mirror."""

    pod: Obj
    worker: PodWorker
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    keeper: asyncio.Task[None] | None = None


class StaticPods:
    """Runs what is in ``directory``; one object per kubelet."""

    def __init__(self, context: NodeContext, pods: PodSet, directory: Path) -> None:
        self._context = context
        self._pods = pods
        self._directory = directory
        self._running: dict[str, _Static] = {}
        self._backoff = Backoff(first_s=0.1, cap_s=5.0)
        pods.on_mirror(self._mirror_changed)

    async def run(self) -> None:
        """Follow the directory until cancelled."""
        self.look()
        try:
            with DirectoryWatch((self._directory,)) as watch:
                while True:
                    watch.changed.clear()
                    self.look()
                    await wait_or_timeout(watch.changed, _RECHECK_S)
        finally:
            for static in self._running.values():
                if static.keeper is not None:
                    static.keeper.cancel()

    def look(self) -> None:
        """Start what is new in the directory, end what is gone or has become another."""
        self._directory.mkdir(parents=True, exist_ok=True)
        wanted = {uid_of(pod): pod for pod in read(self._directory, self._context.node)}
        for uid in [uid for uid in self._running if uid not in wanted]:
            self._end(uid)
        for uid, pod in wanted.items():
            if uid not in self._running:
                self._begin(uid, pod)

    def _begin(self, uid: str, pod: Obj) -> None:
        _log.info("static pod %s", key_of(pod))
        static = _Static(pod, self._pods.make_static(pod))
        self._running[uid] = static
        loop = asyncio.get_running_loop()
        static.keeper = loop.create_task(self._keep(static), name=f"mirror of {name_of(pod)}")

    def _end(self, uid: str) -> None:
        static = self._running.pop(uid)
        _log.info("static pod %s is gone from %s", key_of(static.pod), self._directory)
        if static.keeper is not None:
            static.keeper.cancel()
        self._pods.start_static(static.worker)
        static.worker.retire()

    async def _keep(self, static: _Static) -> None:
        """Make the mirror, start the pod, and make the mirror again whenever it is gone."""
        mirroring = asyncio.ensure_future(self._mirror(static))
        try:
            await wait_for("the mirror of a static pod", asyncio.shield(mirroring), _MIRROR_LIMIT_S)
        except WaitExpiredError as error:
            _log.warning("%s starts without its mirror: %s", key_of(static.pod), error)
        try:
            self._pods.start_static(static.worker)
            await mirroring
        finally:
            mirroring.cancel()
        while True:
            await static.changed.wait()
            await self._mirror(static)

    async def _mirror(self, static: _Static) -> None:
        failures = 0
        while True:
            static.changed.clear()
            mirror: Obj | None = None
            try:
                mirror = await self._context.client.create(PODS, mirror_of(static.pod))
            except AlreadyExistsError:
                mirror = await self._existing(static)
            except KubeError as error:
                failures += 1
                _log.info("mirror of %s: %s", key_of(static.pod), error)
            if mirror is not None:
                static.worker.mirrored_by(mirror)
                return
            await wait_or_timeout(static.changed, self._backoff.delay(max(1, failures)))

    async def _existing(self, static: _Static) -> Obj | None:
        """The mirror that is there already, if it is one of this very pod; else it is removed."""
        name, namespace = name_of(static.pod), namespace_of(static.pod)
        try:
            found = await self._context.client.get(PODS, name, namespace)
            ending = found["metadata"].get("deletionTimestamp")
            if annotations_of(found).get(MIRROR) == uid_of(static.pod) and not ending:
                return found
            await self._context.client.delete(PODS, name, namespace, grace_seconds=0, uid=uid_of(found))
        except NotFoundError:
            return None
        except KubeError as error:
            _log.info("mirror of %s: %s", key_of(static.pod), error)
        return None

    def _mirror_changed(self, old: Obj | None, new: Obj | None) -> None:
        shown = new or old or {}
        static = self._running.get(annotations_of(shown).get(MIRROR, ""))
        if static is None:
            if new is not None and key_of(new) not in {key_of(one.pod) for one in self._running.values()}:
                self._pods.discard_mirror(new)
            return
        if uid_of(shown) != static.worker.mirror_uid:
            # Of an older mirror, told late; or somebody else's, which the keeper finds when it makes its own.
            return
        if new is None or new["metadata"].get("deletionTimestamp"):
            static.changed.set()
        else:
            static.worker.mirrored_by(new)


def read(directory: Path, node: str) -> Iterator[Obj]:
    """The pods in the manifests of a directory, as this node runs them; a file that holds none is logged."""
    for path in sorted(directory.iterdir()):
        if path.suffix not in _ENDINGS or path.name.startswith("."):
            continue
        try:
            text = path.read_text(encoding="utf-8")
            yield _of_node(yaml.safe_load(text), text, path, node)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, LookupError, AttributeError, RecursionError, yaml.YAMLError) as error:
            _log.warning("%s is no manifest of a pod: %s", path, error)


def _of_node(manifest: Any, text: str, path: Path, node: str) -> Obj:
    if not isinstance(manifest, dict) or manifest.get("kind") != "Pod":
        raise ValueError("its kind is not Pod")
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise ValueError("it has no metadata.name that is a text")
    for name in ("annotations", "labels"):
        if not _is_map_of_text(metadata.get(name) or {}):
            raise ValueError(f"its metadata.{name} is no map of texts")
    if not isinstance(manifest.get("spec"), dict) or not manifest["spec"].get("containers"):
        raise ValueError("it has no spec.containers")
    for name in ("containers", "initContainers"):
        listed = manifest["spec"].get(name) or []
        if not isinstance(listed, list) or not all(_is_named(item) for item in listed):
            raise ValueError(f"its spec.{name} is no list of containers with names")
    uid = hashlib.md5(f"{node}:{path}:{text}".encode(), usedforsecurity=False).hexdigest()
    annotations = {
        **(metadata.get("annotations") or {}),
        "kubernetes.io/config.hash": uid,
        "kubernetes.io/config.seen": timestamp(time.time()),
        "kubernetes.io/config.source": "file",
    }
    metadata = {
        **metadata,
        "name": f"{metadata['name']}-{node}",
        "namespace": str(metadata.get("namespace") or "default"),
        "uid": uid,
        "annotations": annotations,
    }
    spec = {**manifest["spec"], "nodeName": node}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {}}


def _is_map_of_text(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for pair in value.items() for text in pair)


def _is_named(container: object) -> bool:
    return isinstance(container, dict) and isinstance(container.get("name"), str) and bool(container["name"])


def mirror_of(pod: Obj) -> Obj:
    """The object that shows a static pod in the API."""
    metadata = {key: value for key, value in pod["metadata"].items() if key != "uid"}
    metadata["annotations"] = {**metadata["annotations"], MIRROR: uid_of(pod)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}
