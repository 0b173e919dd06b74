"""Starts parts one after the other, watches them, and ends all of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .topology import Part

_START_SECONDS = 90.0
_LOOK_SECONDS = 0.05


class EndedError(Exception):
    """A part ended by itself or does not serve; the message contains the end of its log."""


@dataclass(frozen=True, slots=True)
class _Running:
    part: Part
    process: subprocess.Popen[bytes]
    log: Path


class Processes:
    """The running parts. `stopping` is set by Ctrl-C and ends every wait."""

    def __init__(self, directory: Path, stopping: threading.Event) -> None:
        self._directory = directory
        self._stopping = stopping
        self._running: list[_Running] = []

    def start(self, stages: Sequence[Sequence[Part]], say: Callable[[str], None]) -> None:
        """Start all parts, those of a stage when the stage before serves. Raises `EndedError`."""
        for stage in stages:
            began = time.monotonic()
            for part in stage:
                if self._stopping.is_set():
                    return
                say(f"starting {part.name}")
                self._start(part)
            for part in stage:
                while not self._stopping.is_set() and not part.serves():
                    self.check()
                    if time.monotonic() - began > _START_SECONDS:
                        raise EndedError(f"{part.name} does not serve:\n{self.log_of(part.name)}")
                    self._stopping.wait(_LOOK_SECONDS)

    def check(self) -> None:
        """Raise `EndedError` if a part has ended."""
        for one in self._running:
            if (status := one.process.poll()) is not None:
                raise EndedError(
                    f"{one.part.name} ended with status {status}; its log ends with:\n"
                    f"{self.log_of(one.part.name).rstrip()[-2_000:]}"
                )

    def stop(self) -> None:
        """End all parts, the last one first; one that takes too long is killed."""
        for one in reversed(self._running):
            # Its children get the signal from it: a server tells them when to end.
            one.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.process.wait(one.part.patience)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait()
        self._running.clear()

    def _start(self, part: Part) -> None:
        # Each has a session of its own: Ctrl-C on the terminal reaches only the demo, which ends
        # them in order. They end with the demo, even when it is killed.
        prefix = [setpriv, "--pdeathsig", "TERM"] if (setpriv := shutil.which("setpriv")) else []
        log = self._directory / f"{part.name.replace(' ', '-')}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*prefix, *part.command],
                env={**os.environ, **part.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append(_Running(part, process, log))

    def log_of(self, name: str) -> str:
        """What a part has printed."""
        (log,) = (one.log for one in self._running if one.part.name == name)
        return log.read_text(encoding="utf-8", errors="replace")
