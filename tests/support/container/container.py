"""One container of the image, under the restrictions that the guide names.

    with Container(image, tmp_path) as container:
        container.wait_ready()
        container.accept(7)
        container.stop()

It has a read-only root, no capability, 64 MiB of /dev/shm and 300 MiB of memory.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from tests.support.container.engine import ContainerError, podman
from tests.support.network.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.support.container.image import Image

USER = 10_001
# Unused. Without it, httpx creates one per request, which takes longer than the request.
_TLS = ssl.create_default_context()


class Container:
    """Created when the block begins, removed with its volumes when it ends."""

    def __init__(
        self,
        image: Image,
        *options: str,
        shm: str = "64m",
        memory: str = "300m",
        window: int = 86_400,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`options` go to `podman run`. The window is a day long unless the test needs its end."""
        self.port = free_port()
        self.window = window
        self.name = f"verve-test-{os.urandom(4).hex()}"
        settings = {
            "VERVE_HOST": "127.0.0.1",
            "VERVE_PORT": str(self.port),
            "VERVE_WINDOW": str(window),
            "VERVE_WORKERS": "2",
            "VERVE_LOG_FORMAT": "json",
            **(environment or {}),
        }
        self._arguments = [
            *("run", "--detach", "--name", self.name, "--network", "host"),
            *("--ulimit", "nofile=10000:10000", "--ulimit", "nproc=4000:4000"),
            *("--read-only", "--read-only-tmpfs=false", "--cap-drop", "all"),
            *("--security-opt", "no-new-privileges"),
            *("--shm-size", shm, "--memory", memory, "--memory-swap", memory),
            *(part for item in settings.items() for part in ("--env", "=".join(item))),
            *options,
            image.name,
        ]

    def __enter__(self) -> Self:
        podman(*self._arguments)
        return self

    def __exit__(self, *_: object) -> None:
        podman("rm", "--force", "--volumes", "--time", "0", self.name)

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path: str) -> httpx.Response:
        """Ask it."""
        return httpx.get(self.url(path), timeout=10, verify=_TLS)

    def accept(self, id: int) -> None:
        """Count an id, and assert that it was answered `ok`."""
        assert self.get(f"/api/verve/accept?id={id}").text == "ok"

    def unique(self) -> int:
        """The number of distinct ids of the open window."""
        return int(self.get("/api/verve/current").json()["unique"])

    def wait_ready(self) -> None:
        """Wait until the health check of the image passes."""
        self.wait_until(lambda: self.health() == 0, "healthy")

    def health(self) -> int:
        """Run the health check of the image, as the engine does every 10 s; its exit status."""
        podman("healthcheck", "run", self.name, check=False)
        log = self.state()["Health"]["Log"] or [{"ExitCode": -1}]
        return int(log[-1]["ExitCode"])

    def state(self) -> Mapping[str, Any]:
        """The part `State` of what podman knows of the container."""
        (found,) = json.loads(podman("inspect", self.name))
        state: Mapping[str, Any] = found["State"]
        return state

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in the container and return what it printed."""
        return podman("exec", self.name, *command, check=check).strip()

    def lines(self) -> list[Mapping[str, Any]]:
        """The log."""
        return [
            json.loads(line) for line in podman("logs", self.name).splitlines() if line[0] == "{"
        ]

    def starting(self) -> Mapping[str, Any]:
        """The line that the service logged when it started."""
        return next(one for one in self.lines() if one["event"] == "service.starting")

    def counts(self) -> dict[int, int]:
        """The published count of each window, by its start in seconds since the epoch."""
        answer = self.get("/api/verve/windows?limit=1000").json()
        starts = (datetime.fromisoformat(one["window_start"]) for one in answer["windows"])
        uniques = (one["unique"] for one in answer["windows"])
        return {
            int(start.timestamp()): unique for start, unique in zip(starts, uniques, strict=True)
        }

    def signal(self, name: str) -> None:
        """Send a signal to process 1, and wait until the container has ended."""
        podman("kill", "--signal", name, self.name)
        podman("wait", self.name)

    def start(self) -> None:
        """Start it again, and wait until it is healthy."""
        podman("start", self.name)
        self.wait_ready()

    def stop(self, patience: int = 30) -> float:
        """Stop it as `docker stop --time` does; the seconds that it took."""
        began = time.monotonic()
        podman("stop", "--time", str(patience), self.name)
        return time.monotonic() - began

    def memory_peak(self) -> int:
        """The most memory that the container has had, in bytes, tmpfs included."""
        groups = Path(f"/proc/{self.state()['Pid']}/cgroup").read_text(encoding="ascii")
        found = {names: path for _, names, path in (line.split(":") for line in groups.split())}
        if "memory" in found:
            file = f"memory{found['memory']}/memory.max_usage_in_bytes"
        else:
            file = f"{found['']}/memory.peak".lstrip("/")
        return int((Path("/sys/fs/cgroup") / file).read_text(encoding="ascii"))

    def wait_until(self, met: Callable[[], object], what: str, timeout: float = 60) -> None:
        """Wait until `met` holds."""
        end = time.monotonic() + timeout
        while not met():
            if time.monotonic() > end or self.state()["Status"] == "exited":
                raise ContainerError(f"not {what}:\n{podman('logs', self.name)[-4_000:]}")
            time.sleep(0.1)
