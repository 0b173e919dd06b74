"""Text from outside, made safe for a terminal or a log: nothing in it moves the cursor."""

from __future__ import annotations

import unicodedata

_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(value: str) -> str:
    """`value` with every control, format and line-separating character escaped."""
    if value.isascii() and value.isprintable():
        return value
    return "".join(
        char.encode("unicode_escape").decode("ascii")
        if unicodedata.category(char) in _ESCAPED
        else char
        for char in value
    )


def shortened(value: str, longest: int = 60) -> str:
    """`printable(value)`, cut after `longest` characters of `value`, with `...` in their place."""
    return printable(value) if len(value) <= longest else f"{printable(value[:longest])}..."
