"""Colours of the page in both modes: contrast as WCAG 2.1 asks (1.4.3 text 4.5, 1.4.11 graphics 3)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import reports

CSS = (Path(reports.__file__).parent / "report.css").read_text(encoding="utf-8")
DARK = "@media (prefers-color-scheme: dark)"


def lines(*, dark: bool) -> str:
    return "\n".join(line for line in CSS.splitlines() if line.startswith(DARK) is dark)


def colours(*, dark: bool) -> tuple[dict[str, str], list[str]]:
    named = dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})\b", lines(dark=dark)))
    palette = re.findall(r"\.c\d \{ --c: (#[0-9a-f]{6})", lines(dark=dark))
    return named, palette


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_contrast(dark: bool) -> None:
    named, palette = colours(dark=dark)
    for ground in ("bg", "panel"):
        for text in ("fg", "muted", "pass", "fail", "unknown", "link"):
            assert contrast(named[text], named[ground]) >= 4.5, (text, ground)
        assert len(palette) == 8
        for colour in palette:
            assert contrast(colour, named[ground]) >= 3, (colour, ground)
