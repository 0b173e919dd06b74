"""Answers of Redis that are changed by chance, read by the real code of the cluster.

The scripts run in the double of the simulation. Of what a call answers, one element is changed. The
call then raises `StoreError`, or its result is one that Redis could have given.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from tests.faults.cluster.fuzz.mutation import mutated
from tests.simulation.redis_double import RedisDouble
from verve.cluster.protocol.clock import sample
from verve.cluster.redis_state.changes import Changes
from verve.cluster.redis_state.hosts import ClusterError, HostInfo, HostLines, HostTable
from verve.cluster.redis_state.keys import Keys, is_id
from verve.cluster.redis_state.window_state import Step, Token, WindowState, WindowStates
from verve.stores.address import Address
from verve.stores.base import MARKER_BYTES, StoreCount, StoreError
from verve.stores.client import RedisClient
from verve.stores.redis_sets import RedisSets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Call: TypeAlias = "Callable[[], Awaitable[object]]"

W = 1_800_000_000
NOW_US = (W + 61) * 1_000_000
A, B, C = "a" * 16, "b" * 16, "c" * 16
MARKER, OTHER = b"v" + bytes(range(8)), b"v" + bytes(8)
LARGEST = 10**15
"""No number of the protocol is as large."""
_CHANGES_OF_AN_ANSWER = 8


class FuzzedClient(RedisClient):
    """The client, on a double of Redis. `change` is applied to each answer."""

    def __init__(self, server: RedisDouble) -> None:
        super().__init__(Address.parse("redis://double"))
        self.server = server
        self.change: Callable[[Any], Any] = lambda answer: answer
        self.redis = self.connection_pool = self

    async def run(self, script: str, keys: Sequence[str], args: Sequence[bytes | str | int]) -> Any:  # noqa: ANN401
        """See `RedisClient`."""
        return self.change(self.server.script(script, keys, args))

    async def run_for_each(
        self, script: str, keys: Sequence[Sequence[str]], args: Sequence[bytes | str | int]
    ) -> list[Any]:
        """See `RedisClient`: the list is made by the client, so only its items are changed."""
        return [await self.run(script, group, args) for group in keys]

    async def send(self, commands: Sequence[bytes]) -> list[Any]:
        """See `RedisClient`."""
        return [self.change(1) for _ in commands]

    async def disconnect(self, *, inuse_connections: bool) -> None:
        """See redis-py."""

    async def execute_command(self, name: str, section: str) -> Any:  # noqa: ANN401
        """See redis-py, which makes a dictionary of an answer to INFO."""
        text: str = self.server.command(name.encode(), section.encode()).decode()
        lines = [line.partition(":") for line in text.splitlines()]
        return self.change({field: value for field, _, value in lines})


@dataclass(slots=True)
class Parts:
    """What uses the client."""

    client: FuzzedClient
    states: WindowStates
    hosts: HostTable
    changes: Changes
    sets: RedisSets

    @classmethod
    def made(cls, server: RedisDouble) -> Parts:
        """New ones on a server."""
        client, keys = FuzzedClient(server), Keys("fuzz", 60)
        table = HostTable(client, keys, HostInfo(A, "name", "1.0"))
        sets = RedisSets(client, "fuzz", 60)
        return cls(client, WindowStates(client, keys), table, Changes(client, keys), sets)


async def filled() -> RedisDouble:
    """A server with a window that three hosts know, two of them complete.

    It has a record, and one of the hosts has taken the token to commit the next one.
    """
    server = RedisDouble(lambda: NOW_US, "1")
    parts = Parts.made(server)
    states, token = parts.states, Token(f"{A}.1", 1)
    for host, marker in ((A, MARKER), (B, None)):
        await states.register(W, host, {MARKER: A})
        await states.complete(W, host, marker, "e 1")
    await states.register(W, C, {OTHER: C})
    await parts.sets.mark(W, MARKER)
    await states.begin(W, A, token)
    fixed = (await states.fix(W, token)).state
    await states.commit(W, A, token, fixed, count=7, complete=False)
    await states.begin(W, B, Token(f"{B}.1", 1))
    for host in (A, B, C):
        await HostTable(parts.client, parts.states.keys, HostInfo(host, "n", "1")).renew(W, 0, 5, 9)
    await parts.hosts.note_missing((await parts.hosts.read()).hosts.values())
    await parts.changes.note(W)
    return server


async def calls(parts: Parts) -> dict[str, Call]:
    """Each call that reads an answer."""
    state = await parts.states.read(W)
    lines = await parts.hosts.read()
    record, states, hosts = state.record, parts.states, parts.hosts
    assert record is not None
    token = Token(f"{A}.1", 2)
    return {
        "read": partial(states.read, W),
        "register": partial(states.register, W, B, {OTHER: B}),
        "complete": partial(states.complete, W, C, OTHER, "e 2"),
        "begin": partial(states.begin, W, A, token),
        "fix": partial(states.fix, W, token),
        "commit": partial(states.commit, W, A, token, state, count=9, complete=True),
        "release": partial(states.release, W, token),
        "set_back": partial(states.set_back, W, A, state.hosts[A]),
        "restore": partial(states.restore, W, record),
        "delivered": partial(states.delivered, W, 1),
        "take_over": partial(states.take_over, W, B, record),
        "renew": partial(hosts.renew, W, 0, 0, 0),
        "lines": hosts.read,
        "leave": hosts.leave,
        "forget": partial(hosts.forget, C),
        "forget_old": partial(hosts.forget_old, lines),
        "note_missing": partial(hosts.note_missing, lines.hosts.values()),
        "note": partial(parts.changes.note, W),
        "news": parts.changes.news,
        "add": partial(parts.sets.add, W, {3: [bytes(8)]}),
        "mark": partial(parts.sets.mark, W, OTHER),
        "count": partial(parts.sets.count, W, [MARKER, OTHER]),
        "time": parts.client.time_microseconds,
        "offset": partial(sample, parts.client, lambda: 5),
        "epochs": parts.client.epochs,
        "policy": parts.client.eviction_policy,
    }


def _is_number(value: object) -> bool:
    return type(value) is int and 0 <= value < LARGEST


def _is_state(state: WindowState) -> bool:
    record = state.record
    return (
        all(map(_is_number, (state.now, state.changes, state.published_changes, state.fixed)))
        and all(map(is_id, [*state.hosts, *state.markers.values()]))
        and all(len(marker) == MARKER_BYTES for marker in state.markers)
        and state.hosts_as_written.count(b"\n") >= len(state.hosts)
        and (record is None or (record.revision > 0 and _is_number(record.count)))
        and (record is None or _is_number(record.delivery_since))
    )


def _is_lines(lines: HostLines) -> bool:
    every = [*lines.hosts.values(), *lines.missing.values()]
    numbers = (number for line in every for number in (line.heartbeat, line.in_touch_since))
    return (
        _is_number(lines.now)
        and all(map(_is_number, numbers))
        and all(one.written for one in every)
    )


def is_possible(found: object) -> bool:
    """Whether Redis could have given this result of a call."""
    match found:
        case Step():
            return _is_state(found.state)
        case WindowState():
            return _is_state(found)
        case HostLines():
            return _is_lines(found)
        case StoreCount():
            return _is_number(found.ids) and found.markers <= {MARKER, OTHER}
        case list():
            return all(map(_is_number, found))
    return True


async def fuzz(seed: int) -> int:
    """Change the answers to each call; how many were changed. Raises `AssertionError`."""
    draw = random.Random(seed)
    server = await filled()
    parts = Parts.made(server)
    every = await calls(parts)
    kept = server.copy("1").values
    answers: list[Any] = []

    def change(answer: Any) -> Any:  # noqa: ANN401
        answers.append(mutated(answer, draw))
        return answers[-1]

    parts.client.change = change
    for name, call in every.items():
        for _ in range(_CHANGES_OF_AN_ANSWER):
            answers.clear()
            try:
                found = await call()
                possible = is_possible(found)
            except (StoreError, ClusterError):
                possible = True
            except Exception as error:
                raise AssertionError(f"{name} of {ascii(answers)[:1_000]}: {error!r}") from error
            assert possible, f"{name} of {ascii(answers)[:1_000]}: {found!r}"
            server.values = {key: value.copy() for key, value in kept.items()}
    return len(every) * _CHANGES_OF_AN_ANSWER
