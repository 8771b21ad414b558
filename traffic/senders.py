"""Sending on a named interface, and finding the far end of a veth pair to send controls from.

A control frame must come in on the interface whose capture it proves. For a veth that means sending it on
the peer, which is in another namespace: the kernel names it by ifindex and namespace id, and says for any
namespace that is offered which id it has (RTM_GETNSID), so the match is exact and not a guess by index.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from traffic import netlink, netns
from traffic.capture import close_together, open_sender
from traffic.endpoint import Endpoint, Place


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a veth pair."""

    netns: str
    interface: str
    mac: str


class Senders:
    """One sending socket per namespace path; a context manager. ``failed`` says which could not be opened."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.failed: dict[str, str] = {}
        self._paths = sorted(set(paths))
        self._sockets: dict[str, socket.socket] = {}

    def __enter__(self) -> Senders:
        """Open all sockets."""
        opened = netns.visit({path: path for path in self._paths}, lambda _path: open_sender())
        for path, result in opened.items():
            if isinstance(result, OSError):
                self.failed[path] = result.strerror or str(result)
            else:
                self._sockets[path] = result
        return self

    def __exit__(self, *_: object) -> None:
        """Close all sockets."""
        close_together(self._sockets.values())

    def send(self, path: str, interface: str, frame: bytes) -> str:
        """Send one frame out of one interface; returns why it failed, or an empty string."""
        sock = self._sockets.get(path)
        if sock is None:
            return self.failed.get(path, "no socket in this namespace")
        try:
            sock.sendto(frame, (interface, int.from_bytes(frame[12:14], "big")))
        except OSError as error:
            return error.strerror or str(error)
        return ""


def find_peers(endpoints: Iterable[Endpoint], candidates: Iterable[str]) -> dict[Place, Peer]:
    """The veth peers of ``endpoints`` found in the namespaces at ``candidates`` (paths) or in their own."""
    wanted = [one for one in endpoints if one.kind == "veth" and one.peer_ifindex]
    paths = list(dict.fromkeys([*candidates, *(one.netns for one in wanted)]))
    found_links = netns.visit({path: path for path in paths}, lambda _path: netlink.links())
    by_index = {
        path: {link.ifindex: link for link in result}
        for path, result in found_links.items()
        if not isinstance(result, OSError)
    }
    names = _namespace_ids({one.netns for one in wanted}, list(by_index))
    peers: dict[Place, Peer] = {}
    for endpoint in wanted:
        path = endpoint.netns
        if endpoint.peer_nsid is not None:
            path = names.get(endpoint.netns, {}).get(endpoint.peer_nsid, "")
        link = by_index.get(path, {}).get(endpoint.peer_ifindex)
        if link is not None:
            peers[endpoint.place] = Peer(path, link.name, link.mac)
    return peers


def _namespace_ids(viewers: Iterable[str], candidates: Iterable[str]) -> Mapping[str, dict[int, str]]:
    """For each viewer namespace: the path of the candidate behind each namespace id it knows."""
    fds: dict[str, int] = {}
    try:
        for path in candidates:
            with contextlib.suppress(FileNotFoundError):  # its last process ended meanwhile
                fds[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

        def known(_viewer: str) -> dict[int, str]:
            ids = ((netlink.nsid_of(fd), path) for path, fd in fds.items())
            return {nsid: path for nsid, path in ids if nsid is not None}

        found = netns.visit({path: path for path in viewers}, known)
    finally:
        for fd in fds.values():
            os.close(fd)
    return {path: ids for path, ids in found.items() if not isinstance(ids, OSError)}
