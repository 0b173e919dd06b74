"""The printed table of settings: for a terminal, as a TOML file, as Markdown for the docs."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from . import parsers
from .masking import MASK
from .settings import TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .row import Setting
    from .settings import Settings


def _sections() -> Iterator[tuple[str, list[Setting]]]:
    for section, rows in groupby(TABLE.values(), key=lambda row: row.section):
        yield section, list(rows)


def _shown(settings: Settings, row: Setting) -> str:
    value = getattr(settings, row.name)
    if value is None:
        return ""
    return MASK if row.secret else parsers.as_text(value)


def effective(settings: Settings) -> str:
    """Each setting with its value and its source, one per line; secrets are masked."""
    cells = [
        (row.name, _shown(settings, row) or "-", settings.origins[row.name])
        for row in TABLE.values()
    ]
    widths = [max(len(cell[column]) for cell in cells) for column in (0, 1)]
    return "\n".join(f"{n:<{widths[0]}}  {v:<{widths[1]}}  {origin}" for n, v, origin in cells)


def toml(settings: Settings) -> str:
    """A TOML file with these settings; defaults and secrets are commented out."""
    lines: list[str] = []
    for section, rows in _sections():
        lines += ["", f"# {section}"] if lines else [f"# {section}"]
        for row in rows:
            if not row.in_file:
                continue
            value = getattr(settings, row.name)
            plain = isinstance(value, int) and not isinstance(value, bool)
            text = parsers.as_text(value) if plain else _quoted(_shown(settings, row))
            mark = "# " if row.secret or settings.origins[row.name] == "default" else ""
            lines += [f"# {row.help}", f"{mark}{row.name} = {text}"]
    return "\n".join(lines)


def markdown() -> str:
    """The table of settings for the docs."""
    lines = ["| setting | flag | default | meaning |", "|---|---|---|---|"]
    for row in TABLE.values():
        name = f"`{row.variable}`" + (f", `{row.variable}_FILE`" if row.secret else "")
        lines.append(f"| {name} | `{row.flag}` | {row.default_text} | {row.help} |")
    return "\n".join(lines)


def _quoted(value: str) -> str:
    """A TOML string; settings hold printable characters only, so two escapes are enough."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
