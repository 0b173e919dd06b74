"""What `verve size` says of processes, held against those of a real service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.service import ACCEPT, Server
from verve.commands.size import WORKER_BYTES

if TYPE_CHECKING:
    from tests.conftest import Serve


def resident_bytes(process: int) -> int:
    """Memory of a process without shared memory: pages of a segment are that."""
    text = Path(f"/proc/{process}/status").read_text()
    return sum(map(int, re.findall(r"^Rss(?:Anon|File):\s+(\d+) kB$", text, re.MULTILINE))) * 1024


@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE])
def test_a_process_takes_at_most_what_is_told_and_not_far_less(
    server: Server, serve: Serve
) -> None:
    service = serve(server, workers=2)
    for number in range(200):
        service.get(f"{ACCEPT}?id={number}")
    taken = [resident_bytes(process) for process in service.processes()]
    # The rest is for the clients of Redis and Kafka, for connections and for bodies.
    assert 0.4 * WORKER_BYTES < max(taken) < WORKER_BYTES
