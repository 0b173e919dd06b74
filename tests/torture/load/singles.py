"""Accepts of one id: new ones, duplicates, with an endpoint, and bad ones."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.torture.load.answers import Answer, Meaning
from tests.torture.load.connection import Connection
from tests.torture.reference.numbering import HOT, HOT_IDS, id_of

if TYPE_CHECKING:
    from tests.torture.load.config import Config
    from tests.torture.load.tally import Tally

BURST = 12
"""Requests in flight on a connection."""

BAD = {
    "": b"id missing",
    "id=": b"id invalid",
    "id={id}&id={id}": b"id repeated",
    "id={id}x": b"id invalid",
    "id=+{id}": b"id invalid",
    "id=9223372036854775808": b"id out of range",
    "id=-9223372036854775809": b"id out of range",
    "id={id}&endpoint=nowhere": b"endpoint invalid",
    "id={id}&endpoint=ftp%3A%2F%2F127.0.0.1%2F": b"endpoint invalid",
    "id={id}&endpoint=http%3A%2F%2Fu%3Ap%40127.0.0.1%2F": b"endpoint userinfo",
    "id={id}&endpoint=http%3A%2F%2F169.254.169.254%2F": b"endpoint address",
    "id={id}&endpoint=http%3A%2F%2F127.0.0.1%2F&endpoint=x": b"endpoint repeated",
}
"""Queries that count nothing, with the reason that their answers name."""


@dataclass(slots=True)
class Single:
    """One request. Exactly one of `hot`, `fresh` and `bad` says which id it has."""

    text: bytes
    hot: int | None = None
    is_fresh: bool = False
    bad: bytes | None = None
    callback: int | None = None


class Singles:
    """One connection that sends them."""

    def __init__(self, config: Config, tally: Tally, number: int) -> None:
        self._config = config
        self._tally = tally
        self._random = random.Random(f"{config.seed}/single/{number}")
        # Two of three go through the proxy.
        names = list(config.hosts)
        self._host = names[number // 3 % len(names)] if number % 3 == 2 else None
        port = config.proxy if self._host is None else config.hosts[self._host]
        self._connection = Connection(port)
        rate = config.singles_rate / max(config.singles, 1)
        self._pause = BURST / rate if rate else 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Send until told to stop."""
        while not stop.is_set():
            began = time.monotonic()
            await self._burst()
            await asyncio.sleep(max(0.0, began + self._pause - time.monotonic()))
        self._connection.close()

    async def _burst(self) -> None:
        asked = [self._next() for _ in range(BURST)]
        sent_at = time.time()
        answers, why, is_sent = await self._connection.exchange([one.text for one in asked])
        for one, answer in zip(asked, answers, strict=False):
            self._judge(one, answer, sent_at)
        if any(one.status == 503 for one in answers):
            await asyncio.sleep(0.2)
        if why is None:
            return
        self._tally.refused[why] += 1
        if why.startswith("no answer"):
            self._tally.fault(why)
        if is_sent:
            for one in asked[len(answers) :]:
                self._unanswered(one, sent_at)
        await asyncio.sleep(0.1 + 0.2 * self._random.random())

    def _next(self) -> Single:
        draw = self._random.random()
        tally = self._tally
        if draw < 0.03:
            query, reason = self._random.choice(list(BAD.items()))
            # An id of its own: if it is counted, there is one too many.
            query = query.replace("{id}", str(id_of(tally.fresh.take())))
            return Single(_request(query), bad=reason)
        if draw < 0.25:
            hot = self._random.randrange(HOT)
            return Single(_request(f"id={HOT_IDS[hot]}&verdict=1"), hot=hot)
        number = tally.fresh.take()
        query = f"id={id_of(number)}&verdict=1"
        if draw < 0.26:
            target = f"http%3A%2F%2F127.0.0.1%3A{self._config.receiver}%2F{number}"
            return Single(_request(f"{query}&endpoint={target}"), is_fresh=True, callback=number)
        return Single(_request(query), is_fresh=True)

    def _judge(self, one: Single, answer: Answer, sent_at: float) -> None:
        tally = self._tally
        if one.bad is not None:
            self._judge_bad(one.bad, answer)
            return
        tally.counts["singles"] += 1
        match answer.meaning:
            case Meaning.COUNTED:
                host = self._host or answer.fields.get(b"x-host", b"?").decode()
                window = answer.fields.get(b"verve-window", b"")
                seen = answer.fields.get(b"verve-seen", b"")
                if answer.body != b"ok" or not window.isdigit() or not seen:
                    tally.fault(f"this is no `ok`: {answer}")
                    self._unanswered(one, sent_at)
                    return
                tally.counts["singles_ok"] += 1
                tally.placed(host, int(window), seen=seen, hot=one.hot)
                if one.callback is not None:
                    tally.promised[one.callback] = int(window)
            case Meaning.NOT_KNOWN:
                tally.refused[answer.reason] += 1
                self._unanswered(one, sent_at)
            case Meaning.NOT_COUNTED:
                tally.refused[answer.reason] += 1
                if answer.status in {400, 500}:
                    tally.fault(f"a good request got {answer}")
                if one.callback is not None:
                    tally.denied.add(one.callback)

    def _judge_bad(self, reason: bytes, answer: Answer) -> None:
        self._tally.counts["bad"] += 1
        by_proxy = answer.fields.get(b"verve-error") is None and answer.status > 500
        if not by_proxy and (answer.status, answer.fields.get(b"verve-error")) != (400, reason):
            self._tally.fault(f"a request with `{reason!r}` got {answer}")

    def _unanswered(self, one: Single, sent_at: float) -> None:
        if one.bad is None:
            self._tally.counts["singles_unanswered"] += 1
            hot = () if one.hot is None else (one.hot,)
            self._tally.reference.unanswered(sent_at, fresh=int(one.is_fresh), hot=hot)


def _request(query: str) -> bytes:
    return f"GET /api/verve/accept?{query} HTTP/1.1\r\nhost: verve\r\n\r\n".encode()
