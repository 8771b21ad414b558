"""Attachments on disk: one file per sandbox, so that an agent which restarts finds its pods again.

A file is written before anything is made in the kernel and removed after everything is gone, each time
atomically; so whatever happens in between, the next agent knows which devices may exist. A damaged file is
set aside, named in the log and does not stop the agent.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from multinet.vrouter.datapath import Attachment, Port

_VERSION = 1
#: What a record has in place of a CNI network when the config API asked for it, not a CNI call.
WORKLOADS = "multinet.opencontrail.org/workloads"
_log = logging.getLogger(__name__)


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


class StateFiles:
    """The records below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def load(self) -> list[Record]:
        """All readable records."""
        found = []
        for path in sorted(self._directory.glob("*.json")):
            try:
                found.append(_decode(path.read_bytes()))
            except (OSError, ValueError, KeyError, TypeError) as error:
                _log.error("%s: damaged, set aside: %r", path, error)
                path.replace(path.with_suffix(".damaged"))
        for leftover in self._directory.glob("*.new"):
            leftover.unlink(missing_ok=True)
        return found

    def store(self, record: Record) -> None:
        """Write or replace a record; ``OSError`` when the directory can't be written."""
        path = self._path(record.attachment.container_id)
        fresh = path.with_suffix(".new")
        fresh.write_bytes(_encode(record))
        fresh.replace(path)

    def remove(self, container_id: str) -> None:
        """Forget a record; one that is not there is fine."""
        self._path(container_id).unlink(missing_ok=True)

    def _path(self, container_id: str) -> Path:
        # A container ID may be longer than a file name.
        short = len(container_id) <= 128
        name = container_id if short else hashlib.sha256(container_id.encode()).hexdigest()
        return self._directory / f"{name}.json"


def _encode(record: Record) -> bytes:
    attachment = record.attachment
    content = {
        "version": _VERSION,
        "containerID": attachment.container_id,
        "netns": attachment.netns,
        "pod": attachment.pod,
        "podUID": attachment.pod_uid,
        "network": record.network,
        "ifname": record.ifname,
        "netnsInode": record.netns_inode,
        "ports": [port.to_spec() for port in attachment.ports],
    }
    return json.dumps(content, indent=1).encode()


def _decode(text: bytes) -> Record:
    content = json.loads(text)
    if content["version"] != _VERSION:
        raise ValueError(f"unknown version {content['version']!r}")
    attachment = Attachment(
        str(content["containerID"]),
        str(content["netns"]),
        str(content["pod"]),
        str(content["podUID"]),
        tuple(Port.from_spec(item) for item in content["ports"]),
    )
    inode = int(content.get("netnsInode", 0))
    return Record(attachment, str(content["network"]), str(content["ifname"]), inode)
