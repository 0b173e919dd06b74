"""Reads HTTP answers from bytes, and says what they mean. It knows the documentation, not Verve."""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_FIELDS = re.compile(
    rb"\r\n(verve-window|verve-seen|verve-error|verve-recorded|x-host): *([^\r]*)", re.IGNORECASE
)

_NO_HOST = b"No server is available to handle this request"
"""In the body of HAProxy's 503."""


class AnswerError(Exception):
    """The bytes are no answer."""


class Answer(NamedTuple):
    """One answer. `fields` has those of its header fields that the sender looks at."""

    status: int
    fields: dict[bytes, bytes]
    body: bytes

    @property
    def meaning(self) -> Meaning:
        """What the answer says of the ids of its request."""
        if self.status == 200:
            return Meaning.COUNTED
        error = self.fields.get(b"verve-error")
        if error is None:
            # A proxy that could not get the answer does not know what became of the request, except
            # if it had no host to hand it to.
            unsent = self.status < 500 or self.body.find(_NO_HOST) >= 0
            return Meaning.NOT_COUNTED if unsent else Meaning.NOT_KNOWN
        if error == b"store unconfirmed":
            return Meaning.NOT_KNOWN
        return Meaning.NOT_COUNTED

    @property
    def reason(self) -> str:
        """Status and reason, for tallies."""
        error = self.fields.get(b"verve-error", b"by the proxy")
        return f"{self.status} {error.decode('latin-1')}"


class Meaning(Enum):
    """What an answer says of the ids of its request."""

    COUNTED = 1
    NOT_COUNTED = 2
    NOT_KNOWN = 3


class Parser:
    """Cuts a stream of bytes into answers."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> list[Answer]:
        """The answers that are complete with these bytes."""
        self._bytes += data
        held = bytes(self._bytes)
        found, place = [], 0
        while (end := held.find(b"\r\n\r\n", place)) >= 0:
            head = held[place:end]
            length = _LENGTH.search(head)
            if not head.startswith(b"HTTP/1.1 ") or length is None:
                raise AnswerError(repr(head[:300]))
            stop = end + 4 + int(length[1])
            if stop > len(held):
                break
            fields = {name.lower(): value for name, value in _FIELDS.findall(head)}
            found.append(Answer(int(head[9:12]), fields, held[end + 4 : stop]))
            place = stop
        del self._bytes[:place]
        return found
