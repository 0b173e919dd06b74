"""Malformed requests and attempts to smuggle: each server does what the page records of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.conftest import MAX_BODY
from tests.support.network.ports import free_port
from tests.support.probes import page
from tests.support.probes.runner import PROBES, read_all
from tests.support.service import Server

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.service import Service

_COLUMN = {
    "ASGI, Granian": "Granian, ASGI",
    "ASGI, uvicorn": "uvicorn, httptools",
    "ASGI, uvicorn with h11": "uvicorn, h11",
    "verve serve": "verve serve",
    "native": "native",
}
"""The columns of the kinds of service; all others are of Granian by RSGI."""


@pytest.fixture
def column(request: pytest.FixtureRequest, service: Service) -> str:
    """The column of the service."""
    del service
    return _COLUMN.get(request.node.callspec.params["service"], "Granian, RSGI")


def test_the_probes_are_many_and_each_has_a_name() -> None:
    assert len({probe.name for probe in PROBES}) == len(PROBES) >= 150
    assert MAX_BODY == page.MAX_BODY


def test_each_is_read_as_recorded(service: Service, column: str) -> None:
    _is_read_as_recorded(service.port, column)
    # It goes on.
    assert service.get("/livez").text == "live"


@pytest.mark.parametrize("server", [Server.GRANIAN, Server.UVICORN, Server.NATIVE])
def test_the_admin_address_reads_as_verve_serve(server: Server, serve: Serve) -> None:
    """Verve's own listener is there under each server."""
    port = free_port()
    environment = {"VERVE_MAX_BODY": str(MAX_BODY), "VERVE_ADMIN_LISTEN": f"127.0.0.1:{port}"}
    service = serve(server, window=3600, environment=environment)
    _is_read_as_recorded(port, "verve serve")
    assert service.get("/livez").text == "live"


def _is_read_as_recorded(port: int, column: str) -> None:
    expected = page.cells()[column]
    read = read_all(port, page.is_recorded(expected))
    differ = [
        f"{name}: {reading.cell}, not {expected.get(name)}"
        for name, reading in read.items()
        if reading.cell != expected.get(name)
    ]
    assert not differ, "\n".join(differ)
    hidden = [name for name, reading in read.items() if "B" in reading.counted]
    assert not hidden, hidden


def test_the_page_is_as_the_probes() -> None:
    """Each probe has its row, and no row is left of an earlier one."""
    cells = page.cells()
    for column in page.COLUMNS:
        assert set(cells[column]) == {probe.name for probe in PROBES}
    rows = page.PAGE.read_text(encoding="utf-8").count("\n| ")
    assert rows == len(PROBES) + 6  # the titles of the tables
