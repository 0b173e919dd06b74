"""`docs/internals/http-behaviour.md`: the record of what each server makes of the probes.

    python -m tests.support.probes.page

starts each server and writes the page anew. The test reads the cells of its server from the page.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.paths import ROOT
from tests.support.probes.fronts import FRONTS
from tests.support.probes.runner import CLASSES, PROBES, read_all
from tests.support.service import Server, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from tests.support.probes.probe import Probe, Reading
    from tests.support.proxies.front_proxy import FrontProxy

PAGE = ROOT / "docs/internals/http-behaviour.md"
MAX_BODY = 65_536
COLUMNS: Mapping[str, tuple[Server, Sequence[str]]] = {
    "native": (Server.NATIVE, ()),
    "verve serve": (Server.VERVE, ()),
    "Granian, RSGI": (Server.GRANIAN, ()),
    "Granian, ASGI": (Server.GRANIAN_ASGI, ()),
    "uvicorn, httptools": (Server.UVICORN, ("--http", "httptools")),
    "uvicorn, h11": (Server.UVICORN, ("--http", "h11")),
}
"""The columns, each with the server that stands for all of its kind, and its options."""
_FRONTED = "native"
"""The server that the proxies stand before."""
_BEGINNING = """\
# What servers make of malformed requests

`tests/contract/http/test_probes.py` sends {number} requests to each server that can run Verve, each
byte by byte over a connection of its own, with a sound request after it. This page is its record:
`python -m tests.support.probes.page` writes it, and the test fails when a server does something
else.

A request has an id **A**, some hide an id **B** where only a wrong reader finds it, and the request
after it has **C**. A cell shows the statuses of the answers (three stand for three or more equal
ones in a row, 431 also for 414), and the ids that were counted. `waits`: it waits for more.
A cell in bold differs from the column "demanded"; "Deviations" names each rule with its MUST,
SHOULD or MAY. No server counts any **B**.

"Served" means that A is counted, and C too, unless the connection is closed; "refused" means that A
is not; "either" that both are right. The native listener and Granian read heads by `httparse` and
bodies by hyper. uvicorn takes httptools (llhttp) where that is installed, and h11 elsewhere.
The admin address (`VERVE_ADMIN_LISTEN`) has Verve's own listener under each server, and reads as
`verve serve` does.
"""
_DEVIATIONS = """\
## Deviations

What a proxy in front does with such requests is its own affair: the last two columns show what
nginx and HAProxy make of them before the native listener, in bold where they differ from what is
demanded. `tests/contract/http/test_pairs.py` checks that Verve reads what they forward as they do:
the ids that it counts are those of the requests in the bytes between them.
"""


def cells() -> dict[str, dict[str, str]]:
    """The recorded cells, by column and name of the probe."""
    found: dict[str, dict[str, str]] = {name: {} for name in COLUMNS}
    if not PAGE.exists():
        return found
    names = {probe.name for probe in PROBES}
    columns: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        parts = [part.strip() for part in line.strip("| ").split(" | ")]
        if line.startswith("| request |"):
            columns = parts[2:]
        elif line.startswith("|") and parts[0] in names:
            for column, cell in zip(columns, parts[2:], strict=True):
                found.setdefault(column, {})[parts[0]] = cell.replace("**", "")
    return found


def front_column(front: type[FrontProxy]) -> str:
    """The column of a proxy of the version that is installed, before the native listener."""
    return f"{front.program} {front.version()}, {_FRONTED}"


def is_recorded(expected: Mapping[str, str]) -> Callable[[Probe, str], bool]:
    """Whether a cell is the one that `expected` has."""
    return lambda probe, cell: expected.get(probe.name) == cell


def shown(reading: Reading, probe: Probe) -> str:
    """The cell of a reading."""
    return reading.cell if reading.follows(probe.demand) else f"**{reading.cell}**"


def text(read: Mapping[str, Mapping[str, Reading]]) -> str:
    """The page, from the readings by column and name of the probe."""
    lines = [_BEGINNING.format(number=len(PROBES))]
    columns = tuple(read)
    for title, its in CLASSES.items():
        lines.append(f"## {title}\n")
        lines.append(f"| request | demanded | {' | '.join(columns)} |")
        lines.append("|---" * (2 + len(columns)) + "|")
        for probe in its:
            row = [shown(read[column][probe.name], probe) for column in columns]
            lines.append(f"| {probe.name} | {probe.demand.label} | {' | '.join(row)} |")
        lines.append("")
    lines.append(_DEVIATIONS)
    for probe in PROBES:
        servers = [one for one in COLUMNS if not read[one][probe.name].follows(probe.demand)]
        if servers:
            lines.append(f"- {probe.name} (RFC {probe.rule}): {_named(servers)}")
    return "\n".join(lines) + "\n"


def _named(servers: Collection[str]) -> str:
    others = [one for one in COLUMNS if one not in servers]
    if len(others) < 2:
        return f"all but {others[0]}" if others else "all"
    return "; ".join(servers)


def main() -> None:
    """Write the page."""
    read, fronted = {}, {}
    known = cells()
    environment = {"VERVE_MAX_BODY": str(MAX_BODY)}
    for column, (server, arguments) in COLUMNS.items():
        with (
            tempfile.TemporaryDirectory() as directory,
            Service(
                Path(directory), server, window=3600, arguments=arguments, environment=environment
            ) as service,
        ):
            read[column] = read_all(service.port, is_recorded(known[column]))
            for front in FRONTS if column == _FRONTED else ():
                with front(Path(directory, front.program), service.port) as proxy:
                    before = is_recorded(known.get(front_column(front), {}))
                    fronted[front_column(front)] = read_all(proxy.port, before)
    PAGE.write_text(text(read | fronted), encoding="utf-8")


if __name__ == "__main__":
    main()
