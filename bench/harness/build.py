"""Builds the programs of the benchmark: the load generator, the peers, the table benchmark."""

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
    """A program could not be built. The compiler has printed why."""


class MissingError(RuntimeError):
    """A contender cannot run here. The message names what is missing and how to install it."""


@dataclass(frozen=True)
class Crate:
    """A program of a crate; `folder` holds the manifest of the crate."""

    folder: Path
    program: str
    kind: str = "bin"
    """`bin` or `example`."""


LOAD = Crate(BENCH / "load", "verve-load")
HYPER = Crate(BENCH / "peers" / "hyper", "peer-hyper")
EPOLL = Crate(BENCH / "peers" / "epoll", "peer-epoll")
TABLE = Crate(BENCH / "table", "verve-table")
STORM = Crate(ROOT / "rust" / "callbacks", "storm", "example")


@cache
def program(crate: Crate) -> Path:
    """Build a crate, unless it is built, and return the path of its program."""
    if shutil.which("cargo") is None:
        raise MissingError(
            "cargo is missing; hint: install Rust with rustup, see https://rustup.rs"
        )
    command = ["cargo", "build", "--release", f"--{crate.kind}", crate.program]
    _run([*command, "--message-format", "json-render-diagnostics"], crate)
    # The path depends on the user's settings of cargo, so cargo is asked for it.
    listed = _run([*command, "--quiet", "--message-format", "json"], crate)
    for line in listed.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == crate.program:
            return Path(message["executable"])
    raise BuildError(f"cargo built no program: `{crate.program}`")


def _run(command: list[str], crate: Crate) -> str:
    # One target directory for all crates, those with a workspace of their own included.
    environment = {**os.environ, "CARGO_TARGET_DIR": str(TARGET)}
    done = subprocess.run(
        command, cwd=crate.folder, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise BuildError(f"cargo failed: `{crate.program}`")
    return done.stdout


@cache
def go_program(folder: Path) -> Path:
    """Build a Go module and return the path of its program, named after its folder."""
    if shutil.which("go") is None:
        raise MissingError("Go is missing; hint: install it from https://go.dev/dl")
    path = output_folder() / f"go-{folder.name}"
    command = ["go", "build", "-o", str(path), "."]
    if subprocess.run(command, cwd=folder, check=False).returncode:
        raise BuildError(f"go build failed: `{folder.name}`")
    return path


@cache
def npm_package(folder: Path, program: str) -> Path:
    """Install what the lock file in a folder pins, and return the path of one of its programs."""
    if shutil.which("npm") is None:
        raise MissingError("npm is missing; hint: install Node.js 18 or later, with npm")
    target = output_folder() / f"npm-{folder.name}"
    target.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(folder / name, target)
    # What is optional is of no use here, and part of it needs a compiler.
    command = ["npm", "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]
    if subprocess.run(command, cwd=target, stdout=subprocess.DEVNULL, check=False).returncode:
        raise BuildError(f"npm ci failed: `{folder.name}`")
    return target / "node_modules" / program


def redis(port: int) -> list[str]:
    """Return the command of a Redis that keeps nothing on disk."""
    if shutil.which("redis-server") is None:
        raise MissingError(
            "redis-server is missing; hint: on Debian and Ubuntu: sudo apt-get install redis-server"
        )
    address = ["--bind", "127.0.0.1", "--port", str(port)]
    return ["redis-server", *address, "--save", "", "--appendonly", "no"]


@cache
def python_module(name: str) -> str:
    """Return the path of this interpreter, if it has the module `name`."""
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
    """Return the folder of the programs that cargo does not build."""
    folder = TARGET / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
