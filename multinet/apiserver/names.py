"""The rules for names, labels and annotations, with the words Kubernetes uses when one is broken.

Each ``dns_*`` function returns the reason why a name is wrong, or "". Source: apimachinery
``pkg/util/validation`` (RFC 1123, RFC 1035).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from multinet.apiserver.errors import FieldError, invalid_value

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = rf"({_QUALIFIED})?"
_label = re.compile(_LABEL)
_subdomain = re.compile(_SUBDOMAIN)
_label_1035 = re.compile(_LABEL_1035)
_qualified = re.compile(_QUALIFIED)
_value = re.compile(_VALUE)
ANNOTATIONS_LIMIT = 256 * 1024
# The same few names and keys come with every write.
_remembered = functools.lru_cache(maxsize=4096)


@_remembered
def dns_subdomain(name: str) -> str:
    """RFC 1123 subdomain, at most 253 characters."""
    return _wrong(
        name,
        253,
        _subdomain,
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
        "must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation "
        "is '%s')",
    )


def dns_label(name: str) -> str:
    """RFC 1123 label, at most 63 characters."""
    return _wrong(
        name,
        63,
        _label,
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
        "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
        "validation is '%s')",
    )


def dns_1035_label(name: str) -> str:
    """RFC 1035 label, at most 63 characters (services)."""
    return _wrong(
        name,
        63,
        _label_1035,
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
        "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex "
        "used for validation is '%s')",
    )


@_remembered
def label_value(value: str) -> str:
    """A label's value: at most 63 characters, may be empty."""
    return _wrong(
        value,
        63,
        _value,
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
        "must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', "
        "regex used for validation is '%s')",
    )


def _wrong(text: str, limit: int, form: re.Pattern[str], rule: str) -> str:
    """``rule`` says what a text must be like, with ``%s`` for the expression."""
    if len(text) > limit:
        return f"must be no more than {limit} characters"
    return "" if form.fullmatch(text) else rule % form.pattern


@_remembered
def qualified_name(key: str) -> str:
    """A label or annotation key: ``[prefix/]name``."""
    prefix, slash, name = key.rpartition("/")
    if slash:
        if not prefix:
            return "prefix part must be non-empty"
        if wrong := dns_subdomain(prefix):
            return f"prefix part {wrong}"
    if not name:
        return "name part must be non-empty"
    wrong = _wrong(
        name,
        63,
        _qualified,
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
        "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
        "'%s')",
    )
    return f"name part {wrong}" if wrong else ""


def label_findings(labels: Mapping[str, Any]) -> Iterator[FieldError]:
    """Yield what is wrong with ``metadata.labels``."""
    for key, value in labels.items():
        if wrong := qualified_name(key):
            yield invalid_value("metadata.labels", key, wrong)
        if wrong := label_value(value):
            yield invalid_value("metadata.labels", value, wrong)


def annotation_findings(annotations: Mapping[str, Any]) -> Iterator[FieldError]:
    """Yield what is wrong with ``metadata.annotations`` (keys count in lower case)."""
    size = 0
    for key, value in annotations.items():
        size += len(key) + len(value)
        if wrong := qualified_name(key.lower()):
            yield invalid_value("metadata.annotations", key, wrong)
    if size > ANNOTATIONS_LIMIT:
        yield FieldError(
            "metadata.annotations",
            "FieldValueTooLong",
            f"Too long: may not be more than {ANNOTATIONS_LIMIT} bytes",
        )
