"""`verve count`: the number of distinct ids in a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from verve._verve import CapacityError, Counter, IdError, ManualClock, SettingError
from verve.config import parsers
from verve.printable import shortened

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

_CHUNK = 4 << 20
_ID_BYTES = 8
_LONGEST_LINE = 1 << 20
"""Maximum bytes per line: an id may have leading zeros, but a line must not fill the memory."""
_OK = 200
_BAD_INPUT = 400


def count_distinct(
    source: BinaryIO,
    *,
    binary: bool,
    max_ids: str,
    tell: Callable[[int, int], None] = lambda _ids, _size: None,
) -> int:
    """Read `source` to its end, and count its distinct ids.

    `tell` gets the ids and the bytes that are read so far, after each piece of some MiB.

    Raises `IdError` for the first line that is no id, and `CapacityError` if the ids do not fit.
    """
    try:
        room = parsers.count(1, 2**31)(max_ids)
    except parsers.BadValue as error:
        raise SettingError(
            f"`--max-ids` {error.problem}: `{max_ids}`; hint: {error.hint}"
        ) from None
    # The clock does not advance, so that all ids belong to one window.
    with Counter(max_ids=room, clock=ManualClock(wall=0.0)) as counter:
        done = size = 0
        rest = b""
        while True:
            chunk = source.read(_CHUNK)
            data = rest + chunk
            size += len(chunk)
            if not chunk:
                whole, rest = data, b""
            elif binary:
                cut = len(data) - len(data) % _ID_BYTES
                whole, rest = data[:cut], data[cut:]
            else:
                cut = data.rfind(b"\n") + 1
                whole, rest = data[:cut], data[cut:]
            if whole:
                done += _add(counter, whole, binary=binary, done=done)
            tell(done, size)
            if len(rest) > _LONGEST_LINE:
                raise _no_id(done, rest)
            if not chunk:
                return counter.count()


def _add(counter: Counter, whole: bytes, *, binary: bool, done: int) -> int:
    """Count a piece of the input that ends with a whole id. Returns its number of ids."""
    status, headers, body = counter.http.accept_batch("binary" if binary else "text", whole)
    if status == _OK:
        accepted: int = json.loads(body)["accepted"]
        return accepted
    said = dict(headers)
    if status != _BAD_INPUT:
        raise CapacityError(
            f"the ids do not fit: `{said.get('verve-error', status)}`; hint: raise `--max-ids`"
        )
    # The core names the position of the first id that it rejects, from 0.
    position = int(said["verve-position"])
    if binary:
        raise IdError(
            f"the input ends inside an id, after `{done + position}` ids; hint: each id has 8 bytes"
        )
    raise _no_id(done + position, whole.split(b"\n")[position])


def _no_id(position: int, line: bytes) -> IdError:
    text = line[: _LONGEST_LINE // 1024].decode(errors="backslashreplace").removesuffix("\r")
    return IdError(
        f"no 64-bit integer in line {position + 1}: `{shortened(text)}`; "
        "hint: write one id per line, digits after at most one `-`"
    )
