"""The parsers of settings, from text to value, and `as_text`, their inverse.

Each parser takes the text of a flag, of the environment or of a file, and raises `BadValue` for
text that it cannot parse. `verve config` prints values by `as_text`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, StrEnum
from ipaddress import IPv6Address
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from verve.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

E = TypeVar("E", bound=StrEnum)

_DURATION_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_COUNT_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_SIZE_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "k": 2**10,
    "m": 2**20,
    "g": 2**30,
}
_NUMBER_AND_UNIT = re.compile(r"([0-9][0-9_]{0,18})\s*([A-Za-z]*)")
_MOST_TOKENS = 2
_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_LEVELS = ("minutes", "hours", "days")
_STORES = ("s3", "gs", "az", "file")
_LONGEST_KEPT = 100 * 365 * 86_400
_SWITCH = {
    "on": True,
    "yes": True,
    "true": True,
    "1": True,
    "off": False,
    "no": False,
    "false": False,
    "0": False,
}


class BadValue(ValueError):  # noqa: N818 - a part of a message, never shown alone
    """The text is no value of its setting; `problem` says why, `hint` names valid values."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


def text(value: str) -> str:
    """Any text without control characters."""
    if not value.isprintable():
        raise BadValue("has a character that cannot be printed", "use printable characters only")
    return value


def name(value: str) -> str:
    """Text without control characters that is not empty."""
    if not value:
        raise BadValue("is empty", "leave it out")
    return text(value)


def host(value: str) -> str:
    """A name or an address; an IPv6 address may have brackets, the result has none."""
    inner = value.strip()
    if inner.startswith("[") and inner.endswith("]"):
        inner = inner[1:-1]
    wrong = BadValue("is no host", "use a name or an address, such as `0.0.0.0` or `::1`")
    if not re.fullmatch(r"[^\s/\\@\[\]]+", name(inner)):
        raise wrong
    if ":" in inner or inner != value.strip():
        try:
            IPv6Address(inner)
        except ValueError:
            raise wrong from None
    return inner


def address(value: str) -> str:
    """`host:port`, with an IPv6 address in brackets."""
    found, _, port = value.strip().rpartition(":")
    if not found or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65_536:  # noqa: PLR2004 - ports
        raise BadValue("is no address", "use `host:port`, such as `127.0.0.1:9000` or `[::1]:9000`")
    inner = host(found)
    return f"[{inner}]:{int(port)}" if ":" in inner else f"{inner}:{int(port)}"


def token(value: str) -> str:
    """A secret that fits into an HTTP header: visible ASCII, no spaces."""
    if not re.fullmatch(r"[!-~]+", value):
        raise BadValue("is no token", "use visible ASCII characters without spaces")
    return value


def tokens(value: str) -> tuple[str, ...]:
    """One token, or two during a rotation, separated by a comma or a line break.

    Not by a space: a secret of two words would become two weaker secrets.
    """
    parts = [part.strip() for part in re.split(r"[,\n]", value)]
    found = tuple(token(part) for part in parts if part) or (token(value),)
    if len(found) > _MOST_TOKENS:
        raise BadValue("has too many tokens", "give one token or, during a rotation, two")
    return found


def path(value: str) -> Path:
    """An absolute path; `~` is the home directory, the base of others is the working directory."""
    if not value:
        raise BadValue("is empty", "name a path, or leave it out")
    if "\0" in value:
        raise BadValue("is no path", "a path holds no NUL character")
    try:
        found = Path(value).expanduser().absolute()
    except RuntimeError:
        raise BadValue("needs a home directory that is not known", "write the whole path") from None
    except OSError as error:
        raise BadValue(
            f"is relative to a working directory that cannot be used ({error.strerror})",
            "write the whole path",
        ) from None
    try:
        str(found).encode()
    except UnicodeEncodeError:
        # The segment, the ledger and the log store the path as text.
        raise BadValue("is not UTF-8", "use a path whose names are UTF-8") from None
    if printable(str(found)) != str(found):
        raise BadValue("has a control character", "use a path that can be printed")
    return found


def switch(value: str) -> bool:
    """`on` or `off`."""
    try:
        return _SWITCH[value.strip().lower()]
    except KeyError:
        raise BadValue("is no switch", "use `on` or `off`") from None


def _bounded(number: int, low: int, high: int) -> int:
    if not low <= number <= high:
        raise BadValue("is out of range", f"use {low} to {high}")
    return number


def integer(low: int, high: int) -> Callable[[str], int]:
    """A plain decimal number in `low..=high`."""

    def parse(value: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,19}", value.strip()):
            raise BadValue("is no whole number", f"use {low} to {high}")
        return _bounded(int(value), low, high)

    return parse


def _scaled(
    low: int, high: int, units: dict[str, int], problem: str, hint: str
) -> Callable[[str], int]:
    """A whole number with one of `units`."""

    def parse(value: str) -> int:
        match = _NUMBER_AND_UNIT.fullmatch(value.strip())
        if match is None or match[2].lower() not in units:
            raise BadValue(problem, hint)
        return _bounded(int(match[1].replace("_", "")) * units[match[2].lower()], low, high)

    return parse


def count(low: int, high: int) -> Callable[[str], int]:
    """A count, with the suffix `k` for 10^3, `M` for 10^6 or `G` for 10^9."""
    hint = "use a whole number such as `5000000` or `5M`"
    return _scaled(low, high, _COUNT_UNITS, "is no count", hint)


def duration(low: int, high: int) -> Callable[[str], int]:
    """A duration in whole seconds: `60`, `2s`, `1m`, `12h`, `365d`."""
    hint = "use seconds, or a number with s, m, h, d or w, such as `60`, `1m` or `365d`"
    return _scaled(low, high, _DURATION_UNITS, "is no length of time", hint)


def size(low: int, high: int) -> Callable[[str], int]:
    """A size in bytes: `1048576`, `8MiB`, `512KiB`, `2GB`."""
    hint = "use bytes, or a number with KiB, MiB or GiB, such as `8MiB`"
    return _scaled(low, high, _SIZE_UNITS, "is no size", hint)


def choice(options: type[E]) -> Callable[[str], E]:
    """One member of an enumeration, by its value."""

    def parse(value: str) -> E:
        try:
            return options(value.strip().lower())
        except ValueError:
            names = ", ".join(f"`{option.value}`" for option in options)
            raise BadValue("is none of the choices", f"use one of {names}") from None

    return parse


def names(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """Names from a fixed set, separated by commas; without duplicates, in the given order."""

    def parse(value: str) -> tuple[str, ...]:
        parts = tuple(part.strip().lower() for part in value.split(",") if part.strip())
        if not parts or not set(parts) <= set(known):
            raise BadValue("names something unknown", f"use {', '.join(f'`{n}`' for n in known)}")
        return tuple(dict.fromkeys(parts))

    return parse


def entries(value: str) -> tuple[str, ...]:
    """Words separated by commas or white space; without duplicates, in the given order."""
    found = tuple(dict.fromkeys(value.replace(",", " ").split()))
    if not found or not all(entry.isprintable() for entry in found):
        raise BadValue("is no list", "separate the entries by commas")
    return found


def brokers(value: str) -> tuple[str, ...]:
    """Addresses `host:port`, separated by commas; the default port is 9092."""
    found = []
    for part in value.split(","):
        match = _BROKER.fullmatch(part.strip())
        if match is None or not 0 < int(match[2] or 9092) < 65_536:  # noqa: PLR2004 - ports
            raise BadValue(
                "is no list of brokers", "use `host:9092,other:9092`, IPv6 as `[::1]:9092`"
            )
        found.append(f"{match[1]}:{match[2] or 9092}")
    return tuple(dict.fromkeys(found))


def topic(value: str) -> str:
    """A name that Kafka allows for a topic."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", value) or value in {".", ".."}:
        raise BadValue("is no name of a topic", "use up to 249 letters, digits, dots, `_` and `-`")
    return value


@dataclass(frozen=True, slots=True)
class LevelAge:
    """How long the files of a level of the archive are kept."""

    level: str
    """`minutes`, `hours` or `days`."""
    seconds: int

    def __str__(self) -> str:
        return f"{self.level}:{self.seconds}"


def level_ages(value: str) -> tuple[LevelAge, ...]:
    """Ages by level: `minutes:2d,hours:60d,days:400d`. A level without an age is kept forever."""
    found: dict[str, LevelAge] = {}
    for part in value.split(","):
        level, colon, age = part.strip().partition(":")
        if not colon or level not in _LEVELS or level in found:
            raise BadValue("is no list of ages", "use `minutes:2d,hours:60d,days:400d`")
        found[level] = LevelAge(level, duration(60, _LONGEST_KEPT)(age))
    return tuple(found.values())


def archive(value: str) -> str:
    """An absolute path, or the URL of an object store, without a slash at its end."""
    scheme, colon, rest = value.partition("://")
    # With one slash, `s3:/bucket` would be a folder in the current directory.
    if not colon and not value.startswith(tuple(f"{one}:" for one in _STORES)):
        return str(path(value))
    if scheme not in _STORES or not rest.strip("/") or not re.fullmatch(r"[!-~]+", rest):
        raise BadValue(
            "is no place for an archive",
            "use a path, or a URL such as `s3://bucket/prefix`, `gs://bucket` or `az://container`",
        )
    if "@" in rest or "?" in rest:
        # `verve config` and the log show this setting.
        raise BadValue("holds more than a place", "give keys and options in the environment")
    return value.rstrip("/")


def as_text(value: object) -> str:
    """The text that parses to `value`: durations in seconds, sizes in bytes."""
    match value:
        case bool():
            return "on" if value else "off"
        case Enum():
            return str(value.value)
        case tuple():
            return ",".join(str(part) for part in value)
        case _:
            return str(value)
