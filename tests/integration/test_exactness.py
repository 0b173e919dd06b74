"""Every count that is published equals the number of distinct ids that the answers placed there."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import records
from tests.support.service import ACCEPT, Server
from tests.support.witnesses import assert_exact, assert_unbroken, moment, settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Serve, StartLoad
    from tests.support.service import Service

MESSAGE = re.compile(r"Unique requests in the last minute: ([0-9]+)\Z")
WINDOWS = 10


@pytest.mark.timeout(300)
@pytest.mark.parametrize("server", [Server.VERVE, Server.GRANIAN, Server.NATIVE])
def test_four_workers_count_what_their_answers_say(
    server: Server, serve: Serve, start_load: StartLoad, scale: Callable[[int], int]
) -> None:
    service = serve(server, workers=4, window=2)
    began = time.time()
    # Most of their ids are the same, so that the two compete for who is first.
    loads = [
        start_load(service, "--connections", "64", "--ids", stream)
        for stream in ("uniform:60000", "zipf:100000:1.05")
    ]
    requests, boundaries = scale(500_000), max(3, scale(WINDOWS))

    def enough() -> bool:
        time.sleep(0.25)
        passed = time.time() // 2 - began // 2
        return passed > boundaries and service.metrics()["verve_ids_total"] >= requests

    service.wait_until(enough, 240, f"{requests} requests over {boundaries} boundaries")
    results = [load.stop() for load in loads]

    assert [result.faults for result in results] == [{}, {}]
    sent = records.load(*(load.out for load in loads))
    assert len(sent.windows()) > boundaries
    counts = settled(service, sent.windows()[-1])
    assert_exact(counts, sent)


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("server", [Server.GRANIAN, Server.GRANIAN_ASGI, Server.UVICORN])
def test_the_log_has_one_line_a_window(server: Server, log_format: str, serve: Serve) -> None:
    service = serve(server, workers=2, window=1, environment={"VERVE_LOG_FORMAT": log_format})
    placed: dict[int, set[int]] = {}
    for number in (1, 2, 2, -3):
        answer = service.get(f"{ACCEPT}?id={number}&verdict=1")
        placed.setdefault(int(answer.headers["verve-window"]), set()).add(number)
    empty = max(placed) + 1
    service.wait_until(lambda: empty + 1 in dict(_lines(service)), 10, "logged an empty window")

    lines = _lines(service)
    starts = [start for start, _ in lines]
    assert starts == sorted(set(starts))
    assert_unbroken(starts, 1)
    assert dict(lines) == {start: len(placed.get(start, ())) for start in starts}


def _lines(service: Service) -> list[tuple[int, int]]:
    """Window start and count of each line of the log that ends in the message, in either format."""
    found = []
    for line in service.output().splitlines():
        fields = json.loads(line) if line.startswith("{") else {"message": line}
        if match := MESSAGE.search(fields["message"]):
            start = fields.get("window_start") or re.findall(r"window_start=(\S+)", line)[0]
            found.append((moment(start), int(match[1])))
    return found
