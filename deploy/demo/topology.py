"""The processes of the demo: what each needs, how it is started, and when it serves.

They are those of `deploy/compose.yaml`, on ports of the loopback. Each has a directory for its data
and its log.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parents[2]
TOPIC = "unique-request-count"
CLUSTER = "demo"
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


@dataclass(frozen=True, slots=True)
class Ports:
    """A port of the loopback for each part."""

    haproxy: int = 8080
    verve_1: int = 8001
    verve_2: int = 8002
    redis: int = 6380
    kafka: int = 9092
    kafka_controller: int = 9093
    receiver: int = 9999

    def named(self) -> Iterator[tuple[str, int]]:
        """Each port with its name."""
        for name in self.__slots__:
            yield name, getattr(self, name)


@dataclass(frozen=True, slots=True)
class Part:
    """One process, with its children."""

    name: str
    command: Sequence[str | Path]
    serves: Callable[[], bool]
    """Whether it does what it is for, without waiting for that."""
    environment: dict[str, str] = field(default_factory=dict)
    patience: float = 5.0
    """Seconds that it gets to stop."""


class MissingError(Exception):
    """A program is missing or a port is taken; the message says what to do."""


def require(ports: Ports) -> None:
    """Raise `MissingError` if a part cannot run here."""
    packages = {"redis-server": "redis-server", "haproxy": "haproxy", "java": "a Java 17 package"}
    for program, package in packages.items():
        if shutil.which(program, path=_PATH) is None:
            raise MissingError(
                f"a program is missing: `{program}`; hint: install {package}, on Debian and "
                f"Ubuntu: sudo apt-get install redis-server haproxy openjdk-17-jre-headless"
            )
    for name, port in ports.named():
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError as error:
            raise MissingError(
                f"the port of {name} cannot be used, {error.strerror}: `{port}`; hint: end what "
                "listens there, or give other ports by `--ports`"
            ) from error


def stages(ports: Ports, directory: Path, segments: Path, window: int) -> list[list[Part]]:
    """All parts. A stage needs the one before it; the parts of a stage start at the same time."""
    for name in ("redis", "kafka"):
        (directory / name).mkdir()
    return [
        [
            _redis(ports, directory / "redis"),
            _kafka(ports, directory / "kafka"),
            _receiver(ports),
        ],
        [_host(number, ports, directory, segments, window) for number in (1, 2)],
        [_haproxy(ports, directory / "haproxy.cfg")],
    ]


def _redis(ports: Ports, directory: Path) -> Part:
    options = {"bind": "127.0.0.1", "port": str(ports.redis), "save": "", "appendonly": "no"}
    options |= {"dir": str(directory), "maxmemory-policy": "noeviction"}
    flags = [part for name, value in options.items() for part in (f"--{name}", value)]
    return Part("Redis", ["redis-server", *flags], lambda: _listens(ports.redis))


def _kafka(ports: Ports, directory: Path) -> Part:
    command: list[str | Path] = [ROOT / "scripts" / "kafka", "serve", "--port", str(ports.kafka)]
    command += ["--controller-port", str(ports.kafka_controller), "--directory", directory]
    return Part("Kafka", command, lambda: _listens(ports.kafka))


def _receiver(ports: Ports) -> Part:
    program = ROOT / "examples" / "callback_receiver.py"
    command: list[str | Path] = [sys.executable, program, str(ports.receiver)]
    return Part("receiver of callbacks", command, lambda: _listens(ports.receiver))


def _host(number: int, ports: Ports, directory: Path, segments: Path, window: int) -> Part:
    port = ports.verve_1 if number == 1 else ports.verve_2
    environment = {
        "VERVE_HOST": "127.0.0.1",
        "VERVE_PORT": str(port),
        "VERVE_WORKERS": "1",
        "VERVE_WINDOW": str(window),
        "VERVE_STATE_DIR": str(directory / f"verve-{number}"),
        "VERVE_SEGMENT": str(segments / f"verve-{number}"),
        "VERVE_MAX_IDS_PER_WINDOW": "1000000",
        "VERVE_CLUSTER": CLUSTER,
        "VERVE_REDIS_URL": f"redis://127.0.0.1:{ports.redis}",
        "VERVE_KAFKA_BROKERS": f"127.0.0.1:{ports.kafka}",
        "VERVE_KAFKA_TOPIC": TOPIC,
        "VERVE_SINKS": "log,kafka",
        "VERVE_CALLBACK_ALLOW": "127.0.0.1",
        "VERVE_CALLBACK_DRAIN": "1",
    }
    command: list[str | Path] = [Path(sys.executable).parent / "verve", "serve"]
    ready = f"http://127.0.0.1:{port}/readyz"
    return Part(f"Verve host {number}", command, lambda: _answers(ready), environment, 20.0)


def _haproxy(ports: Ports, file: Path) -> Part:
    # Without TLS and limits, as on the loopback: deploy/proxies/haproxy.cfg has both.
    file.write_text(
        f"""\
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
listen verve
  bind 127.0.0.1:{ports.haproxy}
  # With a header of a proxy, no caller is taken for one of this host.
  option forwardfor
  option httpchk GET /readyz
  default-server check inter 500ms fall 2 rise 1
  server verve-1 127.0.0.1:{ports.verve_1}
  server verve-2 127.0.0.1:{ports.verve_2}
""",
        encoding="utf-8",
    )
    program = shutil.which("haproxy", path=_PATH) or "haproxy"
    ready = f"http://127.0.0.1:{ports.haproxy}/readyz"
    return Part("HAProxy", [program, "-db", "-f", file], lambda: _answers(ready))


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=1) as answer:  # noqa: S310 - of the loopback
            return int(answer.status) == 200
    except OSError:
        return False
