"""What counts or remembers ids for the peers: Redis and statsd, and a proxy before them."""

from __future__ import annotations

import json
import re
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from bench.accuracy.datagrams import DatagramProxy
from bench.harness import build, machine
from bench.harness.server_process import TIMEOUT_SECONDS, ServerError, free_port, wait_for_port
from tests.support.redis.proxy import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.harness.servers import RedisOptions

_COUNT = re.compile(rb"^stats\.sets\.unique\.count (\d+) (\d+)$", re.MULTILINE)


class Proxy(Protocol):
    """What a proxy can do to the messages that go through it."""

    lose: float
    lost: int
    port: int

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def go_away(self) -> None:
        """Let nothing through until `come_back`."""

    def come_back(self) -> None:
        """Let all through again."""


class RefusingProxy(FaultProxy):
    """Refuses connections while it is away, as the host of a program that has ended does."""

    def go_away(self) -> None:
        """Close all connections and refuse others until `come_back`."""
        super().go_away()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def come_back(self) -> None:
        """Take connections again."""
        super().come_back()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()


class Store:
    """A program on some cores that services reach directly, or through a proxy."""

    def __init__(self, cores: Sequence[int]) -> None:
        self._cores = cores
        self._within = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self.proxy: Proxy | None = None

    @property
    def port(self) -> int:
        """The port for services."""
        return self.proxy.port if self.proxy else self._port

    def cpu_seconds(self) -> float:
        """Return the CPU time of the program so far."""
        return machine.group_cpu(self._process.pid) if self._process else 0.0

    def __enter__(self) -> Self:
        self._folder = Path(
            self._within.enter_context(tempfile.TemporaryDirectory(prefix="verve-accuracy-"))
        )
        self._within.callback(self._end)
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._within.close()

    def put_proxy_before(self) -> None:
        """Let services that start from now on reach the program through a proxy."""
        self.proxy = self._within.enter_context(self._new_proxy())

    def _new_proxy(self) -> Proxy:
        return RefusingProxy(self._port)

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _answering_port(self) -> int:
        return self._port

    def _start(self) -> None:
        self._process = subprocess.Popen(
            machine.pinned(self._cores, self._command()),
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for_port(self._answering_port())

    def _end(self, *, kill: bool = True) -> None:
        if self._process is None:
            return
        if kill:
            self._process.kill()
        else:
            self._process.terminate()
        self._process.wait(TIMEOUT_SECONDS)


class Redis(Store):
    """A Redis that keeps nothing on disk."""

    def _command(self) -> list[str]:
        return build.redis(self._port)


class Statsd(Store):
    """statsd, which sends its counts to a stand-in for Graphite, its default backend."""

    def __init__(self, cores: Sequence[int], protocol: str, window: int) -> None:
        super().__init__(cores)
        self._protocol = protocol
        self._window = window
        self._management = free_port()
        self._restarted = False

    def __enter__(self) -> Self:
        self._graphite = self._within.enter_context(_Graphite())
        return super().__enter__()

    @property
    def options(self) -> RedisOptions:
        """Arguments and environment that name it to the Gin service."""
        return ["-statsd", f"127.0.0.1:{self.port}", "-protocol", self._protocol], {}

    @property
    def aligned(self) -> bool:
        """Whether its windows are those of the clock, as far as it was not restarted."""
        return self._restarted or all(at % self._window == 0 for at, _ in self._graphite.flushes)

    def restart(self, *, kill: bool) -> None:
        """Stop it, with `kill` by SIGKILL, and start it again."""
        self._restarted = True
        self._end(kill=kill)
        self._start()

    def counts(self, since: float) -> dict[int, int]:
        """Wait for a flush that began after `since`, and return the counts by window.

        A flush covers the time since the one before it. After a restart flushes are in the middle
        of windows: then a count belongs to the window in which it began.
        """
        end = time.monotonic() + 2 * self._window + TIMEOUT_SECONDS
        while all(at <= since for at, _ in self._graphite.flushes):
            if time.monotonic() > end:
                raise ServerError("statsd does not flush")
            time.sleep(0.05)
        found: dict[int, int] = {}
        for at, count in self._graphite.flushes:
            start = (at - self._window) // self._window * self._window
            found[start] = found.get(start, 0) + count
        return {start: count for start, count in found.items() if count}

    def _new_proxy(self) -> Proxy:
        return DatagramProxy(self._port) if self._protocol == "udp" else super()._new_proxy()

    def _answering_port(self) -> int:
        return self._management

    def _command(self) -> list[str]:
        program = build.npm_package(build.BENCH / "peers" / "statsd", "statsd/bin/statsd")
        configuration = {
            "servers": [
                {
                    "server": f"./servers/{self._protocol}",
                    "address": "127.0.0.1",
                    "port": self._port,
                }
            ],
            "mgmt_address": "127.0.0.1",
            "mgmt_port": self._management,
            "flushInterval": self._window * 1000,
            "backends": ["./backends/graphite"],
            "graphiteHost": "127.0.0.1",
            "graphitePort": self._graphite.port,
        }
        path = self._folder / "config.js"
        path.write_text(json.dumps(configuration))
        return ["node", str(program), str(path)]


class _Graphite:
    """Takes lines as Graphite does, and keeps the counts of the set `unique`."""

    def __init__(self) -> None:
        self.flushes: list[tuple[int, int]] = []
        """Time of the flush and the count."""
        flushes = self.flushes

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                for count, at in _COUNT.findall(self.rfile.read()):
                    flushes.append((int(at), int(count)))

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
