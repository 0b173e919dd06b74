"""Status files: small JSON files in the state directory that one process writes for others."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import stat
import threading
import time
from typing import TYPE_CHECKING, Any

from verve.log import skipped

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MOST_BYTES = 1 << 16
_LARGEST = 2**63
_LEFT_SECONDS = 60


def write_status(path: Path, values: Mapping[str, object]) -> None:
    """Replace the file atomically: a reader sees the old or the new file. Raises `OSError`."""
    new = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(values, file)
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def remove_leftovers(path: Path) -> None:
    """Remove temporary files older than 60 seconds: killed processes did not finish them."""
    form = re.compile(rf"{re.escape(path.name)}\.[0-9]+\.[0-9]+")
    with contextlib.suppress(OSError):
        for one in path.parent.iterdir():
            if form.fullmatch(one.name) and time.time() - one.stat().st_mtime > _LEFT_SECONDS:
                one.unlink()


def read_status(path: Path) -> dict[str, Any]:
    """The values of the file; empty if it is missing or cannot be read.

    Numbers that are not finite or out of range are omitted.
    """
    try:
        # Non-blocking: another kind of file, such as a pipe, may be in its place.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        values = json.loads(os.read(descriptor, _MOST_BYTES)) if is_file else None
    except (OSError, ValueError, RecursionError):
        values = None
    finally:
        os.close(descriptor)
    if not isinstance(values, dict):
        skipped.tell("the state directory", path.name, values)
        return {}
    for name, value in values.items():
        if not _is_sound(value):
            skipped.tell(f"`{path.name}`", name, value)
    return {name: value for name, value in values.items() if _is_sound(value)}


def _is_sound(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value) and abs(value) < _LARGEST
    return not isinstance(value, int) or abs(value) < _LARGEST
