"""The progress of `verve count`."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def _file(directory: Path) -> Path:
    path = directory / "ids"
    path.write_text("".join(f"{n}\n" for n in range(1_000)))
    return path


def test_progress_is_on_a_terminal_and_ends_without_a_trace(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "verve", "count", str(_file(tmp_path))],
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=True,
    )
    os.close(theirs)
    shown = os.read(ours, 65_536).decode()
    os.close(ours)
    assert done.stdout == b"1000\n"
    assert shown.startswith(("\r0 ids", "\r1,000 ids, 100 %"))
    assert shown.endswith("\r\x1b[K")


def test_there_is_no_progress_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "verve", "count", str(_file(tmp_path))],
        capture_output=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == (b"1000\n", b"")
