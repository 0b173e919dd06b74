"""`verve serve` runs the installed package, whatever the working directory contains."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.service import ACCEPT, Server
from tests.unit.serving.test_serve_settings import SPAWNING

if TYPE_CHECKING:
    from tests.conftest import Serve

# Modules that the service imports itself, or whose names its parts are looked for by, early and
# late, in the parent and in the workers.
NAMES = (
    "__init__",
    "asyncio",
    "click",
    "granian",
    "hmac",
    "json",
    "multiprocessing",
    "pickle",
    "runpy",
    "sitecustomize",
    "socket",
    "sqlite3",
    "struct",
    "tomllib",
    "uvloop",
    "verve",
)
TRAP = """
import os
with open({note!r}, "a") as file:
    file.write(f"{{__name__}} {{os.getpid()}}\\n")
raise ImportError("a trap")
"""
# `python -m` itself looks for the package, and for what runs it, in the working directory.
SEEN_BY_PYTHON = {"verve", "runpy", "sitecustomize", "__init__"}


def _set_traps(directory: Path, names: set[str]) -> tuple[Path, Path]:
    """A directory of modules that note that they were run, and where they do."""
    traps, note = directory / "traps", directory / "note"
    traps.mkdir()
    for name in names:
        (traps / f"{name}.py").write_text(TRAP.format(note=str(note)))
    note.touch()
    return traps, note


@pytest.mark.parametrize(
    ("form", "interface"),
    [
        ("command", "rsgi"),
        ("command", "asgi"),
        ("-P -m", "rsgi"),
        ("-m", "rsgi"),
        ("spawn", "rsgi"),
    ],
)
def test_nothing_in_the_working_directory_is_run(
    serve: Serve, tmp_path: Path, form: str, interface: str
) -> None:
    (tmp_path / "spawning.py").write_text(SPAWNING)
    python = sys.executable
    start = {
        "command": [str(Path(python).with_name("verve"))],
        "-P -m": [python, "-P", "-m", "verve"],
        "-m": [python, "-m", "verve"],
        "spawn": [python, str(tmp_path / "spawning.py"), python, "-m", "verve"],
    }[form]
    traps, note = _set_traps(tmp_path, set(NAMES) - (SEEN_BY_PYTHON if form == "-m" else set()))
    # In the place of `python -m verve`, which is how the tests start it elsewhere.
    script = f'cd {shlex.quote(str(traps))} && shift 3 && exec {shlex.join(start)} "$@"'
    service = serve(
        Server.VERVE,
        workers=2,
        command=["sh", "-c", script, "sh"],
        arguments=["--interface", interface],
    )
    assert service.get(f"{ACCEPT}?id=7").text == "ok"
    assert service.stop() == 0
    assert note.read_text() == ""
