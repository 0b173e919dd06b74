"""`VERVE_ACK=store`: an accept is answered `ok` once Redis has its id, and not before."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.redis.server import RedisServer, wait_until
from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.service import Service

KINDS = {
    "asyncio tasks": [],
    "rust tasks": ["--task-impl", "rust"],
}
_UNCONFIRMED_WITHIN = 8.0


class Rig:
    """A service, and the Redis that it confirms by."""

    def __init__(self, service: Service, redis: RedisServer) -> None:
        self.service = service
        self.redis = redis

    def has(self, id: int) -> bool:
        """Whether Redis has this id, in any window and shard."""
        member = id.to_bytes(8, "little", signed=True)
        return any(self.redis.command("SISMEMBER", key, member) for key in self._sets())

    def count(self) -> int:
        """Ids that Redis has."""
        members = [m for key in self._sets() for m in self.redis.command("SMEMBERS", key)]
        return sum(len(member) == 8 for member in members)

    def accept(self, id: int) -> httpx.Response:
        """One accept."""
        return self.service.get(f"{ACCEPT}?id={id}", timeout=10)

    def batch(self, *ids: int) -> httpx.Response:
        """One batch."""
        return self.service.post(json=list(ids), timeout=10)

    def recover(self) -> None:
        """Let Redis go on, and wait until accepts are confirmed again."""
        self.redis.resume()
        wait_until(lambda: self.accept(0).status_code == httpx.codes.OK or None, "recovery", 10)

    def _sets(self) -> list[bytes]:
        # The test may ask what Verve must not.
        keys: list[bytes] = self.redis.command("KEYS", "verve:*:ids")
        return keys


@pytest.fixture(params=KINDS)
def at(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> Iterator[Rig]:
    with RedisServer(tmp_path / "redis") as redis:
        service = serve(
            Server.GRANIAN,
            window=3600,
            arguments=KINDS[request.param],
            environment={
                "VERVE_ACK": "store",
                "VERVE_CLUSTER": "ack",
                "VERVE_REDIS_URL": redis.url,
            },
        )
        yield Rig(service, redis)


def test_ok_means_that_redis_has_it(at: Rig) -> None:
    for id in (1, -1, 0, 2**63 - 1, -(2**63)):
        assert not at.has(id)
        for _ in range(2):
            response = at.accept(id)
            assert (response.status_code, response.text) == (200, "ok")
            assert at.has(id)
    assert at.count() == 5


def test_ok_means_so_for_many_clients_at_once(at: Rig) -> None:
    numbers = itertools.count()

    def work(worker: int) -> None:
        with httpx.Client(base_url=at.service.url()) as client:
            for _ in range(50):
                id = next(numbers) if worker % 2 else worker
                assert client.get(f"{ACCEPT}?id={id}").text == "ok"
                assert at.has(id)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))


def test_a_duplicate_is_sent_too(at: Rig) -> None:
    assert at.accept(7).text == "ok"
    # As if Redis had lost it: the host knows the id, and yet its `ok` is true.
    at.redis.command("FLUSHALL")
    assert at.accept(7).text == "ok"
    assert at.has(7)
    assert at.batch(7, 8).json()["new"] == 1
    at.redis.command("FLUSHALL")
    assert at.batch(8, 7, 7).json()["accepted"] == 3
    assert at.count() == 2


def test_batches(at: Rig) -> None:
    response = at.batch(*range(5_000), *range(100))
    assert response.status_code == 200
    assert (response.json()["accepted"], response.json()["new"]) == (5_100, 5_000)
    assert at.count() == 5_000
    assert at.batch(-1).status_code == 200
    assert at.has(-1)


def test_what_is_refused_is_refused_as_ever(at: Rig) -> None:
    assert at.service.get(f"{ACCEPT}?id=x").status_code == 400
    assert at.service.post(json=[1, "x"]).status_code == 400
    assert at.batch().status_code in {200, 400}
    assert at.count() == 0


def test_without_an_answer_of_redis_there_is_no_ok(at: Rig) -> None:
    assert at.accept(0).text == "ok"
    at.redis.pause()
    asks: list[Callable[[], httpx.Response]] = [
        lambda: at.accept(1),
        lambda: at.accept(0),
        lambda: at.batch(2, 3),
    ]
    for ask in asks:
        started = time.monotonic()
        response = ask()
        assert time.monotonic() - started < _UNCONFIRMED_WITHIN
        assert response.status_code == 503
        assert response.headers["verve-error"] == "store unconfirmed"
        assert response.headers["retry-after"] == "1"
        assert response.headers["cache-control"] == "no-store"
        assert response.text == "failed"
    # Nor do many that wait make one another wait.
    with ThreadPoolExecutor(20) as threads:
        started = time.monotonic()
        codes = {response.status_code for response in threads.map(at.accept, range(10, 30))}
        assert codes == {503}
        assert time.monotonic() - started < _UNCONFIRMED_WITHIN
    samples = at.service.get("/metrics").text
    assert 'reason="store_unconfirmed"' in samples
    at.recover()
    # Refused, they were recorded nevertheless, and reach Redis: that is why one asks again.
    wait_until(lambda: all(map(at.has, [1, 2, 3, *range(10, 30)])) or None, "all ids", 10)
    assert at.accept(1).text == "ok"


def test_a_redis_that_was_away_and_comes_back_empty(at: Rig) -> None:
    assert at.accept(1).text == "ok"
    at.redis.kill()
    started = time.monotonic()
    response = at.accept(2)
    assert time.monotonic() - started < _UNCONFIRMED_WITHIN
    assert (response.status_code, response.headers["verve-error"]) == (503, "store unconfirmed")
    at.redis.start()
    wait_until(lambda: at.accept(2).status_code == httpx.codes.OK or None, "recovery", 10)
    assert at.has(2)
    assert at.accept(1).text == "ok"
    assert at.has(1)


def test_the_fast_path_is_off_and_says_so_once(at: Rig) -> None:
    assert at.accept(1).text == "ok"
    (line,) = at.service.events("fast_path.off")
    assert "VERVE_ACK=store" in str(line)
    assert not at.service.events("fast_path.unavailable")
    at.service.stop()
    # Neither way of tasks keeps the threads that speak with Redis from ending as they should.
    assert not at.service.events("leader.stumbled")
    assert "Traceback" not in at.service.output()


def test_stopping_while_redis_is_away_does_not_hang(at: Rig) -> None:
    at.redis.pause()
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(at.accept, 1)
        time.sleep(0.3)
        at.service.stop()
        assert answer.exception(10) is not None or answer.result().status_code == 503
    at.redis.resume()
