"""What a container sees at its mount paths: a plan of mount steps, done by the sandbox helper.

A container without volumes sees the file system of its node. One with volumes gets a root of its own: a
memory file system in which each entry of the node's root is bound, except where a mount path needs a
directory that the node does not have; there the directory is made anew, level by level, from binds of what
the node's has. So nothing is ever created on the machine's own file system. The price: what appears later in
such a remade directory of the node is not seen by the container.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Step = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Mount:
    """``source`` (a directory or a file) appears at ``target``, an absolute path in the container."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(slots=True)
class _Point:
    """A directory on the way to mount paths; ``mount`` is what is mounted right there."""

    mount: Mount | None = None
    below: dict[str, _Point] = field(default_factory=dict)


def plan(root: Path, mounts: Sequence[Mount]) -> tuple[Step, ...]:
    """The steps that make ``root``, an empty directory, the container's root with ``mounts`` in it."""
    top = _Point()
    for mount in mounts:
        point = top
        # What is a link on the node is one in the container: the mount goes where it leads.
        for name in Path(os.path.realpath(mount.target)).parts[1:]:
            point = point.below.setdefault(name, _Point())
        point.mount = mount
    steps: list[Step] = [("tmpfs", str(root), "-")]
    steps += _contents(Path("/"), root, top, skip=root)
    return (*steps, ("root", str(root), "-"))


def write(steps: Iterable[Step], path: Path) -> None:
    """Write the file that ``pause run --mounts`` reads."""
    path.write_bytes(b"".join(os.fsencode(text) + b"\0" for step in steps for text in step))


def _contents(there: Path, here: Path, point: _Point, *, skip: Path) -> Iterator[Step]:
    """Fill the new directory ``here`` with what the node has at ``there`` and with the mounts below it."""
    for entry in _entries(there):
        if entry.name not in point.below and Path(entry.path) != skip:
            yield from _same(entry, here / entry.name)
    for name, below in sorted(point.below.items()):
        yield from _point(there / name, here / name, below, skip=skip)


def _same(entry: os.DirEntry[str], here: Path) -> Iterator[Step]:
    if entry.is_symlink():
        yield ("link", str(Path(entry.path).readlink()), str(here))
        return
    yield ("dir" if entry.is_dir() else "file", str(here), "-")
    yield ("same", entry.path, str(here))


def _point(there: Path, here: Path, point: _Point, *, skip: Path) -> Iterator[Step]:
    if point.mount is not None:
        yield from _volume(here, point.mount, point)
        return
    yield ("dir", str(here), "-")
    if _complete(there, point):
        yield ("same", str(there), str(here))
        for name, below in sorted(point.below.items()):
            yield from _over(here / name, below)
        return
    yield from _contents(there, here, point, skip=skip)


def _volume(here: Path, mount: Mount, point: _Point) -> Iterator[Step]:
    yield ("dir" if mount.source.is_dir() else "file", str(here), "-")
    yield ("bind", str(mount.source), str(here))
    # A mount path inside a volume is made in the volume, as container runtimes do.
    for name, below in sorted(point.below.items()):
        yield from _over(here / name, below)
    if mount.read_only:
        yield ("ro", str(here), "-")


def _over(here: Path, point: _Point) -> Iterator[Step]:
    """Mounts in what is mounted as it is."""
    if point.mount is not None:
        yield from _volume(here, point.mount, point)
        return
    yield ("dir", str(here), "-")
    for name, below in sorted(point.below.items()):
        yield from _over(here / name, below)


def _complete(there: Path, point: _Point) -> bool:
    """Whether the node's directory has all that the mount paths below it need."""
    if not there.is_dir():
        return False
    for name, below in point.below.items():
        if below.mount is not None:
            if not (there / name).exists():
                return False
        elif not _complete(there / name, below):
            return False
    return True


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError:  # there is none on the node, or nobody may look into it
        return []
