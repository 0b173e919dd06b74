"""Damaged and foreign entries in Redis are skipped, and harm no other entry."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.cluster.test_state import A, B, W, committed, completed, with_states
from tests.support import logged
from tests.support.cluster.in_process import HookedClient, LocalHost, run
from tests.support.cluster.store_use import MARKS, MINUTE, Redis, grouped
from verve.cluster.redis_state.changes import Changes
from verve.cluster.redis_state.hosts import PROTOCOL, HostInfo, HostTable
from verve.cluster.redis_state.keys import Keys
from verve.cluster.redis_state.window_state import Outcome, WindowStates
from verve.log.skipped import OF_A_PLACE
from verve.stores import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from tests.support.redis.server import RedisServer
    from verve.cluster.interfaces import Client
    from verve.stores import Store

NOW_MS = int(time.time() * 1_000)
DAYS_AHEAD = NOW_MS + 3 * 86_400_000
# Each by its id; all but the last two would be of a host that lives.
LINES: dict[bytes, bytes] = {
    b"empty": b"",
    b"word": b"x",
    b"binary": b"\xff\xfe\x00",
    b"no-protocol": b"%d" % NOW_MS,
    b"no-rest": b"%d %d" % (NOW_MS, PROTOCOL),
    b"no-number": b"%d %d x 0 0 0 1.0 name" % (NOW_MS, PROTOCOL),
    b"negative": b"%d %d 0 -1 0 0 1.0 name" % (NOW_MS, PROTOCOL),
    b"escapes": b"%d %d 0 0 0 0 1.0 \x1b[2J" % (NOW_MS, PROTOCOL),
    b"bad\xffid": b"%d %d 0 0 0 0 1.0 name" % (NOW_MS, PROTOCOL),
    b"two words": b"%d %d 0 0 0 0 1.0 name" % (NOW_MS, PROTOCOL),
    b"huge": b"9" * 400 + b" 77 x",
    b"future": b"%d %d 0 0 0 0 1.0 name" % (DAYS_AHEAD, PROTOCOL),
    b"future-protocol": b"%d 77 x" % DAYS_AHEAD,
}


def _skipped(caplog: pytest.LogCaptureFixture, place: str) -> list[str]:
    told = logged.records(caplog, "entry.skipped")
    fields = [record.__dict__["verve_fields"] for record in told]
    return [each["entry"] for each in fields if place in each["place"]]


def test_broken_lines_of_hosts_stop_no_heartbeat(
    server: RedisServer, cluster: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(LINES) < OF_A_PLACE
    words = [word for pair in LINES.items() for word in pair]
    server.command("HSET", Keys(cluster, 1).hosts, *words)
    peers = [LocalHost(tmp_path / name, server.port, cluster) for name in "ab"]
    with caplog.at_level("INFO", logger="verve"):
        for peer in peers:
            peer.start().wait_until_joined()
        start = peers[0].add(range(100))
        record = peers[0].complete_record(start)
        assert record.unique >= 100
        time.sleep(1.2)  # some heartbeats: each line is reported once
        for peer in peers:
            peer.close()
    told = {name for peer in peers for name in peer.told.names()}
    assert not told & {"redis.away", "leader.stumbled", "cluster.refused"}, told
    assert sorted(_skipped(caplog, "the hosts in Redis")) == sorted(map(ascii, LINES))


def test_hosts_of_another_protocol_that_live_still_keep_us_out(
    server: RedisServer, cluster: str
) -> None:
    keys = Keys(cluster, 60)
    server.command("HSET", keys.hosts, "other", f"{int(time.time() * 1_000)} 77 whatever")

    async def main() -> None:
        client = HookedClient(server.port)
        try:
            with pytest.raises(Exception, match="speak another protocol") as caught:
                await HostTable(client, keys, HostInfo(A, "a", "1")).renew(0, 0, 0, 0)
            assert "other (77)" in str(caught.value)
            assert "`verve serve --cluster ANOTHER`" in str(caught.value)
        finally:
            await client.close()

    run(main())


def test_a_note_of_the_future_hides_no_other(server: RedisServer, cluster: str) -> None:
    keys = Keys(cluster, 60)
    server.command("ZADD", keys.changed, "1e300", "x", "+inf", "120", DAYS_AHEAD, "180")

    async def main() -> None:
        client = HookedClient(server.port)
        try:
            changes = Changes(client, keys)
            assert await changes.news() == [180]
            await changes.note(W)
            assert await changes.news() == [W]
            assert await changes.news() == []
        finally:
            await client.close()

    run(main())


DAMAGE: dict[str | bytes, str | bytes] = {
    "revision": "x",
    "count": "",
    "changes": "1e9",
    "published_changes": "-1",
    "fixed": "9" * 40,
    "token_until": "soon",
    "complete": "perhaps",
    "delivery": b"\xff",
    f"host:{B}": b"complete zz \xff",
    "host:": "registered",
    b"host:\xff": b"\xfe",
    "mark:": A,
    "mark:76": A,
    "mark:not-hex": A,
    b"mark:\xff": A,
    b"\xff": b"\xff",
}


@pytest.mark.parametrize("field", DAMAGE, ids=ascii)
def test_a_damaged_field_of_a_window_is_skipped_and_healed(
    server: RedisServer, cluster: str, field: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def steps(states: WindowStates) -> None:
        await completed(states, A)
        assert await committed(states, 7, complete=True, attempt=1) is Outcome.COMMITTED
        key = states.keys.state(W)
        await asyncio.to_thread(server.command, "HSET", key, field, DAMAGE[field])
        # A host comes late: whatever is damaged, its ids get into a record.
        await states.register(W, B, {})
        await states.complete(W, B, None, "-")
        state = await states.read(W)
        assert state.hosts[A].complete
        assert all(len(marker) == 9 for marker in state.markers)
        assert await committed(states, 9, complete=True, attempt=2) is Outcome.COMMITTED
        after = (await states.read(W)).record
        assert after is not None
        assert after.count == 9
        assert after.revision == (1 if field == "revision" else 2)
        assert after.deliverer == A
        assert (await states.delivered(W, after.revision)).outcome is Outcome.DELIVERED

    with caplog.at_level("INFO", logger="verve"):
        with_states(server, cluster, steps)
    # Fields that are written anew in any case, or belong to no host, are not reported.
    unnoticed = {"complete", "delivery", "token_until", b"\xff"}
    assert bool(_skipped(caplog, "the state `verve:")) == (field not in unnoticed)


def test_a_damaged_delivery_is_taken_over(server: RedisServer, cluster: str) -> None:
    async def steps(states: WindowStates) -> None:
        await completed(states, A)
        assert await committed(states, 7, complete=True, attempt=1) is Outcome.COMMITTED
        key = states.keys.state(W)
        await asyncio.to_thread(server.command, "HSET", key, "delivery", b"nobody \xff")
        record = (await states.read(W)).record
        assert record is not None
        assert record.delivery_since == 0
        step = await states.take_over(W, B, record)
        assert step.outcome is Outcome.TAKEN_OVER
        assert step.state.record is not None
        assert step.state.record.deliverer == B

    with_states(server, cluster, steps)


def test_an_id_among_the_markers_still_counts(
    server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    async def test(store: Store) -> None:
        await store.add(MINUTE, grouped(range(10)))
        await store.mark(MINUTE, MARKS[0])
        for shard, members in grouped(range(10)).items():
            key = f"verve:{{{cluster}:60:{MINUTE}:{shard}}}:marks"
            await asyncio.to_thread(server.command, "SADD", key, *members)
        assert (await store.count(MINUTE, [MARKS[0]])).ids == 10
        assert (await store.count(MINUTE, [])).ids == 10

    Redis(server.url, "sets").use(tmp_path, cluster)(test)


def test_a_key_of_another_kind_is_reported_with_a_hint(
    server: RedisServer, cluster: str, tmp_path: Path
) -> None:
    server.command("SET", Keys(cluster, 60).hosts, "mine")

    async def test(of: HookedClient, _store: Store) -> None:
        with pytest.raises(StoreError, match=r"WRONGTYPE .*; hint: another program wrote one"):
            await HostTable(of, Keys(cluster, 60), HostInfo(A, "a", "1")).renew(0, 0, 0, 0)

    Redis(server.url, "sets").use(tmp_path, cluster).with_client(test)


class Odd:
    """A client whose Redis answers something else than its scripts give."""

    masters = ""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def run(
        self, _script: str, _keys: Sequence[str], _args: Sequence[bytes | str | int]
    ) -> Any:  # noqa: ANN401
        """Answer."""
        return self.answer

    async def time_microseconds(self) -> int:
        """Answer something."""
        return 0

    async def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"OK",
        [],
        [b"bogus", 1, []],
        [b"read", b"x", []],
        [b"read", 1, [b"a"]],
        [1, 1, [7, 8]],
        [1, None, None],
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error_of_redis(answer: object, cluster: str) -> None:
    client: Client = Odd(answer)
    keys = Keys(cluster, 60)

    async def main() -> None:
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: WindowStates(client, keys).register(W, A, {}),
            lambda: WindowStates(client, keys).read(W),
            lambda: HostTable(client, keys, HostInfo(A, "a", "1")).read(),
            lambda: HostTable(client, keys, HostInfo(A, "a", "1")).renew(0, 0, 0, 0),
            lambda: Changes(client, keys).news(),
        ]
        refused = 0
        for call in calls:
            try:
                await call()
            except StoreError:
                refused += 1
        assert refused >= 2

    asyncio.run(main())
