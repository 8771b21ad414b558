"""CNI 1.1.0: GC takes back what belongs to nobody any more, STATUS tells whether ADD can be served."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conformance.cnicall import IFNAME, NETWORK, Caller, Container
from conformance.evidence import Evidence

KEYS = ("cni.dev/valid-attachments", "cni.dev/attachments")


def listed(*kept: Container) -> list[dict[str, str]]:
    """The list of valid attachments."""
    return [{"containerID": each.id, "ifname": IFNAME} for each in kept]


def three(attaching: Caller, containers: Callable[[], Container]) -> list[Container]:
    """Three containers that are attached."""
    made = [containers() for _ in range(3)]
    for each in made:
        assert attaching("ADD", each).result
    return made


@pytest.mark.requirement("CNI-GC-1")
def test_gc(attaching: Caller, containers: Callable[[], Container], evidence: Evidence) -> None:
    first, second, third = three(attaching, containers)
    evidence.case({key: listed(first, second) for key in KEYS}, "the third is released, the others stay")
    done = attaching("GC", config=attaching.config(**{key: listed(first, second) for key in KEYS}))
    evidence.saw(done)
    assert (done.status, done.stdout.strip()) == (0, ""), str(done)
    assert IFNAME in first.links()
    assert IFNAME in second.links()
    assert attaching("ADD", third).result


def files_about(container: Container, folders: tuple[Path, ...]) -> list[Path]:
    """The files in which the plugin keeps an attachment: they have the container's id in them."""
    found = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    return [path for path in found if container.id.encode() in path.read_bytes()]


@contextmanager
def undeletable(files: list[Path]) -> Iterator[None]:
    """As long as each is a mount point the kernel refuses to delete it, also for root."""
    mounted: list[Path] = []
    try:
        for path in files:
            subprocess.run(["mount", "--bind", path, path], check=True, capture_output=True)
            mounted.append(path)
        yield
    finally:
        for path in mounted:
            subprocess.run(["umount", path], check=True, capture_output=True)


@pytest.mark.requirement("CNI-GC-2")
@pytest.mark.parametrize("stuck", range(3))
def test_gc_goes_on_after_an_error(
    attaching: Caller, containers: Callable[[], Container], evidence: Evidence, stuck: int
) -> None:
    made = three(attaching, containers)
    files = files_about(made[stuck], attaching.target.state_dirs)
    if not files:
        evidence.unknown("no file stands for an attachment, so there is none that can be made to stay")
    evidence.case(
        "GC with an empty list; one of three can't be released", "an error; the others are released"
    )
    with undeletable(files):
        done = attaching("GC", config=attaching.config(**{key: [] for key in KEYS}))
    evidence.saw(done)
    assert done.error
    for each in made[:stuck] + made[stuck + 1 :]:
        assert files_about(each, attaching.target.state_dirs) == [], "it was left, as it came after the error"
        assert attaching("ADD", each).result


@pytest.mark.requirement("CNI-GC-4")
@pytest.mark.parametrize("keys", [KEYS[:1], KEYS[1:], KEYS, ()], ids=["main", "tag", "both", "neither"])
def test_the_key_of_gc(
    attaching: Caller, containers: Callable[[], Container], evidence: Evidence, keys: tuple[str, ...]
) -> None:
    kept, lost, _ = three(attaching, containers)
    evidence.case({key: listed(kept) for key in keys}, "recorded; what is listed must stay")
    done = attaching("GC", config=attaching.config(**{key: listed(kept) for key in keys}))
    assert IFNAME in kept.links(), f"an attachment that is valid was taken down: {done}"
    released = IFNAME not in lost.links()
    evidence.ambiguous(f"status {done.status}, others {'released' if released else 'kept'}: {done}")


@pytest.mark.requirement("CNI-GC-5")
def test_gc_of_another_network(
    attaching: Caller, containers: Callable[[], Container], evidence: Evidence
) -> None:
    kept = three(attaching, containers)
    config = attaching.config(name=f"{NETWORK}-other", **{key: [] for key in KEYS})
    evidence.case(config, "all attachments of this network stay")
    done = attaching("GC", config=config)
    evidence.saw(done)
    assert all(IFNAME in each.links() for each in kept)


@pytest.mark.requirement("CNI-ST-1", "CNI-ST-2")
def test_status(attaching: Caller, container: Container, evidence: Evidence) -> None:
    evidence.case("STATUS, then ADD", "STATUS succeeds exactly if ADD does; else its code is 50 or 51")
    done = attaching("STATUS")
    added = attaching("ADD", container)
    evidence.saw(f"STATUS {done}; ADD {added}")
    assert (done.status == 0) == (added.status == 0)
    if done.status != 0:
        assert done.code in (50, 51)
