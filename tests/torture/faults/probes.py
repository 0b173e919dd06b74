"""Whether a component works again. No probe counts an id."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import httpx

from tests.support.service import ACCEPT
from tests.support.witnesses import ledger_path

if TYPE_CHECKING:
    from tests.torture.faults.rig import Host, Rig


def serves(host: Host) -> bool:
    """Whether accepts are answered, all workers are there, and one of them leads."""
    service = host.service
    with contextlib.suppress(httpx.TransportError, KeyError):
        if service.get(ACCEPT, timeout=1).headers["verve-error"] != "id missing":
            return False
        metrics = service.metrics()
        workers = service.workers()
        return (
            len(workers) >= service.worker_count
            and metrics["verve_processes"] >= service.worker_count
            and int(metrics["verve_leader_process"]) in workers
        )
    return False


def publishes(rig: Rig, since: float) -> bool:
    """Whether all ledgers have a complete record of a window that began after `since`."""
    return all(_newest_complete(host) >= since for host in rig.hosts)


def stores(host: Host, since: float) -> bool:
    """Whether the ledger of one host has such a record."""
    return _newest_complete(host) >= since


def _newest_complete(host: Host) -> int:
    path = ledger_path(host.service)
    with contextlib.suppress(sqlite3.OperationalError):
        uri = f"file:{path}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=1)) as connection:
            found = connection.execute("SELECT max(window_start) FROM windows WHERE degraded = 0")
            return int(found.fetchone()[0] or 0)
    return 0


def delivers(rig: Rig, since: float) -> bool:
    """Whether Kafka has a record of a window that began after `since`."""
    assert rig.reader is not None
    messages = rig.reader.messages
    return bool(messages) and max(message.window_start for message in messages[-20:]) >= since


def forwards(rig: Rig) -> bool:
    """Whether the proxy hands requests on."""
    with contextlib.suppress(httpx.TransportError):
        url = f"http://127.0.0.1:{rig.proxy.port}/livez"
        return httpx.get(url, trust_env=False, timeout=1).status_code == httpx.codes.OK
    return False
