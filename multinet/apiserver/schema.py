"""Structural schemas of custom resources: defaults, pruning, validation.

Validation is jsonschema's; this module turns its errors into the words a user of Kubernetes knows
(``spec.config: Invalid value: "integer": spec.config in body must be of type string: "integer"``), which
come from go-openapi. ``x-kubernetes-validations`` (CEL) is not evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError

from multinet.apiserver.codec import copied
from multinet.apiserver.errors import FieldError, invalid_value, required, shown, unsupported
from multinet.apiserver.structural import FORMATS, PRESERVE, ROOT, compile_check, compile_known
from multinet.model.objects import Obj

_SHOWN = 80


class Schema:
    """One version's ``openAPIV3Schema``, ready for use. Immutable."""

    def __init__(self, open_api: Obj) -> None:
        self.open_api = open_api
        json_schema = _json_schema(open_api)
        self._surely_valid = compile_check(json_schema)
        self._surely_known = compile_known(open_api, root=True)
        self._fill_in = _compile_default(open_api)
        self._validator = _Validator(json_schema, format_checker=_formats())

    def prune(self, obj: Obj) -> list[str]:
        """Remove the fields the schema doesn't know, in place; return their paths."""
        dropped: list[str] = []
        if self._surely_known(obj):
            return dropped
        _prune(obj, self.open_api, "", dropped, root=True)
        return dropped

    def default(self, obj: Obj) -> None:
        """Fill in the defaults, in place."""
        if self._fill_in is not None:
            self._fill_in(obj)

    def validate(self, obj: Obj) -> list[FieldError]:
        """Return what is wrong, by field."""
        if self._surely_valid(obj):
            return []
        return [finding for error in self._validator.iter_errors(obj) for finding in _findings(error)]

    def mistyped(self, obj: Obj) -> str:
        """Say which fields have another type than the schema says; other faults don't count."""
        if self._surely_valid(obj):
            return ""
        wrong = [error for error in self._validator.iter_errors(obj) if error.validator == "type"]
        return ", ".join(
            f"cannot unmarshal {shown(error.instance)[:_SHOWN]} into {_path(error) or '<nil>'}: "
            f"expected {_wanted(error.validator_value)}"
            for error in wrong
        )


def _prune(value: Any, schema: Obj, path: str, dropped: list[str], root: bool = False) -> None:
    if isinstance(value, list):
        items = schema.get("items")
        for index, item in enumerate(value):
            _prune(item, items or {PRESERVE: True}, f"{path}[{index}]", dropped)
        return
    if not isinstance(value, dict):
        return
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    embedded = root or schema.get("x-kubernetes-embedded-resource")
    for name in list(value):
        below = f"{path}.{name}" if path else name
        if name in properties:
            if not (embedded and name in ROOT):
                _prune(value[name], properties[name], below, dropped)
        elif isinstance(additional, dict):
            _prune(value[name], additional, below, dropped)
        elif not (additional or schema.get(PRESERVE) or (embedded and name in ROOT)):
            del value[name]
            dropped.append(below)


def _compile_default(schema: Obj) -> Callable[[Any], None] | None:
    """What fills in the defaults of a value, in place; None where the schema has none."""
    each = _compile_default(schema["items"]) if schema.get("items") else None
    named: dict[str, Obj] = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    other = _compile_default(additional) if isinstance(additional, dict) else None
    below = {name: fill for name, held in named.items() if (fill := _compile_default(held)) is not None}
    own = [(name, held) for name, held in named.items() if "default" in held]
    if each is None and other is None and not below and not own:
        return None

    def fill_in(value: Any) -> None:
        if isinstance(value, list) and each is not None:
            for item in value:
                each(item)
        if not isinstance(value, dict):
            return
        for name, held in own:
            if name not in value or (value[name] is None and not held.get("nullable", False)):
                value[name] = copied({"": held["default"]})[""]
        for name, fill in below.items():
            if name in value:
                fill(value[name])
        if other is not None:
            for name in value:
                if name not in named:
                    other(value[name])

    return fill_in


def _json_schema(schema: Obj, root: bool = True) -> Obj:
    """Turn a structural schema into JSON Schema: nullable, int-or-string, embedded objects."""
    out: Obj = {}
    for key, value in schema.items():
        if key == "properties":
            out[key] = {name: _json_schema(below, False) for name, below in value.items()}
        elif key in ("items", "additionalProperties", "not") and isinstance(value, dict):
            out[key] = _json_schema(value, False)
        elif key in ("allOf", "anyOf", "oneOf"):
            out[key] = [_json_schema(below, False) for below in value]
        elif key.startswith("exclusive") and value is True:
            bound = "minimum" if key == "exclusiveMinimum" else "maximum"
            out[key] = schema.get(bound)
        elif not key.startswith("x-") and key not in ("default", "nullable", "description", "title"):
            out[key] = value
    if schema.get("x-kubernetes-int-or-string"):
        out["type"] = ["integer", "string"]
    if schema.get("nullable") and "type" in out:
        out["type"] = [*([out["type"]] if isinstance(out["type"], str) else out["type"]), "null"]
        if "enum" in out:
            out["enum"] = [*out["enum"], None]
    if root and "properties" in out:
        out["properties"]["metadata"] = {"type": "object"}
    return out


def _is_integer(_checker: Any, value: Any) -> bool:
    # 1.0 as well: there is one kind of number in JSON.
    whole = isinstance(value, float) and value.is_integer()
    return whole or (isinstance(value, int) and not isinstance(value, bool))


_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def _formats() -> jsonschema.FormatChecker:
    checker = jsonschema.FormatChecker(formats=())
    for name, check in FORMATS.items():
        checker.checks(name, raises=ValueError)(_format_check(check))
    return checker


def _format_check(check: Callable[[str], object]) -> Callable[[object], bool]:
    def holds(value: object) -> bool:
        if isinstance(value, str):
            check(value)
        return True

    return holds


def _findings(error: ValidationError) -> Iterator[FieldError]:
    path = _path(error)
    limit: Any = error.validator_value
    value: Any = error.instance
    if error.validator == "required":
        for name in limit:
            if name not in value:
                yield required(f"{path}.{name}" if path else name)
        return
    yield _finding(error, path, str(error.validator), value, limit)


def _finding(error: ValidationError, path: str, keyword: str, value: Any, limit: Any) -> FieldError:
    place = path or "<nil>"
    if keyword == "type":
        got, wanted = _type_name(value), _wanted(limit)
        return FieldError(
            place,
            "FieldValueTypeInvalid",
            f'Invalid value: "{got}": {path} in body must be of type {wanted}: "{got}"',
        )
    if keyword == "enum":
        return unsupported(place, value, [choice for choice in limit if choice is not None])
    if keyword == "maxLength":
        return FieldError(place, "FieldValueTooLong", f"Too long: may not be more than {limit} bytes")
    if keyword == "maxItems":
        return FieldError(
            place, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {limit} items"
        )
    template = _PHRASES.get(keyword)
    if template is None:
        return invalid_value(place, value, error.message)
    return invalid_value(place, value, template.format(path=path, limit=limit))


_PHRASES: Mapping[str, str] = {
    "pattern": "{path} in body should match '{limit}'",
    "minimum": "{path} in body should be greater than or equal to {limit}",
    "maximum": "{path} in body should be less than or equal to {limit}",
    "exclusiveMinimum": "{path} in body should be greater than {limit}",
    "exclusiveMaximum": "{path} in body should be less than {limit}",
    "multipleOf": "{path} in body should be a multiple of {limit}",
    "minLength": "{path} in body should be at least {limit} chars long",
    "minItems": "{path} in body should have at least {limit} items",
    "minProperties": "{path} in body should have at least {limit} properties",
    "maxProperties": "{path} in body should have at most {limit} properties",
    "uniqueItems": "{path} in body shouldn't contain duplicates",
    "format": "{path} in body must be of type {limit}",
    "anyOf": "{path} in body must validate at least one schema (anyOf)",
    "oneOf": "{path} in body must validate one and only one schema (oneOf)",
    "not": "{path} in body must not validate the schema (not)",
}


def _path(error: ValidationError) -> str:
    path = ""
    for step in error.absolute_path:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else str(step)
    return path


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def _wanted(limit: Any) -> str:
    kinds = [limit] if isinstance(limit, str) else [kind for kind in limit if kind != "null"]
    return ",".join(kinds)
