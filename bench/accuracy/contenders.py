"""The services that are compared, each as it is deployed: its instances and their store."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from bench.accuracy.stores import Redis, Statsd
from bench.harness import build
from bench.harness.server_process import TIMEOUT_SECONDS, ServerError, ServerProcess
from bench.harness.servers import PEERS, SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.accuracy.stores import Proxy
    from bench.harness.servers import Server

_LINE = re.compile(r"window_start=(\d+) Unique requests in the last minute: (\d+)$", re.MULTILINE)


class Counts(StrEnum):
    """Where a service shows the counts of its windows."""

    HTTP = "http"
    """Each instance answers with the counts of all."""
    LOG_PARTS = "log parts"
    """Each instance logs what it has counted itself: the parts are added up."""
    LOG_WHOLE = "log whole"
    """Each instance logs the count of all; the last one is right."""
    GRAPHITE = "graphite"
    """statsd sends them to Graphite."""


@dataclass(frozen=True)
class Contender:
    """A way to count distinct ids."""

    name: str
    title: str
    server: Server
    counts: Counts
    store: str = ""
    """`redis`, or the protocol to statsd: `udp` or `tcp`."""

    @property
    def instances(self) -> int:
        """Two with a store, since that is what a store is for."""
        return 2 if self.store else 1

    @property
    def answers_store(self) -> bool:
        """Whether there are replies or datagrams of a store that can get lost."""
        return self.store in {"redis", "udp"}

    def prepare(self) -> None:
        """Build and install what it needs, or raise `MissingError`."""
        self.server.prepare()
        if self.counts == Counts.GRAPHITE:
            build.npm_package(PEERS / "statsd", "statsd/bin/statsd")


CONTENDERS = (
    Contender("verve", "Verve", SERVERS["verve-native"], Counts.HTTP),
    Contender(
        "verve-redis", "Verve, Redis mode", SERVERS["verve-native-redis"], Counts.HTTP, "redis"
    ),
    Contender("gin", "Gin, `sync.Map`", SERVERS["gin"], Counts.LOG_PARTS),
    Contender("gin-setnx", "Gin, `SETNX`", SERVERS["gin-redis"], Counts.LOG_PARTS, "redis"),
    Contender("gin-sadd", "Gin, `SADD`", SERVERS["gin-set"], Counts.LOG_WHOLE, "redis"),
    Contender("statsd-udp", "Gin, statsd by UDP", SERVERS["gin"], Counts.GRAPHITE, "udp"),
    Contender("statsd-tcp", "Gin, statsd by TCP", SERVERS["gin"], Counts.GRAPHITE, "tcp"),
)


class Deployment:
    """The instances of a service and their store, for as long as the block lasts."""

    def __init__(
        self,
        contender: Contender,
        cores: Sequence[int],
        window: int,
        *,
        instances: int | None = None,
        proxied: bool = False,
    ) -> None:
        """Start nothing yet. `proxied`: whether the store is behind a proxy that can fail."""
        self.contender = contender
        self._cores = cores
        self._window = window
        self._proxied = proxied
        self._number = instances or contender.instances
        self._within = ExitStack()
        self.store: Redis | Statsd | None = None
        self.instances: list[ServerProcess] = []

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            if self.contender.store:
                store = self._new_store()
                self.store = store
                opened.enter_context(store)
                if self._proxied:
                    store.put_proxy_before()
            for _ in range(self._number):
                self.instances.append(opened.enter_context(self._new_instance()))
            self._within = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._within.close()

    @property
    def proxy(self) -> Proxy:
        """The proxy before the store."""
        if self.store is None or self.store.proxy is None:
            raise ServerError(f"{self.contender.title} has no store behind a proxy")
        return self.store.proxy

    def restart(self, *, kill: bool) -> None:
        """Restart what counts: one instance after the other, and statsd."""
        for instance in self.instances:
            instance.restart(kill=kill)
        if isinstance(self.store, Statsd):
            self.store.restart(kill=kill)

    def cpu_seconds(self) -> float:
        """Return the CPU time of the instances and the store so far."""
        used = sum(instance.cpu_seconds() for instance in self.instances)
        return used + (self.store.cpu_seconds() if self.store else 0.0)

    def published(self, starts: Iterable[int], since: float) -> dict[int, int]:
        """Return the counts by window. The windows in `starts` had requests, until `since`.

        Services that log are stopped for it: they log the open window then.
        """
        if isinstance(self.store, Statsd):
            return self.store.counts(since)
        if self.contender.counts == Counts.HTTP:
            return self._from_http(set(starts))
        for instance in self.instances:
            instance.stop()
        found: dict[int, int] = {}
        for instance in self.instances:
            for start, count in _LINE.findall(instance.log()):
                before = found.get(int(start), 0)
                whole = self.contender.counts == Counts.LOG_WHOLE
                found[int(start)] = max(before, int(count)) if whole else before + int(count)
        return {start: count for start, count in found.items() if count}

    def _from_http(self, starts: set[int]) -> dict[int, int]:
        """Wait until the windows are closed and complete, and return the counts of the last."""
        end = time.monotonic() + self._window + TIMEOUT_SECONDS
        while True:
            windows = self.instances[0].windows()
            complete = {
                int(datetime.fromisoformat(one["window_start"]).timestamp()): int(one["unique"])
                for one in windows
                if not one["degraded"]
            }
            if starts <= set(complete):
                return {start: count for start, count in complete.items() if count}
            if time.monotonic() > end:
                raise ServerError(f"windows are not complete: {sorted(starts - set(complete))}")
            time.sleep(0.1)

    def _new_store(self) -> Redis | Statsd:
        if self.contender.store == "redis":
            return Redis(self._cores)
        return Statsd(self._cores, self.contender.store, self._window)

    def _new_instance(self) -> ServerProcess:
        server, options = self.contender.server, None
        if isinstance(self.store, Statsd):
            options = self.store.options
        elif self.store and server.redis:
            options = server.redis(self.store.port)
        return ServerProcess(server, self._cores, self._window, store=options)
