"""Label selectors as objects carry them (``matchLabels``, ``matchExpressions``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multinet.errors import InputError

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label; ``operator`` is In, NotIn, Exists or DoesNotExist."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels meet it; NotIn is met by a label that is absent."""
        if self.operator == "Exists":
            return self.key in labels
        if self.operator == "DoesNotExist":
            return self.key not in labels
        return (labels.get(self.key) in self.values) is (self.operator == "In")


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All of its requirements must be met; without any it selects everything."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def of(cls, spec: Any, where: str) -> LabelSelector:
        """Read a selector; ``InputError`` names what is wrong below ``where``."""
        if not isinstance(spec, Mapping):
            raise _wrong(where, "a selector is a map", spec)
        labels, expressions = spec.get("matchLabels") or {}, spec.get("matchExpressions") or ()
        if not isinstance(labels, Mapping):
            raise _wrong(f"{where}.matchLabels", "it is a map of texts", labels)
        found = [Requirement(str(key), "In", frozenset([str(value)])) for key, value in labels.items()]
        if not isinstance(expressions, list | tuple):
            raise _wrong(f"{where}.matchExpressions", "it is a list", expressions)
        for position, item in enumerate(expressions):
            found.append(_requirement(item, f"{where}.matchExpressions[{position}]"))
        return cls(tuple(found))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether it selects something with these labels."""
        return all(requirement.matches(labels) for requirement in self.requirements)


def _requirement(item: Any, where: str) -> Requirement:
    if not isinstance(item, Mapping) or not isinstance(item.get("key"), str):
        raise _wrong(where, "it needs a key", item)
    operator, values = item.get("operator"), item.get("values") or ()
    if operator not in _OPERATORS:
        raise _wrong(f"{where}.operator", f"it is one of {', '.join(_OPERATORS)}", operator)
    if not isinstance(values, list | tuple) or bool(values) is not (operator in ("In", "NotIn")):
        raise _wrong(f"{where}.values", "In and NotIn need values, the others have none", values)
    return Requirement(item["key"], operator, frozenset(map(str, values)))


def _wrong(where: str, why: str, found: Any) -> InputError:
    return InputError("a label selector can't be read", where=where, why=f"{why}, not {found!r}"[:200])
