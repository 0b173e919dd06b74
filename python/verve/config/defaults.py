"""The defaults that depend on the host or on other settings."""

from __future__ import annotations

import os
import socket
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import parsers

if TYPE_CHECKING:
    from collections.abc import Mapping


def state_dir(_values: Mapping[str, Any], environ: Mapping[str, str]) -> Path:
    """The directory that systemd names, `/var/lib/verve` for root, or the user's own.

    Raises `BadValue` for a user without a home directory.
    """
    if given := environ.get("STATE_DIRECTORY"):
        # systemd lists all directories of the unit, and Verve's is the first.
        return parsers.path(given.split(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/verve")
    base = environ.get("XDG_STATE_HOME", "")
    return parsers.path(base if base.startswith("/") else "~/.local/state") / "verve"


def segment(values: Mapping[str, Any], _environ: Mapping[str, str]) -> Path:
    """A path in shared memory that is unique per user and state directory."""
    directory = os.fsencode(os.path.realpath(values["state_dir"]))
    name = f"verve-{os.geteuid()}-{blake2b(directory, digest_size=8).hexdigest()}"
    shared_memory = Path("/dev/shm")  # noqa: S108 - named by owner and directory, created with care
    return (shared_memory if shared_memory.is_dir() else Path(tempfile.gettempdir())) / name


def sinks(values: Mapping[str, Any], _environ: Mapping[str, str]) -> tuple[str, ...]:
    """Kafka if it is configured, else the log."""
    return ("kafka",) if values["kafka_brokers"] else ("log",)


def source(values: Mapping[str, Any], _environ: Mapping[str, str]) -> str:
    """The name of the cluster if there is one, else the hostname."""
    return values["cluster"] or socket.gethostname()


def cluster_grace(values: Mapping[str, Any], _environ: Mapping[str, str]) -> int:
    """A quarter of the length of a window in seconds, at least 1 and at most 5."""
    return min(5, max(1, int(values["window"]) // 4))
