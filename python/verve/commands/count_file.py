"""How many distinct ids a file holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from verve._verve import CapacityError, Counter, IdError, ManualClock, SettingError
from verve.config import parsers

if TYPE_CHECKING:
    from typing import BinaryIO

_CHUNK = 4 << 20
_ID_BYTES = 8
_OK = 200


def count_distinct(source: BinaryIO, *, binary: bool, max_ids: str) -> int:
    """Read `source` to its end and count. Raises `IdError` for the first line that is no id."""
    try:
        room = parsers.count(1, 2**31)(max_ids)
    except parsers.BadValue as error:
        raise SettingError(
            f"`--max-ids` {error.problem}: `{max_ids}`; hint: {error.hint}"
        ) from None
    # The clock stands still: however long it takes, all ids belong to one window.
    with Counter(max_ids=room, clock=ManualClock(wall=0.0)) as counter:
        done = 0
        rest = b""
        while True:
            chunk = source.read(_CHUNK)
            data = rest + chunk
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
            if not chunk:
                return counter.count()


def _add(counter: Counter, whole: bytes, *, binary: bool, done: int) -> int:
    """Count a piece of the input that ends with a whole id: how many ids it held."""
    status, headers, body = counter.accept_batch("binary" if binary else "text", whole)
    if status == _OK:
        accepted: int = json.loads(body)["accepted"]
        return accepted
    reason = dict(headers).get("verve-error", "")
    if not binary:
        for number, line in enumerate(whole.splitlines(), start=done + 1):
            if not _is_id(line):
                shown = line.decode(errors="backslashreplace")
                raise IdError(f"no 64-bit integer in line {number}: `{shown}`")
    elif len(whole) % _ID_BYTES:
        raise IdError(f"the input ends inside an id, after so many of them: `{done}`")
    raise CapacityError(f"the ids do not fit: `{reason}`; hint: `--max-ids` makes more room")


def _is_id(line: bytes) -> bool:
    try:
        return -(2**63) <= int(line) < 2**63
    except ValueError:
        return False
