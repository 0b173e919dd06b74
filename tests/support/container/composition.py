"""`deploy/compose.yaml` in real containers: docker-compose, served by podman.

    with Composition(tmp_path) as composition:
        composition.up()
        composition.logs("receiver")

Without systemd podman runs no health checks, so a thread does, for what waits for them.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.support.container.engine import ContainerError, command, environment, podman
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

COMPOSE = ROOT / "deploy" / "compose.yaml"
PROJECT = "verve-test"
HOSTS = ("verve-1", "verve-2")
SERVICES = (*HOSTS, "certificate", "haproxy", "redis", "kafka", "receiver", "prometheus")
"""All but Grafana, for which there is no image."""


def program() -> list[str] | None:
    """`docker compose`, or `docker-compose`; None if there is neither."""
    plugin = ["docker", "compose"]
    if shutil.which("docker") is not None:
        found = subprocess.run([*plugin, "version"], capture_output=True, check=False)
        if found.returncode == 0:
            return plugin
    return ["docker-compose"] if shutil.which("docker-compose") else None


def ports() -> list[int]:
    """The ports of the loopback that the file publishes."""
    text = COMPOSE.read_text(encoding="utf-8")
    return [int(one.split(":")[1]) for one in text.split('"') if one.startswith("127.0.0.1:")]


class Composition:
    """The services of the file. They are removed, with their volumes, when the block ends."""

    def __init__(self, directory: Path, window: int) -> None:
        """The windows of the hosts get that length, in seconds."""
        self._socket = directory / "podman.sock"
        self._log = directory / "podman.log"
        self._changes = directory / "changes.yaml"
        # A machine of tests may not permit as many descriptors as the file and podman ask for.
        permitted = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        limits = {"ulimits": {"nofile": min(65_536, permitted), "nproc": 4_000}}
        host = {"environment": {"VERVE_WINDOW": str(window)}, **limits}
        services = {**dict.fromkeys(HOSTS, host), "haproxy": limits}
        self._changes.write_text(json.dumps({"services": services}))
        self._ended = threading.Event()
        self._health = threading.Thread(target=self._check_health, daemon=True)
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        address = f"unix://{self._socket}"
        with self._log.open("wb") as log:
            self._server = subprocess.Popen(
                [*command(), "system", "service", "--time", "0", address],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait_until(self._answers, "the socket of podman")
        self._health.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._health.join(60)
        self.compose("down", "--volumes", "--timeout", "5", check=False)
        assert self._server is not None
        self._server.send_signal(signal.SIGTERM)
        try:
            self._server.wait(20)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait(10)

    def up(self) -> None:
        """Start all, as the file says: each waits for what it depends on."""
        self.compose("up", "--detach", "--no-build", *SERVICES, timeout=420)

    def compose(self, *arguments: str, check: bool = True, timeout: float = 120) -> str:
        """Run docker-compose and return what it printed."""
        compose = program()
        assert compose is not None
        # The file of the changes must not move the paths of the other one.
        files = ["--project-directory", str(COMPOSE.parent), "--file", str(COMPOSE)]
        files += ["--file", str(self._changes), "--project-name", PROJECT]
        done = subprocess.run(
            [*compose, *files, *arguments],
            env={**os.environ, "DOCKER_HOST": f"unix://{self._socket}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise ContainerError(
                f"{' '.join(arguments)} failed:\n{done.stdout[-3_000:]}\n{self.all_logs()[-6_000:]}"
            )
        return done.stdout

    def container(self, service: str) -> str:
        """The id of the container of a service."""
        label = f"label=com.docker.compose.service={service}"
        project = f"label=com.docker.compose.project={PROJECT}"
        [found] = podman("ps", "--all", "--quiet", "--filter", label, "--filter", project).split()
        return found

    def run(self, service: str, *arguments: str, check: bool = True) -> str:
        """Run a command in the container of a service and return what it printed."""
        return podman("exec", self.container(service), *arguments, check=check)

    def logs(self, service: str) -> str:
        """What a service printed."""
        return podman("logs", self.container(service))

    def volume(self, name: str) -> Path:
        """Where the files of a volume are."""
        return Path(
            podman("volume", "inspect", "--format", "{{.Mountpoint}}", f"{PROJECT}_{name}").strip()
        )

    def state(self, service: str) -> dict[str, Any]:
        """The part `State` of what podman knows of the container."""
        (found,) = json.loads(podman("inspect", self.container(service)))
        return dict(found["State"])

    def wait_until(self, met: Callable[[], object], what: str, timeout: float = 60) -> None:
        """Wait until `met` holds."""
        end = time.monotonic() + timeout
        while not met():
            if time.monotonic() > end:
                raise ContainerError(f"not {what} within {timeout} s:\n{self.all_logs()[-8_000:]}")
            time.sleep(0.2)

    def all_logs(self) -> str:
        """The state and the last lines of each container, for messages."""
        names = podman("ps", "--all", "--format", "{{.Names}} {{.Status}}", check=False)
        ids = podman("ps", "--all", "--quiet", check=False).split()
        tails = (podman("logs", "--names", "--tail", "15", one, check=False) for one in ids)
        return "\n".join((names, *tails))

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self._socket)) == 0

    def _check_health(self) -> None:
        """What podman has systemd do."""
        while not self._ended.wait(0.5):
            for one in podman("ps", "--quiet", check=False).split():
                podman("healthcheck", "run", one, check=False)
