"""The requirement catalogue: every clause as data, in ``conformance/catalogue/*.yaml``.

A row is one claim of a published document, restated in our own words, with what a test needs to know: who
must meet it, since which version, and in which lane it can be observed. Rows name no tests; tests name rows
(``@requirement("NPWG-4.2-a")``), and the two are joined when a report or the catalogue page is made.

Lanes: ``L0`` a binary and an API end point on this machine, ``L1`` the Kubernetes API and a look into the
pod's network namespace, ``L2`` access to the node, ``L3`` special hardware, ``X`` nothing observable.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from conformance.profiles import Feature, Profile, numbers
from multinet.errors import InputError

FOLDER = Path(__file__).with_name("catalogue")
_ID = r"^(NPWG|DI|CNI|EXT|CTRL)-[A-Za-z0-9.]+(-[A-Za-z0-9]+)*$"
_VERSION = r"^\d+(\.\d+)+$"

Version = Annotated[str, Field(pattern=_VERSION)]
Text = Annotated[str, Field(min_length=1)]


class Level(StrEnum):
    """How binding a row is: the document's keyword, or what stands in for one."""

    MUST = "MUST"
    MUST_NOT = "MUST NOT"
    SHOULD = "SHOULD"
    SHOULD_NOT = "SHOULD NOT"
    MAY = "MAY"
    CONSISTENCY = "consistency"
    ROBUSTNESS = "robustness"
    AMBIGUOUS = "ambiguous"
    NOTE = "note"
    NON_GOAL = "non-goal"


class Scope(StrEnum):
    """Whom a row binds."""

    EVERYONE = "everyone"
    DELEGATING = "delegating"
    NON_DELEGATING = "non-delegating"
    OPTIONAL = "optional"
    PLUGIN = "plugin"
    RUNTIME = "runtime"


class Lane(StrEnum):
    """What it takes to observe a row; see the module's text."""

    L0 = "L0"
    L1 = "L1"
    L2 = "L2"
    L3 = "L3"
    X = "X"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Document(_Model):
    """A published document: ``versions`` oldest first; ``source`` is where it is published."""

    id: Text
    title: Text
    versions: tuple[Version, ...] = Field(min_length=1)
    source: Text


class Row(_Model):
    """One requirement.

    ``since`` and ``until`` are the first and last version of the document that has it. ``implied``: it
    follows from a definition or an example and has no keyword. ``statement``: the requirement in our own
    words. ``test``: how it is observed. ``features``: what the target must claim for the row to be demanded.
    ``checked``: versions of the document whose section was read for this row. ``note``: doubts, and where
    text and examples differ. ``untestable``: why no test can decide it, or none does.
    """

    id: Annotated[str, Field(pattern=_ID)]
    section: Text
    since: Version
    until: Version | None = None
    level: Level
    implied: bool = False
    scope: Scope
    profiles: tuple[Profile, ...] = Field(min_length=1)
    lanes: tuple[Lane, ...] = Field(min_length=1)
    features: tuple[Feature, ...] = ()
    statement: Text
    test: str = ""
    checked: tuple[Version, ...] = ()
    note: str = ""
    untestable: str | None = Field(default=None, min_length=1)

    def holds_in(self, version: str) -> bool:
        """Whether that version of the document has it."""
        last = self.until if self.until is not None else version
        return numbers(self.since) <= numbers(version) <= numbers(last)


class _File(_Model):
    document: Document
    rows: tuple[Row, ...]

    @model_validator(mode="after")
    def _versions_exist(self) -> _File:
        known = self.document.versions
        for row in self.rows:
            for version in filter(None, (row.since, row.until, *row.checked)):
                if version not in known:
                    raise ValueError(f"{row.id}: {self.document.id} has no version {version}")
        return self


class Catalogue:
    """All rows, by id, in the order of files and lines."""

    def __init__(self, rows: Mapping[str, Row], documents: Mapping[str, Document]) -> None:
        self.rows = rows
        self.documents = {document.id: document for document in documents.values()}
        self._document_of = documents

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows.values())

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row_id: str) -> Row:
        """One row; ``InputError`` that names near ones where there is none."""
        try:
            return self.rows[row_id]
        except KeyError:
            near = [known for known in self.rows if known.rpartition("-")[0] == row_id.rpartition("-")[0]]
            hint = f"rows of that section: {', '.join(near)}" if near else "see conformance/catalogue/"
            raise InputError(f"no requirement {row_id!r} in the catalogue", next_step=hint) from None

    def document_of(self, row: Row) -> Document:
        """The document a row is from."""
        return self._document_of[row.id]

    def of(self, profiles: Iterable[Profile]) -> Iterator[Row]:
        """Rows of any of these profiles."""
        wanted = set(profiles)
        return (row for row in self if wanted & set(row.profiles))


@functools.cache
def load(folder: Path = FOLDER) -> Catalogue:
    """Read every file of a folder, by name; ``InputError`` names file and row of what is wrong."""
    rows: dict[str, Row] = {}
    documents: dict[str, Document] = {}
    for path in sorted(folder.glob("*.yaml")):
        content = _read(path)
        for row in content.rows:
            if row.id in rows:
                raise InputError(f"two rows are called {row.id}", where=path.name)
            rows[row.id], documents[row.id] = row, content.document
    if not rows:
        raise InputError("the catalogue has no rows", where=str(folder))
    return Catalogue(rows, documents)


def _read(path: Path) -> _File:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except yaml.YAMLError as error:
        raise InputError("not YAML", where=path.name, why=str(error)) from error
    try:
        return _File.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(first["msg"], where=f"{path.name}: {_place(data, first['loc'])}") from error


def _place(data: Any, location: tuple[int | str, ...]) -> str:
    """``NPWG-4.2-a: level`` where the fault is in a row that says its id."""
    match location:
        case ("rows", int(index), *rest):
            row = data["rows"][index]
            name = row.get("id", f"row {index + 1}") if isinstance(row, dict) else f"row {index + 1}"
            return f"{name}: {'.'.join(map(str, rest))}"
    return ".".join(map(str, location))


def sort_key(row_id: str) -> tuple[tuple[int, str], ...]:
    """An order in which ``4.1.2.1.10`` comes after ``4.1.2.1.9``."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"[.-]", row_id))
