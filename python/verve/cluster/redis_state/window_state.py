"""The state of a window in Redis: what stands there, and the steps that change it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from verve.log import skipped
from verve.stores.base import MARKER_BYTES, field_pairs, parse_reply

from . import scripts
from .keys import is_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from verve.cluster.interfaces import Client

    from .keys import Keys

TOKEN_MILLISECONDS = 3_000
"""How long a publisher may be silent before another takes the token."""
DELIVERY_MILLISECONDS = 10_000
"""How long a delivery may take before another host takes it over, if the first does not live."""
DONE = "done"
_MARKER = rf"[0-9a-f]{{{2 * MARKER_BYTES}}}"
_COMPLETE = re.compile(rf"(complete|early) (-|{_MARKER}) ([ -~]{{1,100}})")
_DELIVERY = re.compile(r"([!-~]{1,100}) ([0-9]{1,15})")
_NUMBER = re.compile(r"[0-9]{1,15}")


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
class HostState:
    """How far a host is with a window. `written` is what stands in Redis, word for word.

    `early`: it left before the end of the window. If it is back, more ids may have come.
    """

    written: str
    complete: bool = False
    marker: bytes | None = None
    epochs: str = ""
    early: bool = False

    @classmethod
    def read(cls, written: str) -> HostState:
        """`registered`, or `complete <marker> <epochs>`; a host without ids has no marker."""
        found = _COMPLETE.fullmatch(written)
        if found is None:
            # Damaged or not: one that does not say so is not complete.
            return cls(written)
        word, marker, epochs = found.groups()
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
        """Since when, in milliseconds; 0 when it is done, or cannot be told."""
        found = _DELIVERY.fullmatch(self.delivery)
        return 0 if found is None else int(found[2])


@dataclass(frozen=True, slots=True)
class WindowState:
    """All that stands there. `now` is Redis's time in milliseconds; markers are by their bytes.

    `revision` is the number that stands there, whether or not the record can be read. `strangers`
    are the hosts that cannot.
    """

    now: int
    hosts: Mapping[str, HostState]
    markers: Mapping[bytes, str]
    changes: int
    published_changes: int
    token: str | None
    fixed: int
    record: Record | None
    revision: int = 0
    strangers: Sequence[bytes] = ()

    @property
    def asks_for_revision(self) -> bool:
        """Whether something changed that no record holds (rule 7)."""
        return self.changes > self.published_changes

    @property
    def hosts_as_written(self) -> bytes:
        """How all hosts stand, as the script of a commit writes it."""
        ours = (_bytes(f"host:{host} {its.written}\n") for host, its in self.hosts.items())
        return b"".join(sorted([*ours, *self.strangers]))

    @classmethod
    def read(cls, now: int, fields: Sequence[bytes], place: str = "") -> WindowState:
        """The answer of a script, without what cannot be read; `place` is where it stands."""
        return _Fields(dict(field_pairs(fields)), place).state(now)


class _Fields:
    """The fields of a state, each checked as it is read."""

    def __init__(self, found: Mapping[bytes, bytes], place: str) -> None:
        self._found = found
        self._place = f"the state `{place}` in Redis"

    def state(self, now: int) -> WindowState:
        """All of them."""
        hosts: dict[str, HostState] = {}
        markers: dict[bytes, str] = {}
        strangers: list[bytes] = []
        for name, value in self._found.items():
            kind, _, of = _text(name).partition(":")
            if kind == "host" and is_id(of):
                hosts[of] = HostState.read(_text(value))
                if not hosts[of].complete and value != b"registered":
                    self._skip(name)
            elif kind == "host":
                strangers.append(name + b" " + value + b"\n")
                self._skip(name)
            elif kind == "mark" and re.fullmatch(_MARKER, of) and is_id(_text(value)):
                markers[bytes.fromhex(of)] = _text(value)
            elif kind == "mark":
                # One that is as long as an id might be an id, which counts.
                self._skip(name)
        revision = self._number("revision")
        return WindowState(
            now=now,
            hosts=hosts,
            markers=markers,
            changes=self._number("changes"),
            published_changes=self._number("published_changes"),
            token=self._get("token"),
            fixed=self._number("fixed"),
            record=self._record(revision),
            revision=revision,
            strangers=strangers,
        )

    def _record(self, revision: int) -> Record | None:
        """The record; without a count there is none, and it is published again."""
        count = self._number("count")
        if not revision or _NUMBER.fullmatch(self._get("count") or "") is None:
            return None
        return Record(
            revision,
            count,
            self._get("complete") == "1",
            self._get("publisher") or "",
            self._get("delivery") or DONE,
        )

    def _get(self, name: str) -> str | None:
        value = self._found.get(name.encode())
        return None if value is None else _text(value)

    def _number(self, name: str) -> int:
        text = self._get(name)
        if text is None:
            return 0
        if _NUMBER.fullmatch(text) is None:
            self._skip(name.encode())
            return 0
        return int(text)

    def _skip(self, name: bytes) -> None:
        skipped.tell(self._place, name, self._found[name])


def _text(value: bytes) -> str:
    """Text that gives the same bytes again, whatever they are."""
    return value.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class Step:
    """What a script did, and the state that it left."""

    outcome: Outcome
    state: WindowState


@dataclass(frozen=True, slots=True)
class Token:
    """The right to publish, of one attempt. `owner` is one leader's, in one term."""

    owner: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.owner} {self.attempt}"


class WindowStates:
    """The states of a cluster's windows. Each call is one script; raises `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self.keys = keys
        self.masters = ""
        """Replication ids of the masters, as of the last heartbeat; empty while there was none."""

    async def read(self, window_start: int) -> WindowState:
        """What stands there."""
        key = self.keys.state(window_start)
        found = await self._client.run(scripts.READ, [key], [])
        return parse_reply(lambda: WindowState.read(int(found[1]), found[2], key), found)

    async def register(
        self, window_start: int, host: str, markers: Mapping[bytes, str], *, is_open: bool = False
    ) -> Step:
        """Take part in a window. `markers` are all that are known, with their hosts."""
        field_pairs = [word for marker, of in markers.items() for word in (marker.hex(), of)]
        how = "open" if is_open else "any"
        return await self._run(scripts.REGISTER, window_start, host, how, *field_pairs)

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
        fixed: WindowState,
        *,
        count: int,
        complete: bool,
    ) -> Step:
        """Make the next revision of what was `fixed`: COMMITTED, SAME, LOWER, MOVED or LOST."""
        return await self._run(
            scripts.COMMIT,
            window_start,
            str(token),
            fixed.revision,
            fixed.fixed,
            count,
            int(complete),
            host,
            self.masters,
            fixed.hosts_as_written,
        )

    async def release(self, window_start: int, token: Token) -> Step:
        """Give the token back: RELEASED or LOST."""
        return await self._run(scripts.RELEASE, window_start, str(token))

    async def set_back(self, window_start: int, host: str, host_state: HostState) -> Step:
        """Have a host close again, if it still stands so: SET_BACK or MOVED."""
        return await self._run(scripts.SET_BACK, window_start, host, host_state.written)

    async def restore(self, window_start: int, record: Record) -> Step:
        """Put a record back that was lost: RESTORED or NEWER."""
        return await self._run(
            scripts.RESTORE,
            window_start,
            record.revision,
            record.count,
            int(record.complete),
            _bytes(record.publisher),
            _bytes(record.delivery),
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
            _bytes(record.delivery),
            DELIVERY_MILLISECONDS,
        )

    async def _run(self, script: str, window_start: int, *args: str | bytes | int) -> Step:
        key = self.keys.state(window_start)
        found = await self._client.run(script, [key], [self.keys.expiry(window_start), *args])

        def read() -> Step:
            return Step(Outcome(found[0].decode()), WindowState.read(int(found[1]), found[2], key))

        return parse_reply(read, found)
