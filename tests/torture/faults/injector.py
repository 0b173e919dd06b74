"""Injects faults by seed.

Each host has a thread for its faults and one for its clock; Redis, Kafka and the proxy share one.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.wall_clock import available as has_wall_clocks
from tests.torture.faults import probes
from tests.torture.faults.host_faults import (
    CLOCK_FAULTS,
    DISK_FAULTS,
    FOLLOWED_STEP,
    HOST_FAULTS,
    KILLS,
    LONGEST_STEP,
    MEMORY_FAULTS,
)
from tests.torture.faults.memory import MemoryLimit
from tests.torture.faults.outages import KAFKA_FAULTS, PROXY_FAULTS, REDIS_FAULTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.support.wall_clock import WallClock
    from tests.torture.faults.host_faults import HostFault
    from tests.torture.faults.rig import Host, Rig

PATIENCE = 120.0
"""Seconds after which a component that does not work again is a fault of the service."""
LONGEST_PAUSE = 2.0
_LONGEST_CLOCK_PAUSE = 8.0
_LONGEST_CLOCK_FAULT = 15.0
"""Long enough for a large step forward to be believed, which takes 10 s."""


@dataclass(frozen=True, slots=True)
class Injected:
    """One fault. `seconds`: from its end, or from the kill, until all worked again."""

    kind: str
    where: str
    at: float
    seconds: float


class Injector:
    """Injects from `start` until `stop`, which waits until all works again."""

    def __init__(self, rig: Rig) -> None:
        self.injected: list[Injected] = []
        self.problems: list[str] = []
        self._rig = rig
        self._stop = threading.Event()
        has_disks = all(host.state is not None for host in rig.hosts)
        has_limits = MemoryLimit.available()
        self.left_out = [
            *([] if has_disks else DISK_FAULTS),
            *([] if has_limits else MEMORY_FAULTS),
            *([] if has_wall_clocks() else CLOCK_FAULTS),
            *([] if rig.kafka is not None else KAFKA_FAULTS),
        ]
        """Kinds that this machine cannot have."""
        self._of_hosts = {
            **HOST_FAULTS,
            **(DISK_FAULTS if has_disks else {}),
            **(MEMORY_FAULTS if has_limits else {}),
        }
        self._outages = {
            **(REDIS_FAULTS if rig.redis is not None else {}),
            **(KAFKA_FAULTS if rig.kafka is not None else {}),
            **PROXY_FAULTS,
        }
        self._threads = [
            threading.Thread(target=self._guarded, args=(host.name, self._host_lane, host))
            for host in rig.hosts
        ]
        self._threads += [
            threading.Thread(
                target=self._guarded,
                args=(f"{host.name}/clock", self._clock_lane, host, host.clock),
            )
            for host in rig.hosts
            if host.clock is not None
        ]
        self._threads.append(
            threading.Thread(target=self._guarded, args=("outside", self._outside_lane))
        )

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Inject no more, and wait until what was injected is over."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def kills(self) -> int:
        """How many processes of Verve were killed at least."""
        return sum(KILLS.get(one.kind, 0) for one in self.injected)

    def _guarded(self, name: str, lane: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401
        try:
            lane(random.Random(f"{self._rig.plan.seed}/{name}"), *arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, the round failed
            self.problems.append(f"faults at {name} ended with {error!r}"[:3_000])

    def _host_lane(self, draw: random.Random, host: Host) -> None:
        while not self._pause(draw):
            kind, fault = _drawn(self._of_hosts, draw)
            self._injure(kind, fault, host, draw)

    def _clock_lane(self, draw: random.Random, host: Host, clock: WallClock) -> None:
        """Set the wall clock, and after a while back to the machine's."""
        while not self._pause(draw, _LONGEST_CLOCK_PAUSE):
            kind = draw.choice(list(CLOCK_FAULTS))
            most = draw.choice((FOLLOWED_STEP, LONGEST_STEP))
            at = time.time()
            clock.set(CLOCK_FAULTS[kind] * draw.uniform(0.5, most))
            self._stop.wait(draw.uniform(0.5, _LONGEST_CLOCK_FAULT))
            clock.set(0)
            over = time.monotonic()
            works = self._until(over, lambda: probes.serves(host), kind, host.name)
            self.injected.append(Injected(kind, host.name, at, works))

    def _injure(self, kind: str, fault: HostFault, host: Host, draw: random.Random) -> None:
        at = time.time()
        began = fault(host, draw)
        over = time.time()

        def works() -> bool:
            process = host.service.process
            if process is not None and process.poll() is not None and kind in MEMORY_FAULTS:
                # The limit has killed the parent, and an operator starts it again.
                host.service.kill()
                host.service.start(ready=False)
            if not probes.serves(host):
                return False
            return kind not in DISK_FAULTS or probes.stores(host, over)

        self.injected.append(
            Injected(kind, host.name, at, self._until(began, works, kind, host.name))
        )

    def _outside_lane(self, draw: random.Random) -> None:
        while not self._pause(draw):
            kind, outage = _drawn(self._outages, draw)
            at = time.time()
            outage(self._rig, draw)
            began, over = time.monotonic(), time.time()
            if kind in REDIS_FAULTS:
                works = self._until(began, lambda: probes.publishes(self._rig, over), kind, "Redis")  # noqa: B023 - at once
            elif kind in KAFKA_FAULTS:
                works = self._until(began, lambda: probes.delivers(self._rig, over), kind, "Kafka")  # noqa: B023 - at once
            else:
                works = self._until(began, lambda: probes.forwards(self._rig), kind, "proxy")
            self.injected.append(Injected(kind, "outside", at, works))

    def _pause(self, draw: random.Random, longest: float = LONGEST_PAUSE) -> bool:
        """Wait for a while; whether to stop."""
        return self._stop.wait(self._rig.plan.slowed * draw.uniform(0, longest))

    def _until(self, began: float, works: Callable[[], bool], kind: str, where: str) -> float:
        while not works():
            if time.monotonic() > began + PATIENCE:
                self.problems.append(f"{where} does not work {PATIENCE:.0f} s after: {kind}")
                break
            time.sleep(0.02)
        return time.monotonic() - began


def _drawn(faults: Mapping[str, tuple[Any, int]], draw: random.Random) -> tuple[str, Any]:
    (kind,) = draw.choices(list(faults), [weight for _, weight in faults.values()])
    return kind, faults[kind][0]
