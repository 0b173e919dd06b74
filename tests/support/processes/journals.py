"""What dead threads left in their journals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tests.support.processes.journal import ANSWERED, BEGUN_AT, CALL, HEADER, REASONS, SENT, STAGE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Life:
    """The journal of one thread, after its process has ended.

    `calls` has a row for each answered call: first id, length, number of answers, pairs. `pending`
    is the call without an answer, first id and length; it can have counted only in windows that
    begin at `earliest` or later and at `latest` or before.
    """

    stage: int
    calls: NDArray[np.int64]
    pending: tuple[int, int] | None
    earliest: int
    latest: int

    def refusals(self) -> list[str]:
        """The reasons of the calls that were refused."""
        return [REASONS[-1 - code] for code in self.calls[:, 2] if code < 0]


def read(path: Path, latest: int) -> Life:
    """The journal of a process that was dead before the end of the window `latest`."""
    words = np.fromfile(path, np.int64) if path.exists() else np.zeros(HEADER, np.int64)
    sent, answered = int(words[SENT]), int(words[ANSWERED])
    assert answered <= sent <= answered + 1, "a thread does one call at a time"
    rows = words[HEADER:].reshape(-1, CALL)
    calls = rows[:answered]
    named = calls[calls[:, 2] > 0]
    earliest = int(words[BEGUN_AT])
    if len(named):
        last = named[-1]
        earliest = int(last[1 + 2 * last[2]])
    pending = (int(rows[answered][0]), int(rows[answered][1])) if sent > answered else None
    return Life(int(words[STAGE]), calls.copy(), pending, earliest, latest)
