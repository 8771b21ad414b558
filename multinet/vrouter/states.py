"""Attachments on disk: one file per sandbox, so that an agent which restarts finds its pods again.

``<container>.partial`` is written before anything is made in the kernel, becomes ``<container>.json`` when
all of it is there, ``.partial`` again before anything is unmade, and is removed when nothing is left. So
whatever happens in between, the next agent knows which attachments stand and which it has to take away; and
a state file is never written where it could be read half. A damaged file does not stop the agent and costs
no pod its network: the devices say whose they are (:mod:`multinet.vrouter.marks`).

Each file has the version of its form. An agent reads older ones, and writes its own only when an attachment
changes, so that one may go back to the agent before. What a newer agent wrote may mean what this one can't
know: it then does not start, and changes nothing.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import orjson

from multinet.errors import NetworkingError
from multinet.vrouter.datapath import Attachment, Device, Port
from multinet.vrouter.marks import short_id

VERSION = 2
"""1: until networks could be routed in the underlay. 2: a network's ``underlayBlocks``."""
_COMPLETE, _PARTIAL, _DAMAGED = ".json", ".partial", ".damaged"
#: What a record has in place of a CNI network when the config API asked for it, not a CNI call.
WORKLOADS = "multinet.opencontrail.org/workloads"
_log = logging.getLogger(__name__)


class StateError(NetworkingError):
    """The state files can't be read, or are not for this agent; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Record:
    """An attachment with the CNI network and interface name it was asked for by (GC needs them).

    ``netns_inode`` is noted for workloads without Kubernetes: 0 as long as they are not attached completely.
    """

    attachment: Attachment
    network: str
    ifname: str
    netns_inode: int = 0

    @property
    def is_workload(self) -> bool:
        """Whether this is a workload without Kubernetes, which no CNI call may touch."""
        return self.network == WORKLOADS


@dataclass(frozen=True, slots=True)
class Loaded:
    """What an earlier agent left on disk.

    ``partial`` are the container IDs (:func:`~multinet.vrouter.marks.short_id`) of attachments it was
    making or unmaking when it ended; ``damaged`` says of each file that can't be read what is wrong with it.
    """

    records: tuple[Record, ...]
    partial: frozenset[str]
    damaged: tuple[str, ...]


class StateFiles:
    """The records below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            self._prepare()
        except OSError as error:
            raise self._unusable(error) from error

    def load(self) -> Loaded:
        """All there is. Damaged files are set aside until :meth:`tidy`.

        ``StateError`` when a newer agent wrote one of them, or the directory can't be used.
        """
        try:
            return self._loaded()
        except OSError as error:
            raise self._unusable(error) from error

    def _loaded(self) -> Loaded:
        records, damaged = [], {}
        for path in sorted(self._directory.glob(f"*{_COMPLETE}")):
            try:
                records.append(_decode(path.read_bytes(), path))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                damaged[path] = f"{path}: {_damage(path, error)}"
        for path in damaged:
            path.replace(path.with_suffix(_DAMAGED))
        partial = frozenset(path.name.removesuffix(_PARTIAL) for path in self._directory.glob(f"*{_PARTIAL}"))
        return Loaded(tuple(records), partial, tuple(damaged.values()))

    def begin(self, record: Record) -> None:
        """Note what is about to be made; ``OSError`` when the directory can't be written."""
        path = self._path(record.attachment.container_id, _PARTIAL)
        try:
            _write(path, record)
        except FileNotFoundError:
            self._prepare()
            _write(path, record)

    def commit(self, record: Record) -> None:
        """What :meth:`begin` noted is made completely; ``OSError`` when that can't be written."""
        container_id = record.attachment.container_id
        try:
            self._path(container_id, _PARTIAL).rename(self._path(container_id, _COMPLETE))
        except FileNotFoundError:
            self.store(record)

    def store(self, record: Record) -> None:
        """Write or replace a complete record; ``OSError`` when the directory can't be written."""
        self.begin(record)
        container_id = record.attachment.container_id
        self._path(container_id, _PARTIAL).replace(self._path(container_id, _COMPLETE))

    def doom(self, container_id: str) -> None:
        """Note that an attachment is about to be unmade; never fails, for that must not wait."""
        try:
            self._path(container_id, _COMPLETE).rename(self._path(container_id, _PARTIAL))
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("container %s is unmade without a note of it: %s", container_id, error)

    def remove(self, container_id: str) -> None:
        """Forget a record; one that is not there is fine."""
        for suffix in (_PARTIAL, _COMPLETE, _DAMAGED):
            self._path(container_id, suffix).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what was set aside: whatever it was about is known again, or gone."""
        for path in self._directory.glob(f"*{_DAMAGED}"):
            path.unlink(missing_ok=True)

    def _unusable(self, error: OSError) -> StateError:
        return StateError(
            "the agent's state files can't be used",
            where=str(error.filename or self._directory),
            why=error.strerror or str(error),
            next_step=f"have {self._directory} be a directory that the agent can read and write, start it "
            "again; running pods keep their network meanwhile",
        )

    def _prepare(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _path(self, container_id: str, suffix: str) -> Path:
        return self._directory / f"{short_id(container_id)}{suffix}"


def _write(path: Path, record: Record) -> None:
    try:
        path.write_bytes(_encode(record))
    except FileNotFoundError:
        raise
    except OSError:
        # Half a note (a full disk) says nothing, and nothing is made yet.
        path.unlink(missing_ok=True)
        raise


def _damage(path: Path, error: Exception) -> str:
    try:
        content = path.read_bytes()
    except OSError:
        return f"it can't be read: {error}"
    if not content.strip(b"\0"):
        return f"it is {'empty' if not content else 'all zeros'}"
    return f"{error!r}; it begins with {content[:80]!r}"


def _encode(record: Record) -> bytes:
    attachment = record.attachment
    content = {
        "version": VERSION,
        "containerID": attachment.container_id,
        "netns": attachment.netns,
        "pod": attachment.pod,
        "podUID": attachment.pod_uid,
        "network": record.network,
        "ifname": record.ifname,
        "netnsInode": record.netns_inode,
        "ports": [port.to_spec() for port in attachment.ports],
        "devices": [device.to_spec() for device in attachment.devices],
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2)


def _decode(text: bytes, path: Path) -> Record:
    content = json.loads(text)
    version = content["version"]
    if type(version) is not int or version < 1:
        raise ValueError(f"unknown version {version!r}")
    if version > VERSION:
        raise StateError(
            f"a newer agent wrote the state of pod {content.get('pod', '')}",
            where=str(path),
            why=f"its version is {version}, and this agent reads versions up to {VERSION}",
            next_step="start that agent again, or a newer one: nothing was changed, running pods keep their "
            "network; or drain the node with it before you start this one",
        )
    attachment = Attachment(
        str(content["containerID"]),
        str(content["netns"]),
        str(content["pod"]),
        str(content["podUID"]),
        tuple(Port.from_spec(item) for item in content["ports"]),
        str(content["network"]),
        tuple(Device.from_spec(item) for item in content.get("devices") or ()),
    )
    inode = int(content.get("netnsInode", 0))
    return Record(attachment, str(content["network"]), str(content["ifname"]), inode)
