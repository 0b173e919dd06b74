"""The components of a round: hosts, Redis, Kafka and a proxy, all real."""

from __future__ import annotations

import contextlib
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.support.kafka.broker import Broker, Reader
from tests.support.network.ports import free_port
from tests.support.redis.server import RedisServer
from tests.support.service import Server, Service
from tests.support.wall_clock import WallClock
from tests.support.wall_clock import available as has_wall_clocks
from tests.torture.faults.mounts import Disk, available
from tests.torture.faults.proxy import Proxy

if TYPE_CHECKING:
    from pathlib import Path

MEMORY_BYTES = 512 << 20
STATE_BYTES = 96 << 20
MAX_IDS = 2_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What a round is made of, by its seed."""

    seed: int
    window: int
    listeners: tuple[Server, ...]
    """One per host. One host alone has no Redis."""
    workers: int
    has_kafka: bool
    slowed: float
    """Multiplies the pauses between faults: in some rounds most windows are far from any."""
    sets_clocks: bool
    """Whether the wall clocks of hosts are set."""

    @classmethod
    def drawn(cls, seed: int, *, has_kafka: bool) -> Self:
        """Two rounds of three are those of a cluster."""
        draw = random.Random(f"plan/{seed}")
        hosts = 1 if seed % 3 == 0 else draw.choice((2, 3))
        kinds = [Server.NATIVE, Server.VERVE]
        draw.shuffle(kinds)
        listeners = tuple((kinds * 2)[:hosts])
        window, slowed = draw.choice((2, 3, 5)), draw.choice((1.0, 1.0, 1.0, 12.0))
        # The judge can be less strict with a host alone whose clock is set.
        sets_clocks = hosts > 1 or draw.random() < 0.5
        return cls(seed, window, listeners, 2, has_kafka, slowed, sets_clocks)

    @property
    def title(self) -> str:
        """For people."""
        listeners = ", ".join(
            "native" if one is Server.NATIVE else "granian" for one in self.listeners
        )
        kafka = "with" if self.has_kafka else "without"
        pace = "a fault now and then" if self.slowed > 1 else "fault upon fault"
        redis = "Redis, " if len(self.listeners) > 1 else ""
        hosts = f"{len(self.listeners)} host{'s' * (len(self.listeners) > 1)}"
        return f"{hosts} ({listeners}), {redis}{kafka} Kafka, {self.window} s, {pace}"


class Host:
    """One host, its small disks if it has them, and its wall clock if that is set."""

    def __init__(
        self,
        name: str,
        service: Service,
        clock: WallClock | None,
        state: Disk | None,
        memory: Disk | None,
    ) -> None:
        self.name = name
        self.service = service
        self.clock = clock
        self.state = state
        self.memory = memory


class Rig:
    """All of it, from the start of the block until its end."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.plan = plan
        self.directory = directory
        is_cluster = len(plan.listeners) > 1
        self.redis = RedisServer(directory / "redis") if is_cluster else None
        self.kafka = Broker(directory / "kafka") if plan.has_kafka else None
        self.topic = f"torture-{plan.seed}"
        self.receiver_port = free_port()
        self._all = contextlib.ExitStack()
        self.hosts = [self._host(number) for number in range(len(plan.listeners))]
        self.ports = {host.name: host.service.port for host in self.hosts}
        self.proxy = Proxy(directory / "proxy", self.ports)
        self.reader: Reader | None = None

    def _host(self, number: int) -> Host:
        name = f"host-{number}"
        directory = self.directory / name
        state = memory = None
        if available():
            state = Disk(directory / "disk", STATE_BYTES)
            memory = Disk(directory / "memory", MEMORY_BYTES)
            self._all.callback(state.close)
            self._all.callback(memory.close)
        environment = {
            "VERVE_CALLBACKS": "listed",
            "VERVE_CALLBACK_ALLOW": "127.0.0.1",
            "VERVE_CALLBACK_LOG": "failures",
            "VERVE_SOURCE": "torture",
            "VERVE_SINKS": "log",
        }
        sets_clock = self.plan.sets_clocks and has_wall_clocks()
        clock = WallClock(directory / "clock") if sets_clock else None
        if clock is not None:
            environment |= clock.environment
        if state is not None:
            environment["VERVE_STATE_DIR"] = str(state.path / "state")
        if self.redis is not None:
            environment |= {
                "VERVE_REDIS_URL": self.redis.url,
                "VERVE_CLUSTER": "torture",
                "VERVE_REDIS_KEEP": "10m",
            }
        if self.kafka is not None:
            environment |= {
                "VERVE_SINKS": "log,kafka",
                "VERVE_KAFKA_BROKERS": self.kafka.address,
                "VERVE_KAFKA_TOPIC": self.topic,
            }
        service = Service(
            directory,
            self.plan.listeners[number],
            workers=self.plan.workers,
            window=self.plan.window,
            max_ids=MAX_IDS,
            environment=environment,
            segment=None if memory is None else memory.path / "segment",
        )
        if state is not None:
            service.state_directory = state.path / "state"
        return Host(name, service, clock, state, memory)

    def __enter__(self) -> Self:
        try:
            with ThreadPoolExecutor() as pool:
                starts = [one.start for one in (self.kafka, self.redis) if one is not None]
                for done in [pool.submit(start) for start in starts]:
                    done.result()
            for host in self.hosts:
                self._all.callback(host.service.close)
                host.service.start(ready=False)
            for host in self.hosts:
                host.service.wait_ready(60)
            self.proxy.start()
            if self.kafka is not None:
                self.reader = self._all.enter_context(Reader(self.kafka.address, self.topic))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.ExitStack() as ends:
            if self.redis is not None:
                ends.callback(self.redis.kill)
            if self.kafka is not None:
                ends.callback(self.kafka.kill)
            ends.callback(self.proxy.kill)
            ends.callback(self._all.close)
