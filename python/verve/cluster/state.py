"""The state of a window in Redis: what stands there, and the steps that change it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from . import scripts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .keys import Keys
    from .ports import Client

TOKEN_MILLISECONDS = 3_000
"""How long a publisher may be silent before another takes the token."""
DELIVERY_MILLISECONDS = 10_000
"""How long a delivery may take before another host takes it over, if the first does not live."""
DONE = "done"


class Outcome(StrEnum):
    """What became of a step."""

    READ = "read"
    NEW = "new"
    KNOWN = "known"
    COMPLETE = "complete"
    UNREGISTERED = "unregistered"
    LATE = "late"
    TAKEN = "taken"
    BEGUN = "begun"
    LOST = "lost"
    FIXED = "fixed"
    MOVED = "moved"
    LOWER = "lower"
    SAME = "same"
    COMMITTED = "committed"
    RELEASED = "released"
    SET_BACK = "set back"
    NEWER = "newer"
    RESTORED = "restored"
    DELIVERED = "delivered"
    TAKEN_OVER = "taken over"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a host is with a window. `written` is what stands in Redis, word for word.

    `early`: it left before the end of the window. If it is back, more ids may have come.
    """

    written: str
    complete: bool = False
    marker: bytes | None = None
    epochs: str = ""
    early: bool = False

    @classmethod
    def read(cls, written: str) -> Standing:
        """`registered`, or `complete <marker> <epochs>`; a host without ids has no marker."""
        word, _, rest = written.partition(" ")
        if word not in {"complete", "early"}:
            return cls(written)
        marker, _, epochs = rest.partition(" ")
        return cls(
            written,
            complete=True,
            marker=None if marker == "-" else bytes.fromhex(marker),
            epochs=epochs,
            early=word == "early",
        )


@dataclass(frozen=True, slots=True)
class Record:
    """What was published of a window, revisions from 1 on."""

    revision: int
    count: int
    complete: bool
    publisher: str
    delivery: str

    @property
    def deliverer(self) -> str | None:
        """The host that has to deliver it; None when it is done."""
        return None if self.delivery == DONE else self.delivery.partition(" ")[0]

    @property
    def delivery_since(self) -> int:
        """Since when, in milliseconds; 0 when it is done."""
        return int(self.delivery.partition(" ")[2] or 0)


@dataclass(frozen=True, slots=True)
class State:
    """All that stands there. `now` is Redis's time in milliseconds; markers are by their bytes."""

    now: int
    hosts: Mapping[str, Standing]
    markers: Mapping[bytes, str]
    changes: int
    published_changes: int
    token: str | None
    fixed: int
    record: Record | None

    @property
    def asks_for_revision(self) -> bool:
        """Whether something changed that no record holds (rule 7)."""
        return self.changes > self.published_changes

    @property
    def standings(self) -> str:
        """How all hosts stand, as the script of a commit writes it."""
        return "".join(sorted(f"host:{host} {its.written}\n" for host, its in self.hosts.items()))

    @classmethod
    def read(cls, now: int, fields: Sequence[bytes]) -> State:
        """The answer of a script."""
        found = {
            name.decode(): value.decode()
            for name, value in zip(fields[::2], fields[1::2], strict=True)
        }

        def number(name: str) -> int:
            return int(found.get(name, 0))

        record = Record(
            number("revision"),
            number("count"),
            found.get("complete") == "1",
            found.get("publisher", ""),
            found.get("delivery", DONE),
        )
        return cls(
            now=now,
            hosts={
                name.removeprefix("host:"): Standing.read(value)
                for name, value in found.items()
                if name.startswith("host:")
            },
            markers={
                bytes.fromhex(name.removeprefix("mark:")): value
                for name, value in found.items()
                if name.startswith("mark:")
            },
            changes=number("changes"),
            published_changes=number("published_changes"),
            token=found.get("token"),
            fixed=number("fixed"),
            record=record if record.revision else None,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """What a script did, and the state that it left."""

    outcome: Outcome
    state: State


@dataclass(frozen=True, slots=True)
class Token:
    """The right to publish, of one attempt. `owner` is one leader's, in one term."""

    owner: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.owner} {self.attempt}"


class States:
    """The states of a cluster's windows. Each call is one script; raises `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self.keys = keys
        self.masters = ""
        """Replication ids of the masters, as of the last heartbeat; empty while there was none."""

    async def read(self, window_start: int) -> State:
        """What stands there."""
        found = await self._client.run(scripts.READ, [self.keys.state(window_start)], [])
        return State.read(found[1], found[2])

    async def register(
        self, window_start: int, host: str, markers: Mapping[bytes, str], *, is_open: bool = False
    ) -> Step:
        """Take part in a window. `markers` are all that are known, with their hosts."""
        pairs = [word for marker, of in markers.items() for word in (marker.hex(), of)]
        how = "open" if is_open else "any"
        return await self._run(scripts.REGISTER, window_start, host, how, *pairs)

    async def complete(
        self,
        window_start: int,
        host: str,
        marker: bytes | None,
        epochs: str,
        *,
        early: bool = False,
    ) -> Step:
        """All ids of the host are there: COMPLETE, KNOWN, or UNREGISTERED."""
        word = "-" if marker is None else marker.hex()
        how = "early" if early else "complete"
        return await self._run(scripts.COMPLETE, window_start, host, word, epochs, how)

    async def begin(self, window_start: int, host: str, token: Token) -> Step:
        """Ask for the token: BEGUN, TAKEN, or LATE and UNREGISTERED for a host that may not."""
        return await self._run(
            scripts.BEGIN,
            window_start,
            host,
            token.owner,
            token.attempt,
            TOKEN_MILLISECONDS,
            self.masters,
        )

    async def fix(self, window_start: int, token: Token) -> Step:
        """Note the changes that the look from here on holds: FIXED or LOST."""
        return await self._run(
            scripts.FIX, window_start, str(token), TOKEN_MILLISECONDS, self.masters
        )

    async def commit(  # noqa: PLR0913 - what makes a record
        self,
        window_start: int,
        host: str,
        token: Token,
        fixed: State,
        *,
        count: int,
        complete: bool,
    ) -> Step:
        """Make the next revision of what was `fixed`: COMMITTED, SAME, LOWER, MOVED or LOST."""
        seen = 0 if fixed.record is None else fixed.record.revision
        return await self._run(
            scripts.COMMIT,
            window_start,
            str(token),
            seen,
            fixed.fixed,
            count,
            int(complete),
            host,
            self.masters,
            fixed.standings,
        )

    async def release(self, window_start: int, token: Token) -> Step:
        """Give the token back: RELEASED or LOST."""
        return await self._run(scripts.RELEASE, window_start, str(token))

    async def set_back(self, window_start: int, host: str, standing: Standing) -> Step:
        """Have a host close again, if it still stands so: SET_BACK or MOVED."""
        return await self._run(scripts.SET_BACK, window_start, host, standing.written)

    async def restore(self, window_start: int, record: Record) -> Step:
        """Put a record back that was lost: RESTORED or NEWER."""
        return await self._run(
            scripts.RESTORE,
            window_start,
            record.revision,
            record.count,
            int(record.complete),
            record.publisher,
            record.delivery,
        )

    async def delivered(self, window_start: int, revision: int) -> Step:
        """Note that Kafka has a revision: DELIVERED, or MOVED when there is a higher one."""
        return await self._run(scripts.DELIVERED, window_start, revision)

    async def take_over(self, window_start: int, host: str, record: Record) -> Step:
        """Deliver in the place of a host that is gone: TAKEN_OVER or MOVED."""
        return await self._run(
            scripts.TAKE_OVER,
            window_start,
            host,
            record.revision,
            record.delivery,
            DELIVERY_MILLISECONDS,
        )

    async def _run(self, script: str, window_start: int, *args: str | int) -> Step:
        found = await self._client.run(
            script,
            [self.keys.state(window_start)],
            [self.keys.expiry(window_start), *args],
        )
        return Step(Outcome(found[0].decode()), State.read(found[1], found[2]))
