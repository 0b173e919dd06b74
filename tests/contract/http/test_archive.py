"""The archive of a service, the same under each server: the ids of each window, and its process."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.archive import contents as archived
from tests.support.service import Server
from tests.support.timing import window_at

if TYPE_CHECKING:
    from tests.conftest import Serve, StartLoad
    from tests.support.service import Service


def writers(service: Service) -> list[int]:
    """The processes that write the archive of a service."""
    found = []
    for process in service.processes():
        # One that ends meanwhile is none.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            line = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
            if b"verve.archive.writer" in line:
                found.append(process)
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "server",
    [Server.VERVE, Server.NATIVE, Server.GRANIAN, Server.GRANIAN_ASGI],
)
def test_all_ids_are_archived(
    server: Server, tmp_path: Path, serve: Serve, start_load: StartLoad
) -> None:
    root = tmp_path / "ids"
    service = serve(
        server,
        workers=2,
        window=1,
        environment={"VERVE_ARCHIVE": str(root), "VERVE_ARCHIVE_RESERVE": "0"},
    )
    load = start_load(service, "--connections", "8", "--ids", "uniform:5000")
    begun = window_at(1)
    service.wait_until(lambda: max(archived.states(root), default=0) > begun + 1, 90, "archived")
    [writer] = writers(service)
    assert os.sched_getscheduler(writer) == os.SCHED_IDLE
    assert os.getpriority(os.PRIO_PROCESS, writer) == 19
    sent = load.stop().records

    archived.assert_whole(service, root, sent)
    assert set(archived.states(root).values()) <= {"archived", "empty", "gap"}
    service.wait_until(
        lambda: service.metrics()['verve_archive_windows_total{state="archived"}'] >= 3,
        60,
        "counted in the metrics",
    )
    found_metrics = service.metrics()
    assert found_metrics["verve_archive_failed_attempts"] == 0
    assert found_metrics['verve_archive_windows_total{state="dropped"}'] == 0
    assert found_metrics["verve_archive_lag_seconds"] >= 0
    assert {event["archive"] for event in service.events("archive.on")} == {str(root)}

    service.stop()
    # Those that ended meanwhile wait in the spool, if the writer did not have the time.
    service.start()
    stopped = window_at(1)
    service.wait_until(lambda: max(archived.states(root)) >= stopped, 90, "going on")
    states = archived.states(root)
    assert sorted(states) == list(range(min(states), max(states) + 1)), "each window is named"
    service.signal(signal.SIGTERM)
    service.wait_end(60)
    service.wait_until(lambda: not writers(service), 60, "without a writer")
