"""YAML with positions: plain values, and for each path in them where it stands in the file.

PyYAML's composer keeps a mark per node; its constructor throws them away and lets a duplicate key win
silently. So this module walks the composed nodes itself: duplicates, keys that aren't text and YAML 1.1
surprises are errors with a place, and a value's path (``("spec", "steps", 0, "name")``) leads back to a
line. Every document is read (``---`` in files of manifests).

A file may be hostile or cut off in the middle: how deep it goes and how much its aliases expand to is
limited, so that reading always ends, and with a place.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from multinet.errors import InputError
from scenarios.sources import text_of

YamlPath = tuple[str | int, ...]

DEPTH_LIMIT = 100
"""Levels of lists and mappings; a pod's manifest in a scenario has about fifteen."""
NODE_LIMIT = 200_000
"""Values of one file, aliases expanded; a scenario of a thousand pods has about thirty thousand."""
_PLAIN = (str, int, float, bool, type(None))


class _Loader(yaml.SafeLoader):
    """Dates stay text: Kubernetes has no date type, so `2026-01-01` in an annotation is a string."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class-level table, filtered
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As PyYAML's, with an end before that of Python's stack."""
        if self._depth > DEPTH_LIMIT:
            why = f"it goes more than {DEPTH_LIMIT} levels deep"
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(None, None, why, mark)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        """As editors understand it: ``file:line:column``."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its value, and where keys and values stand."""

    file: str
    value: Any
    keys: dict[YamlPath, Position]
    values: dict[YamlPath, Position]

    def at(self, path: YamlPath, *, key: bool = False) -> Position:
        """Where ``path`` stands: its key (if asked for and there is one) or value, or else what holds it."""
        tables = (self.keys, self.values) if key else (self.values, self.keys)
        while True:
            for table in tables:
                if path in table:
                    return table[path]
            if not path:
                return Position(self.file, 1, 1)
            path = path[:-1]


def read(path: Path, shown: str | None = None) -> list[Document]:
    """All documents of a file; ``InputError`` with ``file:line:column`` when it can't be read as YAML."""
    name = shown or str(path)
    return parse(text_of(path, name), name)


def parse(text: str, name: str) -> list[Document]:
    """All documents of ``text``, empty ones left out."""
    try:
        loader = _Loader(text)
        try:
            walk = _Walk(name, loader)
            documents = []
            while loader.check_node():
                node = loader.get_node()
                if node is not None:
                    documents.append(walk.document(node))
            return documents
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise _bad_yaml(name, error) from error
    except yaml.reader.ReaderError as error:
        raise _bad_character(name, text, error) from error
    except yaml.YAMLError as error:
        raise InputError("this is not YAML", where=name, why=_one_line(str(error))) from error


def _bad_character(name: str, text: str, error: yaml.reader.ReaderError) -> InputError:
    """A character that YAML 1.1 does not allow, such as NUL (section 5.1)."""
    line = text.count("\n", 0, error.position) + 1
    column = error.position - text.rfind("\n", 0, error.position)
    why = f"the character U+{ord(text[error.position]):04X} is not allowed in it"
    hint = "remove it, or write it as an escape in double quotes"
    return InputError("this is not YAML", where=f"{name}:{line}:{column}", why=why, next_step=hint)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _bad_yaml(name: str, error: yaml.MarkedYAMLError) -> InputError:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
    why = ", ".join(part for part in (error.context, error.problem) if part)
    hint = "check the indentation and the quotes of this line and the one above"
    if "\\t" in why or "'\\t'" in why:
        hint = "indent with blanks; YAML does not allow tabs"
    return InputError("this is not YAML", where=where, why=_one_line(why), next_step=hint)


class _Walk:
    """Turns nodes into values, noting positions."""

    def __init__(self, name: str, loader: _Loader) -> None:
        self._name = name
        self._loader = loader
        self._keys: dict[YamlPath, Position] = {}
        self._values: dict[YamlPath, Position] = {}
        self._count = 0

    def document(self, node: yaml.Node) -> Document:
        self._keys, self._values = {}, {}
        value = self._value(node, (), ())
        return Document(self._name, value, self._keys, self._values)

    def _position(self, node: yaml.Node) -> Position:
        mark = node.start_mark
        return Position(self._name, mark.line + 1, mark.column + 1)

    def _value(self, node: yaml.Node, path: YamlPath, above: tuple[yaml.Node, ...]) -> Any:
        self._values[path] = self._position(node)
        if any(node is outer for outer in above):
            raise InputError("an alias contains itself", where=str(self._position(node)))
        self._count += 1
        if self._count > NODE_LIMIT or len(above) > DEPTH_LIMIT:
            why = f"with its aliases expanded it has more than {NODE_LIMIT} values or {DEPTH_LIMIT} levels"
            hint = "write less, or use fewer aliases"
            raise InputError("the file is too big", where=str(self._position(node)), why=why, next_step=hint)
        inner = (*above, node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, inner)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, index), inner) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _scalar(self, node: yaml.Node) -> Any:
        where = str(self._position(node))
        try:
            value = self._loader.construct_object(node, deep=True)
            str(value).encode()
        except (ValueError, LookupError, AttributeError) as error:
            # PyYAML's constructors trust an explicit tag: `!!bool x` is a KeyError in there.
            why = str(error) if isinstance(error, ValueError) else f"it is no {node.tag.rpartition(':')[2]}"
            raise InputError("this value can't be read", where=where, why=why) from error
        if not isinstance(value, _PLAIN):
            why = f"JSON, and so the Kubernetes API, has no {type(value).__name__}"
            raise InputError("this value can't be used", where=where, why=why, next_step="write it as text")
        return value

    def _mapping(
        self, node: yaml.MappingNode, path: YamlPath, above: tuple[yaml.Node, ...]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            where = self._position(key_node)
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:null":
                raise InputError("a key must be text", where=str(where))
            # `on:` and `y:` are booleans in YAML 1.1; as keys they are meant as they are written.
            key = str(key_node.value)
            if key in result:
                first = self._keys[(*path, key)]
                raise InputError(
                    f"the key {key!r} is here twice",
                    where=str(where),
                    why=f"it is also in line {first.line}, and YAML would silently take the last one",
                    next_step="remove or rename one of them",
                )
            self._keys[(*path, key)] = where
            result[key] = self._value(value_node, (*path, key), above)
        return result
