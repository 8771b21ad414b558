"""What a runtime remembers of each attachment between ADD and DEL: configuration, parameters, result.

CNI 1.1.0, section 4 ("Lifecycle & ordering", and CHECK/DEL's prevResult): the result must outlive the
runtime, and DEL must get the parameters of ADD. The files have the form of libcni's cache ("cniCacheV1"),
so its tools can read them. They are replaced atomically. A damaged file counts as absent: a DEL without
prevResult is better than none.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from multinet.model.objects import Obj

_log = logging.getLogger(__name__)
_KIND = "cniCacheV1"


@dataclass(frozen=True, slots=True)
class Attachment:
    """The parameters of one attachment: which container, which namespace (a path), which interface.

    ``args`` become CNI_ARGS in order; ``capability_args`` go to plugins which declare the capability.
    """

    container_id: str
    netns: str
    ifname: str
    args: tuple[tuple[str, str], ...] = ()
    capability_args: Obj = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CachedAttachment:
    """One remembered attachment. ``source`` is the text of the configuration it was made with."""

    network: str
    attachment: Attachment
    source: bytes
    result: Obj | None

    @property
    def identity(self) -> tuple[str, str, str]:
        """Network, container and interface: what tells attachments apart."""
        return self.network, self.attachment.container_id, self.attachment.ifname


@dataclass(frozen=True, slots=True)
class ResultCache:
    """The files below ``directory``/results, one per network, container and interface."""

    directory: Path

    def store(self, cached: CachedAttachment) -> None:
        """Write or replace the file of this attachment; ``OSError`` when that can't be done."""
        held = cached.attachment
        content = {
            "kind": _KIND,
            "containerId": held.container_id,
            "config": base64.b64encode(cached.source).decode(),
            "ifName": held.ifname,
            "networkName": cached.network,
            "netns": held.netns,
            "cniArgs": [list(pair) for pair in held.args],
            "capabilityArgs": held.capability_args,
            "result": cached.result,
        }
        path = self._path(cached.network, held)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.tmp")
        try:
            temporary.write_text(json.dumps(content), encoding="utf-8")
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def load(self, network: str, attachment: Attachment) -> CachedAttachment | None:
        """Return what is remembered of the attachment; None where there is nothing readable."""
        path = self._path(network, attachment)
        found = _read(path)
        # Names hold the separator too: "a-b" with "c" has the file of "a" with "b-c".
        wanted = (network, attachment.container_id, attachment.ifname)
        if found is None or found.identity == wanted:
            return found
        _log.warning("%s: it is of %s, taken as absent", path, " ".join(found.identity))
        return None

    def remove(self, network: str, attachment: Attachment) -> None:
        """Forget the attachment; what can't be removed is only named, the next GC asks for DEL again."""
        path = self._path(network, attachment)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s can't be removed: %s", path, error)

    def entries(self, network: str) -> Iterator[CachedAttachment]:
        """All readable entries of one network."""
        return (found for found in self.all() if found.network == network)

    def all(self) -> Iterator[CachedAttachment]:
        """All readable entries."""
        with contextlib.suppress(FileNotFoundError):
            for path in sorted((self.directory / "results").iterdir()):
                found = None if path.suffix == ".tmp" else _read(path)
                if found is not None:
                    yield found

    def _path(self, network: str, attachment: Attachment) -> Path:
        return self.directory / "results" / f"{network}-{attachment.container_id}-{attachment.ifname}"


def _read(path: Path) -> CachedAttachment | None:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        if content["kind"] != _KIND:
            raise ValueError(f"kind {content['kind']!r}")
        attachment = Attachment(
            container_id=str(content["containerId"]),
            netns=str(content["netns"]),
            ifname=str(content["ifName"]),
            # libcni writes null where there is none of them.
            args=tuple((str(key), str(value)) for key, value in content["cniArgs"] or ()),
            capability_args=dict(content["capabilityArgs"] or {}),
        )
        result = content["result"] if isinstance(content["result"], dict) else None
        source = base64.b64decode(content["config"])
        return CachedAttachment(str(content["networkName"]), attachment, source, result)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        _log.warning("%s: damaged, taken as absent: %r", path, error)
        return None
