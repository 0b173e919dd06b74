"""Changes values that Redis answers or stores: by chance, from small to absurd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import ResponseError

if TYPE_CHECKING:
    import random

_NUMBERS = (-(1 << 63), -1, 0, 1, 2, 1 << 53, (1 << 63) - 1, 1 << 64, 10**40, 10**400)
_TEXTS = (
    *(b"%d" % number for number in _NUMBERS),
    *(
        b"",
        b" ",
        b"\x00",
        b"\xff\xfe",
        b"x",
        b"nil",
        b"nan",
        b"inf",
        b"-inf",
        b"1e300",
        b"1_0",
        b"+1",
    ),
    *(b"registered", b"complete - -", b"early 76 e", b"done", b"9" * 15, b"9" * 16, b"9" * 5_000),
)
# redis-py puts the errors that are within an answer among its elements.
_OTHERS: tuple[Any, ...] = (
    None,
    True,
    1.5,
    float("inf"),
    [],
    [[]],
    {},
    ResponseError("ERR"),
    *_NUMBERS,
)


def damaged(text: bytes, draw: random.Random) -> bytes:
    """Other bytes in the place of these."""
    if draw.random() < 0.3:
        return draw.choice(_TEXTS)
    changed = bytearray(text)
    for _ in range(draw.randint(1, 3)):
        place = draw.randint(0, len(changed))
        match draw.randrange(4):
            case 0 if place < len(changed):
                changed[place] ^= 1 << draw.randrange(8)
            case 1:
                changed[place:place] = draw.choice(_TEXTS)[:20]
            case 2:
                del changed[place : place + draw.randint(1, 8)]
            case _:
                changed[place : place + 1] = draw.choice(b"0123456789 :-.").to_bytes()
    return bytes(changed)


def mutated(value: Any, draw: random.Random) -> Any:  # noqa: ANN401 - what Redis answers
    """Another answer in the place of this one, in which one element or its place is changed."""
    if draw.random() < 0.03 or not isinstance(value, bytes | list | dict | int):
        return draw.choice((*_OTHERS, *_TEXTS))
    if isinstance(value, bytes):
        return damaged(value, draw)
    if isinstance(value, int):
        return draw.choice((value + 1, -value, *_OTHERS, b"%d" % value))
    if isinstance(value, dict):
        name = draw.choice([*value, "more"])
        return {**value, name: mutated(value.get(name), draw)}
    changed = list(value)
    place = draw.randrange(len(changed) + 1)
    if place == len(changed) or draw.random() < 0.1:
        match draw.randrange(4):
            case 0:
                changed[place:place] = [draw.choice((*_OTHERS, *_TEXTS))]
            case 1:
                del changed[place:]
            case 2:
                del changed[:place]
            case _:
                draw.shuffle(changed)
        return changed
    changed[place] = mutated(changed[place], draw)
    return changed
