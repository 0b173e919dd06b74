"""The previous release runs on the files of this one, and beside it in a cluster."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.cluster.hosts import final
from tests.support.paths import ROOT
from tests.support.redis.server import RedisServer
from tests.support.service import ACCEPT, Server
from tests.support.timing import sleep_clear_of_boundary
from tests.support.witnesses import ledger, ledger_path, moment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.service import Service

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]
HOUR = 3600


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program in front of the tests' Python that runs the previous release in its place."""
    script = ROOT / "scripts/previous-release"
    built = subprocess.run([script], check=False, capture_output=True, text=True)
    if built.returncode == 3:
        pytest.skip(built.stderr.strip())
    assert built.returncode == 0, built.stderr
    wheel = f"{built.stdout.strip()}[redis]"
    directory = tmp_path_factory.mktemp("previous")
    subprocess.run([sys.executable, "-m", "venv", directory / "environment"], check=True)
    python = directory / "environment" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
    program = directory / "previous"
    # The first argument is the Python of the tests.
    program.write_text(f'#!/bin/sh\nshift\nexec {python} "$@"\n')
    program.chmod(0o755)
    return str(program)


def _placed(service: Service, id: int) -> tuple[str, int]:
    """Whether the id was new, and the start of its window."""
    answer = service.get(f"{ACCEPT}?id={id}&verdict=1")
    assert answer.text == "ok", answer.headers
    return answer.headers["verve-seen"], int(answer.headers["verve-window"])


@pytest.fixture
def pair(serve: Serve, previous: str) -> Callable[[int], tuple[Service, Service]]:
    """Make this release and the previous one, with windows of some length, on the same files."""

    def make(window: int) -> tuple[Service, Service]:
        newer = serve(Server.VERVE, start=False, workers=2, window=window)
        environment = {"VERVE_STATE_DIR": str(newer.state_directory)}
        older = serve(
            Server.VERVE,
            start=False,
            workers=2,
            window=window,
            segment=newer.segment,
            command=[previous],
            environment=environment,
        )
        return newer, older

    return make


def test_the_open_window_goes_back_and_forth(
    pair: Callable[[int], tuple[Service, Service]],
) -> None:
    sleep_clear_of_boundary(HOUR, 180)
    newer, older = pair(HOUR)
    for turn, service in enumerate((newer, older, newer)):
        service.start()
        for id in range(5 * turn):
            assert _placed(service, id)[0] == "duplicate", id
        for id in range(5 * turn, 5 * turn + 5):
            assert _placed(service, id)[0] == "new", id
        assert service.get("/api/verve/current").json()["unique"] == 5 * turn + 5
        service.stop()
    assert "Traceback" not in older.output() + newer.output()


def test_the_ledger_goes_back_and_forth(pair: Callable[[int], tuple[Service, Service]]) -> None:
    newer, older = pair(4)
    path = ledger_path(newer)
    expected: dict[int, int] = {}
    for service in (newer, older, newer):
        service.start()
        sleep_clear_of_boundary(4, 3)
        [start] = {_placed(service, id)[1] for id in range(3)}
        expected[start] = 3

        def is_stored() -> bool:
            found = {row.window_start: row.unique for row in ledger(path)}
            return expected.items() <= found.items()

        service.wait_until(is_stored, 20, "the windows of both in the ledger")
        shown = {moment(row["window_start"]): row["unique"] for row in service.windows()}
        assert expected.items() <= shown.items()
        service.stop()
    assert "Traceback" not in older.output() + newer.output()


def test_both_count_as_one_cluster(serve: Serve, previous: str, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as redis:
        environment = {"VERVE_REDIS_URL": redis.url, "VERVE_CLUSTER": "mixed"}
        newer = serve(Server.VERVE, workers=1, window=4, environment=environment)
        older = serve(
            Server.VERVE, workers=1, window=4, environment=environment, command=[previous]
        )
        sleep_clear_of_boundary(4, 3)
        windows = {_placed(newer, id)[1] for id in range(6)}
        windows |= {_placed(older, id)[1] for id in range(3, 9)}
        assert len(windows) == 1
        [start] = windows

        def both_agree() -> bool:
            found = [final(host, start).get(start) for host in (newer, older)]
            return [one and (one.unique, one.degraded) for one in found] == [(9, False)] * 2

        newer.wait_until(both_agree, 30, "the count of both on both hosts")
