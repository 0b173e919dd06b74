"""The message of one window; `docs/reference/kafka-message.schema.json` describes its value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from verve.timestamps import rfc3339

if TYPE_CHECKING:
    from verve.windows.window import Window


class Message(NamedTuple):
    """Key, value and headers of one record."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


HEADERS = (("content-type", b"application/json"), ("verve-schema", b"1"))


def message(window: Window, source: str) -> Message:
    """Return the message of a window. A revision of a window always gives the same bytes."""
    value = {
        "unique_request_count": window.unique,
        "window_start": rfc3339(window.window_start),
        "window_seconds": window.window_seconds,
        "source": source,
        "revision": window.revision,
        "degraded": window.degraded,
    }
    return Message(f"{source}:{window.window_start}".encode(), json.dumps(value).encode(), HEADERS)
