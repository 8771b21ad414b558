"""Strategic merge patch: lists that merge by a key, and the ``$`` directives.

Source: community ``sig-api-machinery/strategic-merge-patch.md`` and apimachinery ``pkg/util/strategicpatch``.
Which lists merge, and by what, is data: the :class:`~multinet.apiserver.resources.Merge` tree of a type.
"""

from __future__ import annotations

from typing import Any

from multinet.apiserver.errors import bad_request, expect
from multinet.apiserver.resources import Merge
from multinet.model.objects import Obj

_PATCH = "$patch"
_ORDER = "$setElementOrder/"
_DELETE_PRIMITIVE = "$deleteFromPrimitiveList/"
_RETAIN = "$retainKeys"
_PLAIN = Merge()


def strategic_merge(tree: Any, patch: Obj, rule: Merge = _PLAIN) -> Obj:
    """Return ``tree`` with ``patch`` applied."""
    directive = patch.get(_PATCH)
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != _PATCH}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"Unknown patch type: {directive}")
    merged: Obj = dict(tree) if isinstance(tree, dict) else {}
    for name, value in patch.items():
        if name == _RETAIN or name.startswith((_ORDER, _DELETE_PRIMITIVE)):
            expect(value, list, name)
    if _RETAIN in patch:
        kept = patch[_RETAIN]
        merged = {name: value for name, value in merged.items() if name in kept}
    for name, value in patch.items():
        if not name.startswith("$"):
            _merge_field(merged, name, value, rule.fields.get(name, _PLAIN))
    for name, value in patch.items():
        if name.startswith(_DELETE_PRIMITIVE):
            field = name.removeprefix(_DELETE_PRIMITIVE)
            merged[field] = [item for item in merged.get(field) or [] if item not in value]
    for name, value in patch.items():
        if name.startswith(_ORDER):
            field = name.removeprefix(_ORDER)
            if isinstance(merged.get(field), list):
                merged[field] = _ordered(merged[field], value, rule.fields.get(field, _PLAIN).key)
    return merged


def _merge_field(merged: Obj, name: str, value: Any, rule: Merge) -> None:
    if value is None:
        merged.pop(name, None)
    elif isinstance(value, dict):
        merged[name] = strategic_merge(merged.get(name), value, rule)
    elif isinstance(value, list) and rule.primitive:
        held = merged.get(name) or []
        merged[name] = held + [item for item in value if item not in held]
    elif isinstance(value, list) and rule.key:
        merged[name] = _merge_list(merged.get(name) or [], value, rule)
    else:
        merged[name] = value


def _merge_list(held: list[Any], patch: list[Any], rule: Merge) -> list[Any]:
    if any(isinstance(item, dict) and item.get(_PATCH) == "replace" for item in patch):
        return [item for item in patch if _PATCH not in item]
    merged = list(held)
    for item in patch:
        if not isinstance(item, dict) or rule.key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {rule.key}")
        at = _index(merged, rule.key, item[rule.key])
        if item.get(_PATCH) == "delete":
            if at is not None:
                del merged[at]
        elif at is None:
            merged.append(strategic_merge({}, item, rule))
        else:
            merged[at] = strategic_merge(merged[at], item, rule)
    return merged


def _index(items: list[Any], key: str, value: Any) -> int | None:
    return next(
        (i for i, item in enumerate(items) if isinstance(item, dict) and item.get(key) == value), None
    )


def _ordered(items: list[Any], order: list[Any], key: str) -> list[Any]:
    """Put the items the patch names in its order; others keep their place after the one they followed."""
    wanted = [one.get(key) if isinstance(one, dict) else one for one in order]
    identities = [item.get(key) if key and isinstance(item, dict) else item for item in items]
    named = sorted(
        (i for i, identity in enumerate(identities) if identity in wanted),
        key=lambda i: wanted.index(identities[i]),
    )
    result: list[Any] = []
    queue = iter(named)
    for i, identity in enumerate(identities):
        result.append(items[next(queue)] if identity in wanted else items[i])
    return result
