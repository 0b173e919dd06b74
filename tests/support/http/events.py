"""A reader of the event stream, as a browser reads it.

with Events(service.url("/api/verve/stream")) as stream:
    assert stream.wait("figures").data["ready"]
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PATH = "/api/verve/stream"
# Figures come each second; a stream without them is broken.
_SILENCE_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `id` is empty for an event without one."""

    name: str
    id: str
    data: dict[str, Any]

    @property
    def number(self) -> int:
        """The number of the change."""
        return int(self.id.partition(":")[2])


class Events:
    """One open stream."""

    def __init__(
        self, url: str, *, last: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self._url = url
        self._headers = {**(headers or {}), **({} if last is None else {"last-event-id": last})}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        client = self._open.enter_context(httpx.Client(trust_env=False, timeout=_SILENCE_SECONDS))
        self.answer = self._open.enter_context(
            client.stream("GET", self._url, headers=self._headers)
        )
        self._lines = self.answer.iter_lines()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Go away."""
        self._open.close()

    def __iter__(self) -> Iterator[Event]:
        """The events, until the service ends the stream. Raises if the connection breaks."""
        fields: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.partition(":")
            if line:
                assert name not in fields, f"a field is repeated: {line!r}"
                fields[name] = value.removeprefix(" ")
            elif "data" in fields:
                yield Event(fields["event"], fields.get("id", ""), json.loads(fields["data"]))
                fields = {}
            else:
                # Of the time to wait before a reconnect, or a comment.
                assert fields.keys() <= {"retry", ""}, fields
                fields = {}

    def wait(self, name: str, met: Callable[[Event], bool] = lambda _: True) -> Event:
        """The next event of this name for which `met` is true."""
        return next(event for event in self if event.name == name and met(event))

    def upto(self, number: int) -> list[Event]:
        """The events with an id, up to the first whose number is at least this one."""
        found = []
        for event in self:
            if event.id:
                found.append(event)
                if event.number >= number:
                    break
        return found
