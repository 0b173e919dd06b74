"""Faults around the archive: kills under load, a place that cannot be used, a full disk.

Accepts are answered all the while. What the archive has is what was sent; what it lacks, it names.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.contract.http.test_archive import writers
from tests.support.archive import contents as archived
from tests.support.service import ACCEPT, Server
from tests.support.small_disk import SmallDisk
from tests.support.timing import window_at
from tests.support.witnesses import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.conftest import Serve, StartLoad
    from tests.support.service import Service

LOAD = ("--connections", "16", "--ids", "uniform:20000", "--timeout", "5")


def archive_in(root: Path, **more: str) -> dict[str, str]:
    """The environment of a service with its archive at `root`."""
    return {"VERVE_ARCHIVE": str(root), "VERVE_ARCHIVE_RESERVE": "0", **more}


def end(processes: Iterable[int]) -> None:
    """Kill processes that may have ended."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def end_a_writer(service: Service) -> bool:
    """Kill the writers of the archive; whether the log has a line about a killed one now."""
    before = len(service.events("archive.writer_ended"))
    end(writers(service))
    time.sleep(0.2)
    return len(service.events("archive.writer_ended")) > before


@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE])
def test_kills_of_the_writer_the_leader_and_all(
    server: Server,
    tmp_path: Path,
    serve: Serve,
    start_load: StartLoad,
    scale: Callable[[int], int],
) -> None:
    root = tmp_path / "ids"
    service = serve(server, workers=2, window=1, environment=archive_in(root))
    load = start_load(service, *LOAD)
    generator = random.Random(1)
    for number in range(scale(60)):
        service.wait_until(lambda: writers(service), 90, "writing")
        time.sleep(generator.uniform(0, 0.7))
        if number % 3 == 2:
            service.kill()
            service.start()
            continue
        if number % 3 == 1:
            end([service.leader()])
        else:
            service.wait_until(functools.partial(end_a_writer, service), 90, "a writer that ended")
        service.wait_until(lambda: len(service.workers()) >= 2, 90, "two workers")
    sent = load.stop().records
    archived.assert_whole(service, root, sent)
    assert set(archived.states(root).values()) <= {"archived", "empty", "gap"}
    assert not service.events("archive.dropped")
    service.wait_until(lambda: len(writers(service)) == 1, 60, "down to the leader's writer")


@pytest.mark.timeout(300)
def test_a_restart_takes_up_what_the_spool_has(tmp_path: Path, serve: Serve) -> None:
    blocker = tmp_path / "blocked"
    blocker.touch()
    root = blocker / "ids"
    service = serve(Server.VERVE, workers=2, window=1, environment=archive_in(root))
    begun = window_at(1)
    placed: dict[int, set[int]] = {}
    number = 0
    while window_at(1) < begun + 3:
        answer = service.get(f"{ACCEPT}?id={number}&verdict=1")
        placed.setdefault(int(answer.headers["verve-window"]), set()).add(number)
        number += 1
    service.wait_until(lambda: service.events("archive.delayed"), 60, "delayed")
    service.wait_until(
        lambda: service.metrics()["verve_archive_failed_attempts"] > 0, 60, "in the metrics"
    )
    service.wait_minute(max(placed))
    waiting = service.state_directory / "archive"
    service.wait_until(lambda: len(list(waiting.glob("*.ids"))) > len(placed), 60, "in the spool")
    service.kill()
    blocker.unlink()
    service.start()
    service.wait_until(lambda: max(placed) in archived.states(root), 90, "archived")
    found = archived.ids(root)
    assert {start: found[start] for start in placed} == placed
    service.wait_until(
        lambda: service.metrics()["verve_archive_failed_attempts"] == 0, 60, "well again"
    )


@pytest.mark.timeout(300)
def test_a_full_disk_drops_windows_and_counting_goes_on(tmp_path: Path, serve: Serve) -> None:
    root = tmp_path / "ids"
    with SmallDisk(tmp_path / "disk", 4 << 20) as disk:
        service = serve(
            Server.VERVE,
            workers=2,
            window=1,
            command=disk.command,
            environment=archive_in(root, VERVE_STATE_DIR=str(disk.path)),
        )
        placed: dict[int, set[int]] = {}

        def send(until: Callable[[], object], timeout: float = 150) -> None:
            """Send ids until something holds."""
            end = time.monotonic() + timeout
            while not until():
                assert time.monotonic() < end
                for _ in range(20):
                    number = sum(map(len, placed.values()))
                    answer = service.get(f"{ACCEPT}?id={number}&verdict=1")
                    assert answer.text == "ok"
                    placed.setdefault(int(answer.headers["verve-window"]), set()).add(number)

        send(lambda: len(archived.states(root)) >= 2)
        with disk.filled():
            send(lambda: len(service.events("archive.dropped")) >= 2)
        dropped = {moment(event["window_start"]) for event in service.events("archive.dropped")}
        send(lambda: max(archived.states(root)) > max(dropped) + 8)
        last = max(placed)
        service.wait_until(lambda: last in archived.states(root), 90, "archived to the end")

        found, states = archived.ids(root), archived.states(root)
        dropped = {start for start, state in states.items() if state == "dropped"}
        assert len(dropped) >= 2
        assert {start: found[start] for start in placed if start not in dropped} == {
            start: ids for start, ids in placed.items() if start not in dropped
        }
        reasons = {entry["reason"] for entry in archived.windows(root).values()}
        assert any(re.search("No space|bytes left", str(reason)) for reason in reasons)
        told = {
            moment(window["window_start"])
            for window in service.windows()
            if window.get("archive") == "dropped"
        }
        assert told >= dropped
        metric = 'verve_archive_windows_total{state="dropped"}'
        service.wait_until(lambda: service.metrics()[metric] >= len(dropped), 60, "in the metrics")
        counts = {minute.window_start: minute.unique for minute in service.minutes()}
        assert {start: len(ids) for start, ids in placed.items()}.items() <= counts.items()


@pytest.mark.timeout(300)
def test_without_the_packages_the_start_says_so(tmp_path: Path, serve: Serve) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "from importlib import util\n"
        "real = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'pyarrow' else real(name, *rest)\n"
    )
    service = serve(
        Server.VERVE,
        start=False,
        environment=archive_in(tmp_path / "ids", PYTHONPATH=str(hidden)),
    )
    service.start(ready=False)
    assert service.wait_end() != 0
    assert "pip install 'verve-counter[archive]'" in service.output()
