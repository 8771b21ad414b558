"""The captures as downloads of the page: inside it as far as they fit, beside it otherwise.

Design note: a page that is mailed or moved loses what lies beside it, so captures travel in it as data:
links. Two limits keep it quick to open and its links working: a budget for all of them, and one for each,
as browsers refuse addresses of more than 2 MiB. Which are embedded depends only on the log and the files,
so the page is the same when derived again.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from reports.model import Capture, RunReport

EMBED_TOTAL_BYTES = 8_000_000
EMBED_FILE_BYTES = 1_500_000
_TYPE = "application/vnd.tcpdump.pcap"


@dataclass(frozen=True, slots=True)
class Download:
    """One capture as the page shows it.

    ``href`` is empty when there is no file; ``note`` says what a reader must know; ``size`` is in bytes,
    None when nothing is known of the file.
    """

    label: str
    name: str
    href: str
    size: int | None
    embedded: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """The downloads of one step."""

    title: str
    downloads: tuple[Download, ...]


def file_name(capture: Capture) -> str:
    """``step-<nn>_<namespace>_<pod>_<interface>.pcap``; no Kubernetes name has a ``_``, so none are equal."""
    step = "no-step" if capture.step is None else f"step-{capture.step + 1:02d}"
    parts = (step, *capture.pod.split("/"), capture.interface)
    return "_".join(re.sub(r"[^A-Za-z0-9.@-]", "-", part) for part in parts) + ".pcap"


def group(report: RunReport, run_dir: Path | None) -> tuple[Group, ...]:
    """The downloads by step, in the order of the steps; ``run_dir`` None: no file is looked at."""
    names = {step.index: f"{step.index + 1}. {step.name}" for step in report.steps}
    ordered = sorted(report.captures, key=lambda item: (_rank(item), item.path))
    titles: dict[str, list[Download]] = {}
    for capture, download in zip(ordered, _downloads(ordered, run_dir), strict=True):
        title = "Outside the steps" if capture.step is None else names.get(capture.step)
        titles.setdefault(title or f"Step {_rank(capture) + 1}", []).append(download)
    return tuple(Group(title, tuple(found)) for title, found in titles.items())


def _rank(capture: Capture) -> int:
    return -1 if capture.step is None else capture.step


def _downloads(captures: Iterable[Capture], run_dir: Path | None) -> list[Download]:
    left, found = EMBED_TOTAL_BYTES, []
    for capture in captures:
        download = _download(capture, run_dir, left)
        left -= (download.size or 0) if download.embedded else 0
        found.append(download)
    return found


def _download(capture: Capture, run_dir: Path | None, left: int) -> Download:
    label, name, beside = f"{capture.pod} {capture.interface}", file_name(capture), quote(capture.path)
    if run_dir is None:
        return Download(label, name, beside, None, False)
    path = (run_dir / capture.path).resolve()
    if not path.is_relative_to(run_dir.resolve()):
        return Download(label, name, "", None, False, f"{capture.path} is not in the run's directory")
    try:
        size = path.stat().st_size
        if size > min(left, EMBED_FILE_BYTES):
            return Download(label, name, beside, size, False, "beside this page only")
        content = path.read_bytes()
    except FileNotFoundError:
        return Download(label, name, "", None, False, f"the file {capture.path} is missing")
    except OSError as error:
        return Download(label, name, "", None, False, f"{capture.path} can't be read: {error.strerror}")
    href = f"data:{_TYPE};base64,{base64.b64encode(content).decode()}"
    return Download(label, name, href, len(content), True)
