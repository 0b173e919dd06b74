"""Values in Redis that are changed by chance, and what the hosts make of them.

One field, member or line is changed while a host is late. Whatever it was, the late host completes,
asks for a revision and gets it, within the time of a token. The count is not lowered, except if
Redis has another number in its place.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from tests.faults.cluster.fuzz.mutation import damaged
from tests.faults.cluster.fuzz.replies import NOW_US, OTHER, B, C, Parts, W, filled, is_possible
from verve.cluster.redis_state.window_state import TOKEN_MILLISECONDS, Outcome, Token

if TYPE_CHECKING:
    from tests.simulation.redis_double import RedisDouble

COUNT = 7
"""Of the record before."""
_TOKEN_SECONDS = 11 * TOKEN_MILLISECONDS // 1_000


def change(server: RedisDouble, draw: random.Random) -> tuple[bytes, bytes]:
    """Change a value of a key; returns the key and the name of the field."""
    keys = [key for key, value in sorted(server.values.items()) if isinstance(value, dict)]
    key = draw.choice(keys)
    fields: Any = server.values[key]
    name = draw.choice(sorted(fields))
    value = fields[name]
    if not isinstance(value, bytes):
        # A score, which Redis keeps as a number.
        fields[name] = draw.choice((-1.0, 0.0, 1e15, 1e300, float("inf"), float("-inf")))
    elif draw.random() < 0.2:
        fields[damaged(name, draw)] = fields.pop(name)
    else:
        fields[name] = damaged(value, draw)
    return key, name


async def fuzz(seed: int) -> int:
    """Change a value, and go on; how many were changed. Raises `AssertionError`."""
    draw = random.Random(seed)
    server = await filled()
    key, name = change(server, draw)
    shown = f"{key!a} {name!a}: {server.values[key]!a}"
    try:
        await _go_on(server, key, name)
    except Exception as error:
        raise AssertionError(f"{shown}: {error!r}") from error
    return 1


async def _go_on(server: RedisDouble, key: bytes, name: bytes) -> None:
    parts = Parts.made(server)
    states = parts.states
    for found in (await parts.hosts.renew(W, 0, 0, 0), await parts.changes.news()):
        assert is_possible(found), found
    before = await states.read(W)
    await states.register(W, C, {OTHER: C})
    late = await states.complete(W, C, OTHER, "e 2")
    assert late.outcome in {Outcome.COMPLETE, Outcome.KNOWN}, late.outcome
    asked = late.outcome is Outcome.KNOWN or late.state.record is None
    assert asked or late.state.asks_for_revision, "a late host asks for a revision"
    # Its token was taken by another leader, perhaps a moment ago.
    server.time_us = lambda: NOW_US + _TOKEN_SECONDS * 1_000_000
    if (seen := (await states.read(W)).record) is not None and seen.deliverer is not None:
        step = await states.take_over(W, B, seen)
        assert step.outcome is Outcome.TAKEN_OVER, step.outcome
    token = Token(f"{C}.1", 1)
    begun = await states.begin(W, C, token)
    assert begun.outcome is Outcome.BEGUN, begun.outcome
    fixed = (await states.fix(W, token)).state
    done = await states.commit(W, C, token, fixed, count=COUNT + 2, complete=True)
    assert is_possible(done), done
    record, known = done.state.record, before.record
    is_other = key.endswith(b":state") and name in {b"count", b"revision"}
    if known is not None and record is not None:
        assert record.count >= known.count, "the count is lowered"
    if not is_other:
        assert record is not None
        assert (done.outcome, record.count) == (Outcome.COMMITTED, COUNT + 2), done.outcome
        assert not done.state.asks_for_revision
