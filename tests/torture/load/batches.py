"""Batches in the three forms: large ones of new ids, and small ones of ids sent again and again."""

from __future__ import annotations

import asyncio
import json
import random
import time
from array import array
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from tests.torture.load.answers import Answer, Meaning
from tests.torture.load.connection import Connection
from tests.torture.reference.numbering import HOT, HOT_IDS, ids_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.torture.load.config import Config
    from tests.torture.load.tally import Tally

_BAD_TYPE = "image/png"
_FORMS = ("application/octet-stream", "application/json", "text/plain")


class Batch(NamedTuple):
    """One request. `hot`: the numbers of its ids, or None if they were never sent."""

    text: bytes
    size: int
    hot: Sequence[int] | None


class Batches:
    """One connection that sends them."""

    def __init__(self, config: Config, tally: Tally, number: int) -> None:
        self._config = config
        self._tally = tally
        self._random = random.Random(f"{config.seed}/batch/{number}")
        names = list(config.hosts)
        own = number % 2 == 1
        port = config.hosts[names[number // 2 % len(names)]] if own else config.proxy
        self._connection = Connection(port)
        rate = config.batch_rate / max(config.batches, 1)
        self._pause = 1 / rate if rate else 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Send until told to stop."""
        while not stop.is_set():
            began = time.monotonic()
            draw = self._random.random()
            if draw < 0.03:
                await self._send_bad()
            else:
                await self._send(self._hot() if draw < 0.3 else self._fresh())
            await asyncio.sleep(max(0.0, began + self._pause - time.monotonic()))
        self._connection.close()

    def _fresh(self) -> Batch:
        # The binary form is the one for volume.
        form = self._random.choices(_FORMS, (8, 1, 1))[0]
        most = self._config.batch_size if form == _FORMS[0] else self._config.batch_size // 10
        size = self._random.randint(1, most)
        ids = ids_of(self._tally.fresh.take(size), size)
        body = ids.astype("<i8").tobytes() if form == _FORMS[0] else _body(form, ids.tolist())
        return Batch(_request(form, body), size, None)

    def _hot(self) -> Batch:
        form = self._random.choice(_FORMS)
        hot = [self._random.randrange(HOT) for _ in range(self._random.randint(1, 200))]
        body = _body(form, [HOT_IDS[number] for number in hot])
        return Batch(_request(form, body), len(hot), hot)

    async def _send(self, batch: Batch) -> None:
        sent_at = time.time()
        answers, why, is_sent = await self._connection.exchange([batch.text])
        self._tally.counts["batches"] += 1
        if answers:
            self._judge(batch, answers[0], sent_at)
            return
        assert why is not None
        self._tally.refused[why] += 1
        if is_sent:
            self._unanswered(batch, sent_at, batch.size)
        await asyncio.sleep(0.1 + 0.2 * self._random.random())

    def _judge(self, batch: Batch, answer: Answer, sent_at: float) -> None:
        match answer.meaning:
            case Meaning.COUNTED:
                self._placed(batch, answer, sent_at)
            case Meaning.NOT_KNOWN:
                self._tally.refused[answer.reason] += 1
                self._unanswered(batch, sent_at, batch.size)
            case Meaning.NOT_COUNTED:
                self._tally.refused[answer.reason] += 1
                if answer.status in {400, 500}:
                    self._tally.fault(f"a good batch got {answer}")
                recorded = int(answer.fields.get(b"verve-recorded", b"0"))
                self._unanswered(batch, sent_at, recorded)

    def _placed(self, batch: Batch, answer: Answer, sent_at: float) -> None:
        tally = self._tally
        try:
            told = json.loads(answer.body)
            parts = {_moment(part["window_start"]): part["new"] for part in told["windows"]}
            accepted, new = told["accepted"], told["new"]
        except (ValueError, KeyError, TypeError):
            tally.fault(f"this is no answer to a batch: {answer}")
            self._unanswered(batch, sent_at, batch.size)
            return
        tally.counts["batches_ok"] += 1
        tally.counts["batch_ids_ok"] += accepted
        if accepted != batch.size or new != sum(parts.values()) or not parts:
            tally.fault(f"the parts of a batch of {batch.size} do not add up: {told}")
        reference = tally.reference
        if batch.hot is None:
            if new != batch.size:
                tally.fault(f"of {batch.size} ids that were sent once {new} are new: {told}")
            for start, count in parts.items():
                reference.fresh[start] += count
        elif len(parts) == 1:
            (start,) = parts
            reference.hot[start].update(batch.hot)
        else:
            # Each is in one of them, and the answer does not say in which.
            reference.unanswered(min(*parts, sent_at), hot=batch.hot)

    def _unanswered(self, batch: Batch, sent_at: float, first: int) -> None:
        """The first of its ids may be counted."""
        if batch.hot is None:
            self._tally.reference.unanswered(sent_at, fresh=first)
        else:
            self._tally.reference.unanswered(sent_at, hot=batch.hot[:first])
        self._tally.counts["batch_ids_unanswered"] += first

    async def _send_bad(self) -> None:
        """One bad id rejects all, and so does a type that is none of the three."""
        ids = ids_of(self._tally.fresh.take(20), 20).tolist()
        text, reason = self._random.choice(
            [
                (_request(_FORMS[1], json.dumps([*ids, "x"]).encode()), b"id invalid"),
                (_request(_FORMS[1], b'{"ids": 1}'), b"body invalid"),
                (_request(_FORMS[2], _body(_FORMS[2], ids) + b"\n1e400\n"), b"id invalid"),
                (_request(_FORMS[0], array("q", ids).tobytes()[:-3]), b"body invalid"),
                (_request(_BAD_TYPE, b"x"), b"body type"),
            ]
        )
        answers, why, _ = await self._connection.exchange([text])
        if why is not None:
            self._tally.refused[why] += 1
            await asyncio.sleep(0.2)
        for answer in answers:
            self._tally.counts["bad"] += 1
            told = answer.fields.get(b"verve-error")
            by_others = told == b"bodies full" or (told is None and answer.status > 500)
            if told != reason and not by_others:
                self._tally.fault(f"a batch with `{reason!r}` got {answer}")


def _moment(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def _body(form: str, ids: list[int]) -> bytes:
    if form == _FORMS[0]:
        return array("q", ids).tobytes()
    if form == _FORMS[1]:
        return json.dumps(ids).encode()
    return "\n".join(map(str, ids)).encode()


def _request(form: str, body: bytes) -> bytes:
    head = (
        "POST /api/verve/accept HTTP/1.1\r\nhost: verve\r\n"
        f"content-type: {form}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
