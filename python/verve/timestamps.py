"""Times as text."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(seconds: int) -> str:
    """Return a time (seconds since the epoch) in UTC, such as `2026-11-22T21:58:00Z`."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(seconds: float) -> str:
    """Return a time with milliseconds, such as `2026-11-22T21:58:00.004Z`."""
    milliseconds = int(seconds * 1000)
    return f"{rfc3339(milliseconds // 1000)[:-1]}.{milliseconds % 1000:03d}Z"
