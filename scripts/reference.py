"""Writes the generated parts of `docs/reference/` from the code: `scripts/docs write`.

A part stands between two comments of its page. The page of the command line is generated whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from verve import fields
from verve.commands import reference
from verve.config import table
from verve.http import http_reference, metrics_reference
from verve.log import events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FOLDER = Path(__file__).resolve().parent.parent / "docs/reference"
BEGIN, END = "<!-- generated -->\n", "<!-- end of generated -->\n"
PARTS: Mapping[str, Callable[[], str]] = {
    "cli.md": reference.markdown,
    "events.md": events.markdown,
    "fields.md": fields.markdown,
    "http.md": http_reference.markdown,
    "metrics.md": metrics_reference.markdown,
    "settings.md": table.markdown,
}


def renewed(page: str, part: str) -> str:
    """Return the page with this generated part."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{part.strip()}\n\n{END}{after}"


def main() -> None:
    """Write all pages."""
    for name, part in PARTS.items():
        path = FOLDER / name
        page = path.read_text(encoding="utf-8")
        path.write_text(renewed(page, part()), encoding="utf-8")


if __name__ == "__main__":
    main()
