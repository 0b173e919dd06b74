"""FastAPI, uvicorn and a dict: the first version that a Python team would write.

    taskset -c 0 uvicorn --host 127.0.0.1 --port 8104 --loop uvloop --http httptools \
        --no-access-log --log-level warning app:app

One process, so one dict is enough and the count is right; a second worker would count by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING

from fastapi import FastAPI, Response
from fastapi.responses import PlainTextResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WINDOW = int(os.environ.get("PEER_WINDOW", "60"))

seen: dict[int, None] = {}
window_start = int(time.time()) // WINDOW * WINDOW


def rotate() -> None:
    """Log the window and start the next one. Nothing runs in between: there is one thread."""
    global window_start  # noqa: PLW0603 - the state of the service is its module
    line = f"window_start={window_start} Unique requests in the last minute: {len(seen)}"
    print(line, file=sys.stderr, flush=True)
    seen.clear()
    window_start = int(time.time()) // WINDOW * WINDOW


async def rotate_for_ever() -> None:
    """Rotate at each boundary of the wall clock."""
    while True:
        await asyncio.sleep(window_start + WINDOW - time.time())
        # A timer may be early by its resolution.
        if time.time() >= window_start + WINDOW:
            rotate()


@contextlib.asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Rotate while the service runs and once at its end."""
    task = asyncio.create_task(rotate_for_ever())
    yield
    task.cancel()
    rotate()


app = FastAPI(lifespan=lifespan, openapi_url=None)
NO_STORE = {"cache-control": "no-store"}


@app.get("/api/verve/accept", response_class=PlainTextResponse)
async def accept(id: int) -> Response:
    """Count an id; pydantic rejects anything but an integer."""
    seen[id] = None
    return PlainTextResponse("ok", headers=NO_STORE)
