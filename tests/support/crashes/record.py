"""The file calls of a process in order, as a preloaded library records them.

    calls = recorded(tmp_path, SCRIPT)

The script gets the directory as its argument. It calls `mark(text)` after each promise.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

_SOURCE = ROOT / "tests/support/native/recorder.c"
MARKS = "marks"
_BEGIN = f"""
import os, sys
from pathlib import Path
directory = Path(sys.argv[1])
_marks = os.open(directory / "{MARKS}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def mark(text):
    os.write(_marks, str(text).encode())
"""


@dataclass(frozen=True, slots=True)
class Call:
    """One call: of a mark, `data` is its text; of a rename, the new name."""

    kind: str
    name: str
    number: int
    data: bytes


def recorded(directory: Path, script: str) -> list[Call]:
    """The calls of a Python script that ends with status 0."""
    library, record, own = (directory / name for name in ("recorder.so", "record", "recorded"))
    own.mkdir()
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, _SOURCE], check=True)
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN + script, own],
        env={
            **os.environ,
            "LD_PRELOAD": str(library),
            "VERVE_TEST_RECORDED": str(own),
            "VERVE_TEST_RECORD": str(record),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return list(_calls(record.read_bytes()))


def _calls(record: bytes) -> list[Call]:
    found = []
    at = 0
    while at < len(record):
        end = record.index(b"\n", at)
        kind, name, number, length = record[at:end].decode().split("\t")
        at = end + 1 + int(length)
        data = record[end + 1 : at]
        if name == MARKS:
            if kind == "write":
                found.append(Call("mark", name, 0, data))
            continue
        found.append(Call(kind, name, int(number), data))
    return found
