"""A strict reader of requests and answers, which shares no code with any server."""

from __future__ import annotations

import re
from typing import NamedTuple

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/[0-9]\.[0-9]")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*?)[ \t]*")
_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})(;[^\r\n]*)?")


class NotStrictError(AssertionError):
    """The bytes can be read in more than one way."""


class Message(NamedTuple):
    """A request or an answer: its first line, whether it is whole, its body as far as it came."""

    line: bytes
    is_whole: bool
    body: bytes = b""


def requests(sent: bytes) -> list[Message]:
    """The requests of a connection; only the last one may be cut off."""
    found: list[Message] = []
    while sent:
        head, end, rest = sent.partition(b"\r\n\r\n")
        line = head.split(b"\r\n", 1)[0]
        if not end:
            return [*found, Message(line, is_whole=False)]
        if _LINE.fullmatch(line) is None:
            raise NotStrictError(line)
        body, left = _body(_fields(head), rest)
        found.append(Message(line, is_whole=left is not None, body=body))
        if left is None:
            return found
        sent = left
    return found


def answers(received: bytes, methods: list[bytes]) -> list[Message]:
    """The final answers to requests of these methods."""
    found: list[Message] = []
    while received:
        head, end, rest = received.partition(b"\r\n\r\n")
        line = head.split(b"\r\n", 1)[0]
        if not line.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")) or len(found) >= len(methods):
            raise NotStrictError(received[:200])
        if not end:
            return [*found, Message(line, is_whole=False)]
        status = line[9:12]
        body = b""
        left: bytes | None = rest
        if status >= b"200" and methods[len(found)] != b"HEAD" and status not in {b"204", b"304"}:
            body, left = _body(_fields(head), rest, to_the_end=True)
        if status >= b"200":
            found.append(Message(line, is_whole=left is not None, body=body))
        if left is None:
            return found
        received = left
    return found


def _fields(head: bytes) -> dict[bytes, list[bytes]]:
    found: dict[bytes, list[bytes]] = {}
    for line in head.split(b"\r\n")[1:]:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise NotStrictError(line)
        found.setdefault(match[1].lower(), []).append(match[2])
    return found


def _body(
    fields: dict[bytes, list[bytes]], rest: bytes, *, to_the_end: bool = False
) -> tuple[bytes, bytes | None]:
    """The body, and what follows it; None if it is cut off."""
    lengths, codings = fields.get(b"content-length", []), fields.get(b"transfer-encoding", [])
    if len(lengths) + len(codings) > 1:
        raise NotStrictError(f"two framings: {lengths} {codings}")
    if codings:
        # An element of a list may be empty.
        if [one.strip() for one in codings[0].lower().split(b",") if one.strip()] != [b"chunked"]:
            raise NotStrictError(codings[0])
        return _chunks(rest)
    if lengths:
        length = int(lengths[0])
        return rest[:length], rest[length:] if len(rest) >= length else None
    return (rest, b"") if to_the_end else (b"", rest)


def _chunks(rest: bytes) -> tuple[bytes, bytes | None]:
    body = b""
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return body, None
        match = _SIZE.fullmatch(line)
        if match is None:
            raise NotStrictError(line)
        size = int(match[1], 16)
        if size == 0:
            break
        body += rest[:size]
        if len(rest) < size + 2:
            return body, None
        if rest[size : size + 2] != b"\r\n":
            raise NotStrictError(rest[size : size + 2])
        rest = rest[size + 2 :]
    while True:  # trailers
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return body, None
        if not line:
            return body, rest
