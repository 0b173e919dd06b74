"""Files of a running service are removed or replaced: it counts on as one, or tells what it lost.

systemd-logind removes shared memory of a user who logs out, cleaners remove what looks old, and
people remove what they do not know.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections import Counter as Tally
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.service import ACCEPT, Server
from tests.support.timing import sleep_into_window

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Serve
    from tests.support.service import Service

IDS = 400
WINDOW = 2


def _remove_all(service: Service) -> None:
    for path in service.segment.parent.glob(f"{service.segment.name}*"):
        path.unlink()


def _remove_segment(service: Service) -> None:
    service.segment.unlink()


def _replace(service: Service) -> None:
    other = service.segment.with_name(f"{service.segment.name}.other")
    shutil.copyfile("/dev/null", other)
    other.chmod(0o600)
    other.replace(service.segment)


def _rename(service: Service) -> None:
    service.segment.rename(service.segment.with_name(f"{service.segment.name}.away"))


def _remove_with_state(service: Service) -> None:
    _remove_all(service)
    shutil.rmtree(service.state_directory)


@pytest.mark.parametrize(
    ("server", "lose"),
    [
        (Server.VERVE, _remove_segment),
        (Server.VERVE, _remove_all),
        (Server.VERVE, _replace),
        (Server.VERVE, _rename),
        (Server.VERVE, _remove_with_state),
        (Server.GRANIAN, _remove_all),
        (Server.UVICORN, _remove_all),
    ],
)
def test_a_lost_segment_does_not_split_a_window(
    serve: Serve, server: Server, lose: Callable[[Service], None]
) -> None:
    respawns = ["--respawn-failed-workers"] if server is Server.GRANIAN else []
    service = serve(server, workers=2, window=WINDOW, arguments=respawns)
    lose(service)
    victim = service.leader()
    os.kill(victim, signal.SIGKILL)
    service.wait_until(lambda: _is_led_again(service, victim, processes=2), 10, "two again")
    sleep_into_window(WINDOW, 0.1)
    windows = Tally(_counted(service, number) for number in range(IDS))
    for window in windows:
        service.wait_minute(window)
    said = Tally((minute.window_start, minute.unique) for minute in service.minutes())
    assert {start: unique for start, unique in said if unique} == dict(windows)
    assert len({start for start, _ in said}) == said.total(), "one line a window"
    assert service.get("/readyz").text.startswith("ready, degraded: segment file removed")
    (told,) = service.wait_until(lambda: service.events("segment.removed"), 5, "told")
    assert (told["level"], told["path"]) == ("error", str(service.segment))


def test_the_segment_outlives_all_workers_and_its_name(serve: Serve) -> None:
    service = serve(Server.VERVE, workers=1, window=86_400)
    assert service.get(f"{ACCEPT}?id=1").text == "ok"
    (victim,) = service.workers()
    _remove_all(service)
    os.kill(victim, signal.SIGKILL)
    service.wait_until(lambda: _is_led_again(service, victim, processes=1), 10, "another worker")
    assert service.get(f"{ACCEPT}?id=1&verdict=1").headers["verve-seen"] == "duplicate"
    assert service.get(f"{ACCEPT}?id=2&verdict=1").headers["verve-seen"] == "new"


def test_two_services_on_one_state_directory(serve: Serve) -> None:
    first = serve(Server.VERVE, workers=1)
    (first.state_directory / "serve.lock").unlink()
    second = serve(
        Server.VERVE,
        start=False,
        workers=1,
        segment=first.segment,
        environment={"VERVE_STATE_DIR": str(first.state_directory)},
    ).start(ready=False)
    assert second.wait_end() == 1
    assert "another `verve serve`" in second.output()
    assert first.get(f"{ACCEPT}?id=1").text == "ok"


def test_a_segment_that_is_gone_with_its_processes_is_reported(serve: Serve) -> None:
    service = serve(Server.GRANIAN, workers=1)
    assert service.get(f"{ACCEPT}?id=1").text == "ok"
    service.kill()
    _remove_all(service)
    service.start()
    (told,) = service.events("segment.lost")
    assert told["level"] == "warning"
    service.restart()
    assert len(service.events("segment.lost")) == 1


def _counted(service: Service, number: int) -> int:
    answer = service.get(f"{ACCEPT}?id={number}&verdict=1")
    assert (answer.text, answer.headers["verve-seen"]) == ("ok", "new")
    return int(answer.headers["verve-window"])


def _is_led_again(service: Service, victim: int, processes: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        metrics = service.metrics()
        leader = int(metrics["verve_leader_process"])
        return leader not in {0, victim} and metrics["verve_processes"] == processes
    return False
