"""A static RSGI app: Granian without Verve. It answers `ok` with the headers of Verve's answer.

Start it with the very flags that Verve is started with, so that the fast path alone differs:

    taskset -c 0 granian --interface rsgi --workers 1 --http 1 --no-ws --loop uvloop \
        --host 127.0.0.1 --port 8101 app:app
"""

from __future__ import annotations

from typing import Any

HEADERS = [("cache-control", "no-store")]


async def app(_scope: Any, proto: Any) -> None:  # noqa: ANN401 - Granian exports no types
    """Answer anything."""
    proto.response_bytes(200, HEADERS, b"ok")
