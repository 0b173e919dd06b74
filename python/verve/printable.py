"""Escapes untrusted text for a terminal or a log, so that it cannot move the cursor."""

from __future__ import annotations

import unicodedata

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(value: str) -> str:
    """Return `value` with its control, format, surrogate and separator characters escaped."""
    if value.isascii() and value.isprintable():
        return value
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if unicodedata.category(char) in _ESCAPED
        else char
        for char in value
    )


def shortened(value: str, longest: int = 60) -> str:
    """Return `printable(value)`; `...` replaces the part after `longest` characters of `value`."""
    return printable(value) if len(value) <= longest else f"{printable(value[:longest])}..."
