"""The state of a window in Redis, and the scripts that change it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from verve.log import skipped
from verve.stores.base import MARKER_BYTES, field_pairs, number, parse_reply

from . import scripts
from .keys import is_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from verve.cluster.interfaces import Client

    from .keys import Keys

TOKEN_MILLISECONDS = 3_000
"""How long a token is valid. After that another leader may take it."""
DELIVERY_MILLISECONDS = 10_000
"""How long a delivery may take before another host takes it over from a dead one."""
DONE = "done"
_MARKER = rf"[0-9a-f]{{{2 * MARKER_BYTES}}}"
_COMPLETE = re.compile(rf"(complete|early) (-|{_MARKER}) ([ -~]{{1,100}})")
_DELIVERY = re.compile(r"([!-~]{1,100}) ([0-9]{1,15})")
_NUMBER = re.compile(r"[0-9]{1,15}")


class Outcome(StrEnum):
    """The result of a script."""

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


class HostStatus(StrEnum):
    """How far a host is with a window, by the word in Redis."""

    REGISTERED = "registered"
    COMPLETE = "complete"
    LEFT_EARLY = "early"


@dataclass(frozen=True, slots=True)
class HostState:
    """The state of a host in a window. `written` is the text in Redis, word for word.

    A host without ids is complete without a marker. A host that `LEFT_EARLY`, before the end of the
    window, was complete then; if it comes back, more ids may have come.
    """

    written: str
    status: HostStatus = HostStatus.REGISTERED
    marker: bytes | None = None
    epochs: str = ""

    @property
    def complete(self) -> bool:
        """Whether all ids of the host are in Redis."""
        return self.status in {HostStatus.COMPLETE, HostStatus.LEFT_EARLY}

    @classmethod
    def read(cls, written: str) -> HostState:
        """`registered`, or a word with `<marker> <epochs>`; damaged text is not complete."""
        found = _COMPLETE.fullmatch(written)
        if found is None:
            return cls(written)
        word, marker, epochs = found.groups()
        placed = None if marker == "-" else bytes.fromhex(marker)
        return cls(written, HostStatus(word), placed, epochs)


@dataclass(frozen=True, slots=True)
class Record:
    """The committed count of a window. Revisions start at 1."""

    revision: int
    count: int
    complete: bool
    publisher: str
    delivery: str

    @property
    def deliverer(self) -> str | None:
        """The host that has to deliver it; None once that is done."""
        return None if self.delivery == DONE else self.delivery.partition(" ")[0]

    @property
    def delivery_since(self) -> int:
        """When the delivery began, in milliseconds; 0 if it is done or unreadable."""
        found = _DELIVERY.fullmatch(self.delivery)
        return 0 if found is None else int(found[2])


@dataclass(frozen=True, slots=True)
class WindowState:
    """The hash of a window, at Redis's time `now` in milliseconds.

    `markers` maps each marker to its host. `changes` counts completions, `published_changes` those
    that the record holds, `fixed` those at the last `fix`. `revision` is the number in Redis,
    whether or not the record can be read. `unreadable_hosts` are the fields of hosts without a
    valid id.
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
    unreadable_hosts: Sequence[bytes] = ()

    @property
    def asks_for_revision(self) -> bool:
        """Whether a host completed that the record does not hold (rule 7).

        What is published is more than there was only if one of the numbers is damaged.
        """
        return self.changes != self.published_changes

    @property
    def hosts_as_written(self) -> bytes:
        """The fields of all hosts, as the script of a commit writes them."""
        readable = (_bytes(f"host:{host} {its.written}\n") for host, its in self.hosts.items())
        return b"".join(sorted([*readable, *self.unreadable_hosts]))

    @classmethod
    def read(cls, now: int, fields: Sequence[bytes], place: str = "") -> WindowState:
        """The answer of a script, without unreadable fields. `place` is the key, for events."""
        return _Fields(dict(field_pairs(fields)), place).state(now)


class _Fields:
    """The fields of a hash, checked one by one."""

    def __init__(self, found: Mapping[bytes, bytes], place: str) -> None:
        self._found = found
        self._place = f"the state `{place}` in Redis"

    def state(self, now: int) -> WindowState:
        """The state that the fields describe."""
        hosts: dict[str, HostState] = {}
        markers: dict[bytes, str] = {}
        unreadable: list[bytes] = []
        for name, value in self._found.items():
            kind, _, of = _text(name).partition(":")
            if kind == "host" and is_id(of):
                hosts[of] = HostState.read(_text(value))
                if not hosts[of].complete and value != b"registered":
                    self._skip(name)
            elif kind == "host":
                unreadable.append(name + b" " + value + b"\n")
                self._skip(name)
            elif kind == "mark" and re.fullmatch(_MARKER, of) and is_id(_text(value)):
                markers[bytes.fromhex(of)] = _text(value)
            elif kind == "mark":
                # A member as long as an id might be an id, which counts.
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
            unreadable_hosts=unreadable,
        )

    def _record(self, revision: int) -> Record | None:
        """The record. Without a count there is none, and one is committed again."""
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
    """Text from which `_bytes` makes the same bytes again."""
    return value.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class Step:
    """The result of a script, and the state after it."""

    outcome: Outcome
    state: WindowState


@dataclass(frozen=True, slots=True)
class Token:
    """The right to commit, for one attempt. `owner` names one leader in one term."""

    owner: str
    attempt: int

    def __str__(self) -> str:
        return f"{self.owner} {self.attempt}"


class WindowStates:
    """The states of a cluster's windows. Each call is one script, and raises `StoreError`."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self.keys = keys
        self.masters = ""
        """Replication ids of the masters as of the last heartbeat; empty before the first."""

    async def read(self, window_start: int) -> WindowState:
        """The state of a window."""
        key = self.keys.state(window_start)
        found = await self._client.run(scripts.READ, [key], [])
        return parse_reply(lambda: WindowState.read(number(found[1]), found[2], key), found)

    async def register(
        self, window_start: int, host: str, markers: Mapping[bytes, str], *, is_open: bool = False
    ) -> Step:
        """Register a host: NEW or KNOWN. `markers`: all known ones, with their hosts."""
        field_pairs = [word for marker, of in markers.items() for word in (marker.hex(), of)]
        how = "open" if is_open else "any"
        return await self._run(scripts.REGISTER, window_start, host, how, *field_pairs)

    async def complete(
        self,
        window_start: int,
        host: str,
        marker: bytes | None,
        epochs: str,
        status: HostStatus = HostStatus.COMPLETE,
    ) -> Step:
        """Note that all ids of the host are there: COMPLETE, KNOWN, or UNREGISTERED."""
        word = "-" if marker is None else marker.hex()
        return await self._run(scripts.COMPLETE, window_start, host, word, epochs, status.value)

    async def begin(self, window_start: int, host: str, token: Token) -> Step:
        """Take the token: BEGUN or TAKEN; LATE or UNREGISTERED for an incomplete host."""
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
        """Note the changes that a count from here on holds: FIXED or LOST."""
        return await self._run(
            scripts.FIX, window_start, str(token), TOKEN_MILLISECONDS, self.masters
        )

    async def commit(  # noqa: PLR0913 - the parts of a record
        self,
        window_start: int,
        host: str,
        token: Token,
        fixed: WindowState,
        *,
        count: int,
        complete: bool,
    ) -> Step:
        """Write the next revision of `fixed`: COMMITTED, SAME, LOWER, MOVED or LOST."""
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
        """Have a host complete again, if its state is unchanged: SET_BACK or MOVED."""
        return await self._run(scripts.SET_BACK, window_start, host, host_state.written)

    async def restore(self, window_start: int, record: Record) -> Step:
        """Put a lost record back: RESTORED or NEWER."""
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
        """Note that a revision is delivered: DELIVERED, or MOVED if there is a higher one."""
        return await self._run(scripts.DELIVERED, window_start, revision)

    async def take_over(self, window_start: int, host: str, record: Record) -> Step:
        """Become the deliverer in the place of a dead host: TAKEN_OVER or MOVED."""
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
            outcome, now, fields = found
            return Step(Outcome(outcome.decode()), WindowState.read(number(now), fields, key))

        return parse_reply(read, found)
