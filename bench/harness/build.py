"""Builds what a benchmark needs: the load generator, the peers, the table benchmark."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
ROOT = BENCH.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()


class BuildError(RuntimeError):
    """Something could not be built; the compiler has said why."""


class MissingError(RuntimeError):
    """A contender cannot run here: what is missing, and how to get it."""


@dataclass(frozen=True)
class Crate:
    """A program of a crate; `folder` is that of its manifest."""

    folder: Path
    program: str
    kind: str = "bin"
    """Or `example`."""


LOAD = Crate(BENCH / "load", "verve-load")
HYPER = Crate(BENCH / "peers" / "hyper", "peer-hyper")
TABLE = Crate(BENCH / "table", "verve-table")
STORM = Crate(ROOT / "rust" / "callbacks", "storm", "example")


@cache
def program(crate: Crate) -> Path:
    """Build a crate, unless it is built, and give the path of its program."""
    if shutil.which("cargo") is None:
        raise MissingError(
            "cargo is missing; hint: install Rust with rustup, see https://rustup.rs"
        )
    command = ["cargo", "build", "--release", f"--{crate.kind}", crate.program]
    _run([*command, "--message-format", "json-render-diagnostics"], crate)
    # Where cargo puts it depends on the user's settings; cargo itself knows.
    listed = _run([*command, "--quiet", "--message-format", "json"], crate)
    for line in listed.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == crate.program:
            return Path(message["executable"])
    raise BuildError(f"cargo built no program: `{crate.program}`")


def _run(command: list[str], crate: Crate) -> str:
    # Also for the crates with a workspace of their own: one place for all that is built.
    environment = {**os.environ, "CARGO_TARGET_DIR": str(TARGET)}
    done = subprocess.run(
        command, cwd=crate.folder, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise BuildError(f"cargo failed: `{crate.program}`")
    return done.stdout


@cache
def go_program(folder: Path) -> Path:
    """Build a Go module and give the path of its program, which is called as its folder is."""
    if shutil.which("go") is None:
        raise MissingError("Go is missing; hint: install it from https://go.dev/dl")
    path = output_folder() / f"go-{folder.name}"
    command = ["go", "build", "-o", str(path), "."]
    if subprocess.run(command, cwd=folder, check=False).returncode:
        raise BuildError(f"go build failed: `{folder.name}`")
    return path


def redis(port: int) -> list[str]:
    """A Redis that keeps nothing on disk, as one that only remembers for a minute would."""
    if shutil.which("redis-server") is None:
        raise MissingError(
            "redis-server is missing; hint: on Debian and Ubuntu: sudo apt-get install redis-server"
        )
    address = ["--bind", "127.0.0.1", "--port", str(port)]
    return ["redis-server", *address, "--save", "", "--appendonly", "no"]


@cache
def python_module(name: str) -> str:
    """The interpreter that runs this, when it has the module `name`."""
    found = subprocess.run(
        [sys.executable, "-c", f"import {name}"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if found.returncode:
        raise MissingError(f"a Python package is missing: `{name}`; hint: make bench installs it")
    return sys.executable


def output_folder() -> Path:
    """Where programs go that cargo does not place."""
    folder = TARGET / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
