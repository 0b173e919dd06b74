"""What goes wrong beside the hosts: Redis, Kafka and the proxy."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Protocol

from tests.support.redis.connection import RedisError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from tests.torture.faults.rig import Rig

    Outage = Callable[[Rig, random.Random], None]

_LONGEST = 8.0
_LONGEST_CUTS = 4.0


class _Component(Protocol):
    def pause(self) -> None: ...

    def resume(self) -> None: ...


def _paused(component: _Component, draw: random.Random, longest: float = _LONGEST) -> None:
    component.pause()
    try:
        time.sleep(draw.uniform(0.2, longest))
    finally:
        component.resume()


def kill_redis(rig: Rig, draw: random.Random) -> None:
    """It comes back empty, at once or later."""
    assert rig.redis is not None
    rig.redis.kill()
    time.sleep(draw.uniform(0, _LONGEST))
    rig.redis.start()


def stop_redis(rig: Rig, draw: random.Random) -> None:
    """SIGSTOP for a while."""
    assert rig.redis is not None
    _paused(rig.redis, draw)


def flush_redis(rig: Rig, _draw: random.Random) -> None:
    """FLUSHALL."""
    assert rig.redis is not None
    rig.redis.command("FLUSHALL")


def evict(rig: Rig, draw: random.Random) -> None:
    """A shard of the open window is evicted, or of the one before."""
    assert rig.redis is not None
    window = rig.plan.window
    start = int(time.time()) // window * window - draw.choice((0, window))
    with contextlib.suppress(RedisError):
        key = f"verve:{{torture:{window}:{start}:{draw.randrange(16)}}}:ids"
        rig.redis.command("UNLINK", key)


def cut_redis(rig: Rig, draw: random.Random) -> None:
    """All connections to it break again and again, with commands and answers under way."""
    assert rig.redis is not None
    until = time.monotonic() + draw.uniform(0.2, _LONGEST_CUTS)
    while time.monotonic() < until:
        rig.redis.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        time.sleep(draw.uniform(0, 0.3))


def delay_redis(rig: Rig, draw: random.Random) -> None:
    """What it is asked waits, then all comes at once."""
    assert rig.redis is not None
    for _ in range(draw.randint(1, 20)):
        milliseconds = draw.randint(10, 400)
        rig.redis.command("CLIENT", "PAUSE", str(milliseconds), "ALL")
        time.sleep(milliseconds / 1_000 + draw.uniform(0, 0.1))


def kill_kafka(rig: Rig, draw: random.Random) -> None:
    """It comes back with its data."""
    assert rig.kafka is not None
    rig.kafka.kill()
    time.sleep(draw.uniform(0, _LONGEST))
    rig.kafka.start()


def stop_kafka(rig: Rig, draw: random.Random) -> None:
    """SIGSTOP for a while."""
    assert rig.kafka is not None
    _paused(rig.kafka, draw)


def kill_proxy(rig: Rig, draw: random.Random) -> None:
    """All connections through it break."""
    rig.proxy.kill()
    time.sleep(draw.uniform(0, 1))
    rig.proxy.start()


def stop_proxy(rig: Rig, draw: random.Random) -> None:
    """SIGSTOP for a while."""
    _paused(rig.proxy, draw, 4)


REDIS_FAULTS: Mapping[str, tuple[Outage, int]] = {
    "Redis killed": (kill_redis, 3),
    "Redis stopped": (stop_redis, 3),
    "Redis emptied": (flush_redis, 4),
    "Redis key evicted": (evict, 4),
    "Redis connections cut": (cut_redis, 3),
    "Redis delayed": (delay_redis, 3),
}
KAFKA_FAULTS: Mapping[str, tuple[Outage, int]] = {
    "Kafka killed": (kill_kafka, 2),
    "Kafka stopped": (stop_kafka, 2),
}
PROXY_FAULTS: Mapping[str, tuple[Outage, int]] = {
    "proxy killed": (kill_proxy, 2),
    "proxy stopped": (stop_proxy, 2),
}
