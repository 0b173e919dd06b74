"""`/api/verve/distinct`: what costs no process."""

from __future__ import annotations

import fcntl
import subprocess
from typing import TYPE_CHECKING

from verve.archive.query import turn
from verve.http import distinct

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_query_beside_that_of_another_worker_starts_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def start(*_: object, **__: object) -> None:
        started.append(1)
        raise OSError(11, "no process")

    monkeypatch.setattr(subprocess, "Popen", start)

    def ask() -> object:
        assert distinct._one_at_a_time.acquire(blocking=False)
        return distinct._run({"state_dir": str(tmp_path)})["kind"]

    assert (ask(), len(started)) == ("failed", 1)
    with (tmp_path / turn.LOCK).open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert (ask(), len(started)) == ("busy", 1)
    assert (ask(), len(started)) == ("failed", 2)
