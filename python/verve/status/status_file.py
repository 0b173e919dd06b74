"""Small files in the state directory by which one process tells the others how something does."""

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


def write_told(path: Path, told: Mapping[str, object]) -> None:
    """Replace the file as a whole: a reader meets the old or the new one. Raises `OSError`."""
    new = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(told, file)
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise


def remove_left(path: Path) -> None:
    """Remove what processes left that were killed while they wrote the file."""
    form = re.compile(rf"{re.escape(path.name)}\.[0-9]+\.[0-9]+")
    with contextlib.suppress(OSError):
        for one in path.parent.iterdir():
            if form.fullmatch(one.name) and time.time() - one.stat().st_mtime > _LEFT_SECONDS:
                one.unlink()


def read_told(path: Path) -> dict[str, Any]:
    """What the file tells; nothing where there is none, or where it cannot be read.

    Numbers that are no numbers, or out of all bounds, are left out.
    """
    try:
        # Whatever may stand in its place must not be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return {}
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        told = json.loads(os.read(descriptor, _MOST_BYTES)) if is_file else None
    except (OSError, ValueError, RecursionError):
        told = None
    finally:
        os.close(descriptor)
    if not isinstance(told, dict):
        skipped.tell("the state directory", path.name, told)
        return {}
    for name, value in told.items():
        if not _is_sound(value):
            skipped.tell(f"`{path.name}`", name, value)
    return {name: value for name, value in told.items() if _is_sound(value)}


def _is_sound(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value) and abs(value) < _LARGEST
    return not isinstance(value, int) or abs(value) < _LARGEST
