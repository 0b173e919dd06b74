"""`make demo`: it shows exact counts, and leaves nothing behind, whenever it is interrupted."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from deploy.demo.topology import MissingError, Ports, require
from tests.support.network.ports import free_port
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

_PORTS = 7
_COUNT = re.compile(r"\d\d:\d\d:\d\d +([\d,]+) +([\d,]+)  (.*?) +([\d,]+)$")


@pytest.fixture(autouse=True)
def _parts(request: pytest.FixtureRequest) -> None:
    """Require what the demo starts. What is missing skips the test; in CI it fails."""
    try:
        require(Ports(*(free_port() for _ in range(_PORTS))))
    except MissingError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
    request.getfixturevalue("kafka")


class Demo:
    """One run, with its own ports and temporary files."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.lines: list[str] = []
        self._marker = f"VERVE_DEMO_TEST={uuid.uuid4().hex}"
        name, _, value = self._marker.partition("=")
        self._ports = Ports(*(free_port() for _ in range(_PORTS)))
        ports = ",".join(str(port) for _, port in self._ports.named())
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deploy.demo", "--window", "2", "--ports", ports, *arguments],
            cwd=ROOT,
            env={**os.environ, name: value, "TMPDIR": str(directory)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self._process.wait(10)
        self._thread.join(10)

    def processes(self) -> list[int]:
        """The processes of this run, by a variable that each of them inherits."""
        found = []
        for one in Path("/proc").iterdir():
            if one.name.isdecimal():
                with contextlib.suppress(OSError):
                    if self._is_part(one):
                        found.append(int(one.name))
        return found

    def files(self) -> list[Path]:
        """The temporary files and segments of this run."""
        segments = Path("/dev/shm").glob(f"verve-demo-{self._process.pid}-*")  # noqa: S108
        return [*self.directory.iterdir(), *segments]

    def kill_redis(self) -> None:
        """Kill Redis, once it is there."""
        end = time.monotonic() + 30
        while not (
            found := [pid for pid in self.processes() if self._is_redis(Path(f"/proc/{pid}"))]
        ):
            assert time.monotonic() < end, "Redis was not started"
            time.sleep(0.01)
        os.kill(found[0], signal.SIGKILL)

    def _is_part(self, process: Path) -> bool:
        variables = (process / "environ").read_bytes().split(b"\0")
        return self._marker.encode() in variables or self._is_redis(process)

    def _is_redis(self, process: Path) -> bool:
        """Redis writes its title over its variables; the title has its port."""
        words = (process / "cmdline").read_bytes()
        return b"redis-server" in words and str(self._ports.redis).encode() in words

    def wait_for(self, met: Callable[[list[str]], bool]) -> None:
        """Wait until `met` holds for the printed lines."""
        with self._changed:
            assert self._changed.wait_for(lambda: met(self.lines), 90), "\n".join(self.lines)

    def interrupt(self) -> int:
        """Send what Ctrl-C sends, and return the exit status."""
        self._process.send_signal(signal.SIGINT)
        status = self._process.wait(60)
        self._thread.join(10)
        return status

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()


def test_its_counts_are_exact_and_it_ends_whole(tmp_path: Path) -> None:
    def counted(lines: list[str]) -> bool:
        found = [match for line in lines if (match := _COUNT.match(line))]
        full = [match for match in found if int(match[2].replace(",", "")) > 50]
        return len(full) >= 2 and int(found[-1][4].replace(",", "")) > 0

    with Demo(tmp_path) as demo:
        demo.wait_for(counted)
        assert len(demo.processes()) >= 9
        assert len(demo.files()) == 2
        assert demo.interrupt() == 0
        found = [match for line in demo.lines if (match := _COUNT.match(line))]
        assert all(match[1] == match[2] for match in found), "\n".join(demo.lines)
        assert {match[3] for match in found} == {"exact"}
        assert any("http://127.0.0.1:" in line for line in demo.lines if "live pages" in line)
        assert demo.lines[-1] == "stopped"
        assert demo.processes() == []
        assert demo.files() == []


@pytest.mark.parametrize(
    "step",
    [
        "starting Redis",
        "starting Kafka",
        # Waits for Kafka.
        pytest.param("starting Verve host 2", marks=pytest.mark.full),
    ],
)
def test_an_interrupt_while_it_starts_ends_it_whole(tmp_path: Path, step: str) -> None:
    with Demo(tmp_path) as demo:
        demo.wait_for(lambda lines: any(step in line for line in lines))
        assert demo.interrupt() == 0
        assert demo.lines[-1] == "stopped"
        assert not any("all serve" in line for line in demo.lines)
        assert demo.processes() == []
        assert demo.files() == []


def test_a_part_that_dies_ends_it_and_is_named(tmp_path: Path) -> None:
    with Demo(tmp_path) as demo:
        demo.wait_for(lambda lines: any("starting Kafka" in line for line in lines))
        demo.kill_redis()
        demo.wait_for(lambda lines: any("ended with status -9" in line for line in lines))
        assert demo._process.wait(60) == 1
        assert any(line.startswith("error: Redis ended") for line in demo.lines)
        assert demo.processes() == []
        assert demo.files() == []
