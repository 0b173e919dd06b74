"""`verve windows --follow` beside a live service, against the ids that were sent."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    from tests.conftest import Serve

WINDOWS = 4


def test_it_prints_what_the_service_counts(serve: Serve) -> None:
    service = serve(Server.VERVE, workers=2, window=1)
    command = [sys.executable, "-m", "verve", "windows", "--follow", "--json"]
    with subprocess.Popen(
        [*command, "--state-dir", str(service.state_directory)],
        stdout=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as follower:
        assert follower.stdout is not None
        printed: list[dict[str, Any]] = []
        sent: Counter[int] = Counter()
        try:
            # While it runs: each line is one that it found after the ids were sent.
            while len(sent) < WINDOWS:
                answer = service.get(f"{ACCEPT}?id={sent.total()}&verdict=1")
                sent[int(answer.headers["verve-window"])] += 1
            newest = service.wait_minute(max(sent)).fields["window_start"]
            while not printed or printed[-1]["window_start"] < newest:
                printed.append(json.loads(follower.stdout.readline()))
        finally:
            follower.send_signal(signal.SIGINT)
    assert follower.returncode == 0
    starts = [one["window_start"] for one in printed]
    assert starts == sorted(set(starts))
    listed = {one["window_start"]: one for one in service.windows()}
    assert printed == [listed[start] for start in starts]
    assert sum(one["unique"] for one in printed) == sent.total()
