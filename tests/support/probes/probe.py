"""A request as raw bytes, what the RFCs demand of who reads it, and what a server made of it.

A probe is text with the ids of one run: that of the request itself, one that is hidden where only a
wrong reader finds it, and one of the request after it. Each id has as many digits as its
placeholder has letters, so lengths in the text are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tests.support.service import ACCEPT

DIGITS = 12
OWN, HIDDEN, NEXT = "A" * DIGITS, "B" * DIGITS, "C" * DIGITS
"""The placeholders. An id that is hidden must never be counted."""
HOST = "Host: localhost\r\n"
SOUND = f"GET {ACCEPT}?id={OWN} HTTP/1.1\r\n{HOST}\r\n"
SMUGGLED = f"GET {ACCEPT}?id={HIDDEN} HTTP/1.1\r\n{HOST}\r\n"
BEHIND = f"GET {ACCEPT}?id={NEXT} HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"


def ids(base: int) -> list[str]:
    """What the placeholders become, by their letters A, B and C: ids from `base` on."""
    return [f"{base + number:0{DIGITS}d}" for number in range(3)]


class Demand(Enum):
    """What may become of the request, and of the one after it."""

    SERVED = "served", True, True
    SERVED_LAST = "served, then closed", True, False
    REFUSED = "refused", False, None
    REFUSED_LAST = "refused, then closed", False, False
    EITHER = "either", None, None
    EITHER_LAST = "either, then closed", None, False

    def __init__(self, label: str, own: bool | None, following: bool | None) -> None:
        """`own` and `following`: whether each is to be counted; None: both is right."""
        self.label = label
        self.own = own
        self.following = following


@dataclass(frozen=True, slots=True)
class Probe:
    """One request. `rule` names the section and says what it demands."""

    name: str
    demand: Demand
    rule: str
    text: str
    is_last: bool = False
    """Whether no request goes after it, since the probe has no end."""

    def sent(self, base: int) -> bytes:
        """The bytes, with the ids that begin at `base`."""
        text = self.text if self.is_last else self.text + BEHIND
        for placeholder, id in zip((OWN, HIDDEN, NEXT), ids(base), strict=True):
            text = text.replace(placeholder, id)
        return text.encode("latin-1")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a server made of a probe: its answers, the ids that it counted, whether it waits."""

    statuses: tuple[int, ...]
    counted: str
    """The letters of the placeholders."""
    waits: bool
    base: int = 0
    """The id of the first placeholder."""

    @property
    def cell(self) -> str:
        """In a cell of the table."""
        said = " ".join(map(str, self.statuses)) or "no answer"
        counted = f", {self.counted}" if self.counted else ""
        return f"{said}{counted}{', waits' if self.waits else ''}"

    def follows(self, demand: Demand) -> bool:
        """Whether this is what the RFCs demand."""
        own = "A" in self.counted
        return (
            "B" not in self.counted
            and demand.own in {None, own}
            and demand.following in {None, "C" in self.counted}
            and not (own and self.waits)
        )


def get(fields: str = HOST, *, target: str = f"{ACCEPT}?id={OWN}", version: str = "1.1") -> str:
    """A GET of an accept."""
    return f"GET {target} HTTP/{version}\r\n{fields}\r\n"


def post(fields: str, body: str, *, host: str = HOST, version: str = "1.1") -> str:
    """A POST of a batch; `fields` without the last line end."""
    head = f"POST {ACCEPT} HTTP/{version}\r\n{host}Content-Type: text/plain\r\n"
    return f"{head}{fields}\r\n\r\n{body}"


def chunk(data: str) -> str:
    """A chunk of a body."""
    return f"{len(data):x}\r\n{data}\r\n"
