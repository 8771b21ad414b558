"""Kubernetes quantities (``100m``, ``1.5Gi``, ``10M``) as exact numbers. Pure."""

from __future__ import annotations

import math
import re
from fractions import Fraction

from multinet.errors import InputError

_FORM = re.compile(r"([+-]?\d*\.?\d*)(?:([eE][+-]?\d+)|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?)")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
# No longer exponent means anything here, and a long one would be computed for hours.
_EXPONENT_MAX = 30


def quantity(text: object, where: str) -> Fraction:
    """The value of a quantity; ``InputError`` when it is none (apimachinery ``resource.Quantity``)."""
    match = _FORM.fullmatch(str(text))
    if match is None or not any(character.isdigit() for character in match[1]):
        raise InputError("not a quantity", where=where, why=repr(text), next_step="such as 100m, 10M or 1Gi")
    number, exponent, suffix = Fraction(_whole(match[1])), match[2], match[3] or ""
    if exponent is not None:
        power = int(exponent[1:])
        if abs(power) > _EXPONENT_MAX:
            raise InputError("the quantity's exponent is too large", where=where, why=repr(text))
        return number * _ten_to(power)
    if suffix in _BINARY:
        return number * Fraction(1024 ** _BINARY[suffix])
    return number * _ten_to(_DECIMAL[suffix])


def _ten_to(power: int) -> Fraction:
    return Fraction(10**power) if power >= 0 else Fraction(1, 10**-power)


def divided(value: Fraction, divisor: Fraction) -> str:
    """``value`` in units of ``divisor``, rounded up, as a ``resourceFieldRef`` gives it."""
    return str(math.ceil(value / divisor))


def _whole(number: str) -> str:
    """``.5`` and ``5.`` in the form that Fraction reads."""
    sign = number[0] if number[0] in "+-" else ""
    digits = number[len(sign) :]
    before, _, after = digits.partition(".")
    return f"{sign}{before or '0'}.{after or '0'}"
