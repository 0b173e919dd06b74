"""Hosts of a cluster for tests: a real Redis, and leaders on real counters, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from verve import Counter, config
from verve.cluster.coordinator.coordinator import Coordinator
from verve.cluster.redis_state.keys import Keys
from verve.log.background import Notices
from verve.stores import RedisClient, RedisSets
from verve.stores.address import Address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from verve.cluster.coordinator.work import Work
    from verve.windows.window import Window


class HookedClient(RedisClient):
    """The client. `before` is awaited before each call, with the kind of the call."""

    def __init__(self, port: int, before: Callable[[str], Awaitable[None]] | None = None) -> None:
        super().__init__(Address.parse(f"redis://127.0.0.1:{port}"))
        self.before = before

    async def hook(self, what: str) -> None:
        """A call is about to be made."""
        if self.before is not None:
            await self.before(what)

    async def run(self, script: str, keys: Sequence[str], args: Sequence[bytes | str | int]) -> Any:  # noqa: ANN401
        """See `RedisClient`."""
        await self.hook("run")
        return await super().run(script, keys, args)

    async def epochs(self) -> str:
        """See `RedisClient`."""
        await self.hook("epochs")
        return await super().epochs()


class HookedSets(RedisSets):
    """The sets, with the hook of their client."""

    def __init__(self, client: HookedClient, cluster: str, seconds: int) -> None:
        super().__init__(client, cluster, seconds)
        self.client = client

    async def add(self, window_start: int, groups: Mapping[int, Sequence[bytes]]) -> None:
        """See `RedisSets`."""
        await self.client.hook("add")
        await super().add(window_start, groups)


def link(
    port: int,
    cluster: str,
    seconds: int = 60,
    before: Callable[[str], Awaitable[None]] | None = None,
) -> tuple[HookedClient, HookedSets]:
    """A client and a store."""
    client = HookedClient(port, before)
    return client, HookedSets(client, cluster, seconds)


def ids_key(keys: Keys, window_start: int, shard: int) -> str:
    """The set of a shard."""
    return f"verve:{{{keys.cluster}:{keys.seconds}:{window_start}:{shard}}}:ids"


def run(main: Awaitable[Any], timeout: float = 20) -> Any:  # noqa: ANN401
    """Run a coroutine on a loop of its own, with a deadline."""

    async def bounded() -> Any:  # noqa: ANN401
        return await asyncio.wait_for(main, timeout)

    return asyncio.run(bounded())


class Feed:
    """Takes windows, and reports them as delivered to Kafka while `kafka_takes`."""

    def __init__(self) -> None:
        self.windows: list[Any] = []
        self.kafka: list[Any] = []
        self.kafka_takes = True
        self._lock = threading.Lock()

    def add(self, window: Any) -> None:  # noqa: ANN401
        """See the port."""
        with self._lock:
            self.windows.append(window)

    def known(self) -> list[Window]:
        """See the port."""
        with self._lock:
            last = {window.window_start: window for window in self.windows}
        return [last[start] for start in sorted(last, reverse=True)]

    def is_delivered(self, key: Any, revision: int) -> bool:  # noqa: ANN401
        """See the port."""
        with self._lock:
            told = [w for w in self.windows if w.key == key and w.revision == revision]
            if not self.kafka_takes or not any(w.delivers for w in told):
                return False
            if (key, revision) not in self.kafka:
                self.kafka.append((key, revision))
            return True


class HeldLease:
    """A lease that holds until `lost` is set."""

    def __init__(self, term: int = 1) -> None:
        self.term = term
        self.lost = False

    def holds(self) -> bool:
        """See the port."""
        return not self.lost


class EventRecorder(Notices):
    """Records events in the place of `Notices`."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[str, dict[str, Any]]] = []

    def put(self, event: Any, **values: Any) -> None:  # noqa: ANN401
        """See `Notices`."""
        assert set(values) == set(event.fields), event.name
        self.events.append((event.name, values))

    def names(self) -> list[str]:
        """The names of the events so far."""
        return [name for name, _ in self.events]


class LocalHost:
    """A host: a counter in a segment file, a leader's loop in a thread, and a sender of new ids.

    `before` is awaited before each call to Redis of the leader. Without `sends` no id is sent
    before the window is closed.
    """

    def __init__(  # noqa: PLR0913 - the settings of a host
        self,
        directory: Path,
        port: int,
        cluster: str,
        *,
        window: int = 1,
        sends: bool = True,
        before: Callable[[str], Awaitable[None]] | None = None,
        feed: Feed | None = None,
        term: int = 1,
        **flags: str,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.settings = config.load(
            {
                "state_dir": str(directory / "state"),
                "segment": str(directory / "segment"),
                "max_ids_per_window": "1000000",
                "window": f"{window}s",
                "cluster": cluster,
                "sinks": "log,kafka",
                "kafka_brokers": "127.0.0.1:1",
                **flags,
            },
            {},
        )
        self.counter = Counter(
            self.settings.segment,
            window=window,
            max_ids=self.settings.max_ids_per_window,
            cluster=cluster,
            state_directory=str(self.settings.state_dir),
        )
        self.port = port
        self.before = before
        self.feed = Feed() if feed is None else feed
        self.told = EventRecorder()
        self.fence = HeldLease(term)
        self.sends = sends
        self.sent: dict[int, set[int]] = {}
        self.coordinator: Coordinator | None = None
        self._threads: list[threading.Thread] = []
        self._over = threading.Event()
        if sends:
            self.counter.replication.queue(1_000_000)

    @property
    def identity(self) -> str:
        """Its name in the protocol."""
        return self.counter.stats()["identity"]

    def start(self) -> Self:
        """Begin to lead."""
        self._over.clear()
        self.coordinator = Coordinator(
            self.counter,
            self.settings,
            self.fence,
            self.feed,
            self.told,
            lambda made: link(self.port, made.cluster, made.window, self.before),
        )
        for body in (self.coordinator.run, self._tend, self._send):
            self._threads.append(threading.Thread(target=body, daemon=True))
            self._threads[-1].start()
        return self

    def wait_until_joined(self) -> Self:
        """Wait until the current window is registered."""
        wait_until(lambda: (work := self._work()) is not None and work.registrar.has_joined)
        return self

    def _work(self) -> Work | None:
        return None if self.coordinator is None else self.coordinator.work

    def stop(self, *, leaves: bool = False) -> None:
        """End the threads. Without `leaves` it is as if the leader had been killed."""
        if self.coordinator is not None:
            self.coordinator.stop(leaves=leaves)
        self._over.set()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
        self._threads.clear()

    def close(self) -> None:
        """End the threads, and close the counter."""
        self.stop()
        self.counter.close()

    def add(self, ids: Iterable[int]) -> int:
        """Count ids in one window, whose start is returned."""
        ids = list(ids)
        while True:
            windows = set()
            for id in ids:
                _, window = self.counter.add_in_window(id)
                self.sent.setdefault(window, set()).add(id)
                windows.add(window)
            if len(windows) == 1:
                return windows.pop()

    def records(self, window_start: int) -> list[Any]:
        """The published revisions of a window."""
        return [w for w in self.feed.windows if w.window_start == window_start]

    def complete_record(self, window_start: int) -> Any:  # noqa: ANN401
        """Wait for a complete record of a window."""
        return wait_until(
            lambda: [w for w in self.records(window_start) if not w.degraded], of=self
        )[-1]

    def _tend(self) -> None:
        while not self._over.wait(min(0.02, self.counter.until_boundary() + 0.001)):
            self.counter.lease.acquire()
            self.counter.maintenance.run()

    def _send(self) -> None:
        connection = redis.Redis(
            port=self.port, socket_timeout=1, protocol=2, retry=Retry(NoBackoff(), 0)
        )
        keys = Keys(self.settings.cluster, self.settings.window)
        while self.sends and not self._over.wait(0.02):
            for window, shard, members in self.counter.replication.take(10_000):
                if self._over.is_set():
                    break  # a Redis that hangs takes a second for each part
                with contextlib.suppress(redis.RedisError):
                    connection.sadd(ids_key(keys, window, shard), *members)
                    self.counter.replication.acknowledge(window, len(members))
        connection.close()


def wait_until(
    condition: Callable[[], Any], timeout: float = 20, of: LocalHost | None = None
) -> Any:  # noqa: ANN401
    """Wait for a condition, and return its value."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(0.01)
    seen = "" if of is None else f": {of.told.events[-20:]}, {of.feed.windows[-10:]}"
    raise AssertionError(f"waited in vain{seen}")
