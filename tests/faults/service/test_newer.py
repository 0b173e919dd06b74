"""A service that finds files of a newer release refuses them, and says which command to use.

`test_attach.py` has the segment, `tests/unit/cluster/test_spill.py` the spill, and
`tests/faults/cluster/test_damage.py` the protocol between hosts.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support.service import ACCEPT, Server
from tests.support.witnesses import ledger_path

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.service import Service


def _set_version(service: Service, version: int) -> None:
    with closing(sqlite3.connect(ledger_path(service))) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE])
def test_a_newer_ledger_is_refused_and_stays_as_it_is(server: Server, serve: Serve) -> None:
    service = serve(server, workers=1, window=3600)
    service.stop()
    with closing(sqlite3.connect(ledger_path(service))) as connection:
        ours = connection.execute("PRAGMA user_version").fetchone()[0]
    _set_version(service, 99)
    before = ledger_path(service).read_bytes()
    already = len(service.output())
    service.start(ready=False)
    assert service.wait_end() == 1
    said = service.output()[already:]
    service.kill()
    assert f"its version is 99, this Verve knows up to {ours}" in said
    assert "`pip install --upgrade verve-counter`" in said
    assert "`verve serve --state-dir DIRECTORY`" in said
    assert "Traceback" not in said
    assert ledger_path(service).read_bytes() == before

    _set_version(service, ours)
    service.start()
    assert service.get(f"{ACCEPT}?id=1").text == "ok"
