"""The machine and the versions that figures were measured with."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path

from bench.harness import build

CRATES = ("dashmap", "papaya", "scc", "hashbrown", "foldhash")
DISTRIBUTIONS = ("granian", "uvloop", "uvicorn", "fastapi", "socketify", "numpy")


def description() -> dict[str, str]:
    """Return the machine and the versions, by name."""
    return {
        "cpu": _cpu(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "huge pages": _first_line("/sys/kernel/mm/transparent_hugepage/enabled"),
        "verve": f"{_version('verve-counter')}, {_commit()}",
        "rust": _output("rustc", "--version"),
        "go": _output("go", "version").removeprefix("go version "),
        "python": platform.python_version(),
        **{name: _version(name) for name in DISTRIBUTIONS},
        "gin": _module("gin", "gin-gonic/gin"),
        "go-redis": _module("gin", "redis/go-redis/v9"),
        "fasthttp": _module("fasthttp", "valyala/fasthttp"),
        "xsync": _module("fasthttp", "puzpuzpuz/xsync/v4"),
        "redis": _redis(),
        "hyper": _crates(build.HYPER).get("hyper", "unknown"),
        **{name: _crates(build.TABLE).get(name, "unknown") for name in CRATES},
    }


def statsd() -> dict[str, str]:
    """Return the versions of statsd and of what runs it."""
    lock = json.loads((build.BENCH / "peers/statsd/package-lock.json").read_text())
    version = str(lock["packages"]["node_modules/statsd"]["version"])
    return {"statsd": version, "node": _output("node", "--version")}


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().splitlines()[0]
    except (OSError, IndexError):
        return "unknown"


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=build.ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "not installed"
    return done.stdout.strip()


def _commit() -> str:
    """Return the commit, with `changed` when the measured sources differ from it."""
    commit = _output("git", "rev-parse", "--short=12", "HEAD")
    changed = _output("git", "status", "--porcelain", "--", "rust", "python", "Cargo.lock")
    return f"{commit}, changed" if changed else commit


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "not installed"


def _module(peer: str, name: str) -> str:
    text = (build.BENCH / "peers" / peer / "go.mod").read_text()
    found = re.search(rf"github\.com/{re.escape(name)} v(\S+)", text)
    return found.group(1) if found else "unknown"


def _crates(crate: build.Crate) -> dict[str, str]:
    lock = tomllib.loads((crate.folder / "Cargo.lock").read_text())
    return {package["name"]: package["version"] for package in lock["package"]}


def _redis() -> str:
    found = re.search(r"v=(\S+)", _output("redis-server", "--version"))
    return found.group(1) if found else "not installed"
