"""A pod's volumes on its node: directories below the pod's own, and what containers mount of them.

=================================================  =====================================================
emptyDir                                           a directory, as old as the pod
configMap, secret, downwardAPI, projected          files that follow their objects; always read-only
hostPath                                           a path of the node; made, if asked, below ``/run`` only
=================================================  =====================================================

Files are exchanged as a real kubelet does it (atomic writer): they are links through ``..data``, one link
that is replaced in one step, so a reader sees all of the old or all of the new. A ``subPath`` is what it was
when the container started. Other types are refused. One is left out silently: the service account token
that API servers add to each pod by themselves (``kube-api-access-*``); the lab issues none.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from multinet.errors import InputError
from multinet.kubelet.environment import Sources
from multinet.kubelet.mounts import Mount
from multinet.kubelet.podspec import expand
from multinet.kubelet.projection import KINDS, File, MissingSourceError, Payload, payload_of
from multinet.model.objects import Obj, section

# No container can have this name, so it is free among the containers' directories.
DIRECTORY = "_volumes"
_TOKEN_VOLUME = "kube-api-access-"
# The lab's own; everything else is the machine's, where nothing may be made.
_OURS = PurePosixPath("/run")
_TYPES: Mapping[str, tuple[str, Callable[[int], bool]]] = {
    "Directory": ("a directory", stat.S_ISDIR),
    "File": ("a file", stat.S_ISREG),
    "Socket": ("a socket", stat.S_ISSOCK),
    "CharDevice": ("a character device", stat.S_ISCHR),
    "BlockDevice": ("a block device", stat.S_ISBLK),
}


class PodVolumes:
    """The volumes of one pod, below ``directory`` (the pod's)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / DIRECTORY
        self._written: dict[str, Payload] = {}

    def mounts(
        self, pod: Obj, container: Mapping[str, Any], env: Mapping[str, str], sources: Sources
    ) -> tuple[Mount, ...]:
        """Set up what the container mounts. ``MissingSourceError``: not yet; ``InputError``: never."""
        check(pod, container)
        volumes = _volumes(pod)
        found = []
        for use in container.get("volumeMounts") or ():
            volume = volumes[str(use.get("name"))]
            if _left_out(volume):
                continue
            source = self._set_up(pod, volume, sources)
            may_make = _kind(volume) == "emptyDir" or (not _projected(volume) and _is_ours(source))
            source = _below(source, use, env, may_make=may_make)
            read_only = bool(use.get("readOnly")) or _projected(volume)
            found.append(Mount(source, str(use.get("mountPath")), read_only))
        return tuple(found)

    def refresh(self, pod: Obj, sources: Sources) -> None:
        """Bring the files of volumes in use up to date; what has become impossible stays as it was."""
        volumes = _volumes(pod)
        for name in list(self._written):
            self._set_up(pod, volumes[name], sources)

    def _set_up(self, pod: Obj, volume: Mapping[str, Any], sources: Sources) -> Path:
        name = str(volume["name"])
        path = self._directory / name
        if volume.get("hostPath") is not None:
            return _host_path(name, volume["hostPath"])
        path.mkdir(parents=True, exist_ok=True)
        if _projected(volume):
            payload = payload_of(pod, volume, sources)
            if payload != self._written.get(name):
                exchange(path, payload)
                self._written[name] = payload
        else:
            path.chmod(0o777)
        return path


def check(pod: Obj, container: Mapping[str, Any]) -> None:
    """``InputError`` naming the first volume the container uses that can't be had, and its type."""
    volumes = _volumes(pod)
    uses = [(use, "mountPath") for use in container.get("volumeMounts") or ()]
    uses += [(use, "devicePath") for use in container.get("volumeDevices") or ()]
    for use, path in uses:
        name = str(use.get("name"))
        where = f"container {container.get('name')}, {path} {use.get(path)}"
        if name not in volumes:
            raise InputError(f"volume {name} is not among the pod's volumes", where=where)
        if not str(use.get(path) or "").startswith("/"):
            raise InputError("a mount path must be absolute", where=where)
        kind = _kind(volumes[name])
        if path == "devicePath" or kind not in ("emptyDir", "hostPath", *KINDS):
            raise InputError(
                f"volume {name} of type {kind} is not supported",
                where=where,
                next_step="types that are: emptyDir, hostPath, configMap, secret, downwardAPI, projected",
            )


def exchange(directory: Path, payload: Payload) -> None:
    """Replace the files in ``directory`` by those of ``payload``, all in one step."""
    link = directory / "..data"
    old = link.readlink() if link.is_symlink() else None
    number = int(str(old).removeprefix("..")) + 1 if old is not None else 1
    fresh = directory / f"..{number}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for name, file in payload.items():
        _write(fresh / name, file)
    temporary = directory / "..data_tmp"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(fresh.name)
    temporary.replace(link)
    wanted = {PurePosixPath(name).parts[0] for name in payload}
    for name in wanted:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"..data/{name}")
    for path in directory.iterdir():
        if not path.name.startswith("..") and path.name not in wanted:
            path.unlink()
    if old is not None:
        shutil.rmtree(directory / old, ignore_errors=True)


def _write(path: Path, file: File) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.data)
    path.chmod(file.mode)


def _below(source: Path, use: Mapping[str, Any], env: Mapping[str, str], *, may_make: bool) -> Path:
    """The part of a volume that ``subPath`` or ``subPathExpr`` names."""
    part = str(use.get("subPath") or expand(str(use.get("subPathExpr") or ""), env))
    if not part:
        return source
    where = f"mountPath {use.get('mountPath')}"
    if PurePosixPath(part).is_absolute() or ".." in PurePosixPath(part).parts:
        raise InputError("a subPath must be relative and without ..", where=where, why=part)
    found = Path(os.path.realpath(source / part))
    if not found.is_relative_to(os.path.realpath(source)):
        raise InputError("the subPath leads out of its volume", where=where, why=part)
    if not found.exists():
        if not may_make:
            raise MissingSourceError(f"subPath {part} is not in volume {use.get('name')}", where=where)
        found.mkdir(parents=True, exist_ok=True)
    return found


def _host_path(name: str, source: Mapping[str, Any]) -> Path:
    path, kind = Path(str(source.get("path") or "")), str(source.get("type") or "")
    where = f"volume {name}, hostPath {path}"
    if not path.is_absolute():
        raise InputError("a hostPath must be absolute", where=where)
    if kind.endswith("OrCreate"):
        kind = kind.removesuffix("OrCreate")
        if not path.exists():
            _make(path, kind, where)
    elif kind not in ("", *_TYPES):
        raise InputError(f"hostPath type {kind} is not supported", where=where)
    if not path.exists():
        raise MissingSourceError("hostPath does not exist on the node", where=where)
    if kind in _TYPES and not _TYPES[kind][1](path.stat().st_mode):
        raise MissingSourceError(f"hostPath type check failed: it is not {_TYPES[kind][0]}", where=where)
    return path


def _is_ours(path: Path) -> bool:
    return PurePosixPath(os.path.realpath(path)).is_relative_to(_OURS)


def _make(path: Path, kind: str, where: str) -> None:
    if not _is_ours(path):
        raise InputError(
            "a hostPath is made below /run only: the rest is the file system of this machine",
            where=where,
            next_step="use a path below /run, or an emptyDir",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "Directory":
        path.mkdir(exist_ok=True)
    else:
        path.touch()


def _volumes(pod: Obj) -> dict[str, Mapping[str, Any]]:
    return {str(item.get("name")): item for item in section(pod, "spec").get("volumes") or ()}


def _kind(volume: Mapping[str, Any]) -> str:
    # Without a source, a volume is an emptyDir (Kubernetes API, "Volume").
    return next((key for key in volume if key != "name"), "emptyDir")


def _projected(volume: Mapping[str, Any]) -> bool:
    return _kind(volume) in KINDS


def _left_out(volume: Mapping[str, Any]) -> bool:
    return _kind(volume) == "projected" and str(volume["name"]).startswith(_TOKEN_VOLUME)
