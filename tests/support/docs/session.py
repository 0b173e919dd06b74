"""Runs the blocks of one page as its reader would, in an empty directory and on free ports."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.support.docs.blocks import commands, is_shown
from tests.support.network.ports import BUS, free_port

if TYPE_CHECKING:
    from tests.support.docs.blocks import Block, Command

_PORTS = ("6379", "8000", "8001", "8002", "9000")
"""Ports that pages name; each page gets free ones in their place."""
_PATIENCE = 40.0


class SnippetError(AssertionError):
    """A block did not do what its page says."""


class Session:
    """A shell in a directory, for the blocks of one page."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ports = {port: str(free_port(BUS)) for port in _PORTS}
        self._running: list[subprocess.Popen[bytes]] = []
        (directory / ".curlrc").write_text("silent\nshow-error\n")
        (directory / "redis.url").write_text(f"redis://127.0.0.1:{self._ports['6379']}\n")
        kept = {name: value for name, value in os.environ.items() if "VERVE" not in name}
        self._environment = {
            **kept,
            "HOME": str(directory),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin",
            "VERVE_PORT": self._ports["8000"],
            "VERVE_SEGMENT": str(directory / "segment"),
            "VERVE_STATE_DIR": str(directory / "state"),
            # Windows that end soon. No page shows the length of its window.
            "VERVE_WINDOW": "2",
            "VERVE_WORKERS": "1",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._running:
            self.stop()

    def run(self, block: Block) -> None:
        """Run a block. Raises `SnippetError`."""
        if block.mark == "stop":
            self.stop()
        if block.language == "python":
            self._python(block)
            return
        for one in commands(block):
            if block.mark == "background":
                self._start(one, block)
            else:
                self._check(one, block)

    def stop(self) -> None:
        """End the newest command in the background."""
        process = self._running.pop()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def _here(self, text: str) -> str:
        return re.sub(
            rf"(?<!\d)({'|'.join(_PORTS)})(?!\d)", lambda found: self._ports[found[1]], text
        )

    def _python(self, block: Block) -> None:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", self._here(block.text)],
            cwd=self._directory,
            env=self._environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise SnippetError(f"{block.place}:\n{done.stdout}{done.stderr}")

    def _check(self, one: Command, block: Block) -> None:
        deadline = time.monotonic() + (_PATIENCE if block.mark == "again" else 0)
        while True:
            status, printed = self._shell(self._here(one.command))
            if status == 0 and is_shown(self._here(one.shown), printed):
                return
            if time.monotonic() >= deadline:
                raise SnippetError(
                    f"{block.place}: `{one.command}` ended with {status}\n"
                    f"printed:\n{printed}\nshown:\n{one.shown}"
                )
            time.sleep(0.2)

    def _shell(self, command: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self._directory,
            env=self._environment,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
        return done.returncode, done.stdout.decode(errors="replace")

    def _start(self, one: Command, block: Block) -> None:
        # `make serve` also builds and installs what these tests run.
        command = self._here(one.command.replace("make serve", "verve serve"))
        log = self._directory / f"background-{len(self._running)}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self._directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append(process)
        port = re.search(r"--port (\d+)", command)
        number = port[1] if port else self._ports["8000"]
        ready = _pings if "redis-server" in command else _is_ready
        deadline = time.monotonic() + _PATIENCE
        while not ready(number):
            if process.poll() is not None or time.monotonic() >= deadline:
                text = log.read_text(errors="replace")
                raise SnippetError(f"{block.place}: `{one.command}` is not ready:\n{text}")
            time.sleep(0.1)


def _is_ready(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _pings(port: str) -> bool:
    pinged = subprocess.run(
        ["redis-cli", "-p", port, "ping"], check=False, capture_output=True, timeout=10
    )
    return pinged.stdout.strip() == b"PONG"
