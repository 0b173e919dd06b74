"""Readers of a host: its event stream, its page, its metrics and its history."""

from __future__ import annotations

import asyncio
import json
import random
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.torture.load.tally import Tally

_SAMPLE = re.compile(r"[a-z_]+(\{.*\})? [-+0-9.eNaInf]+")
_EVENTS = {"figures", "window", "revision", "reset"}


class Readers:
    """Those of one host."""

    def __init__(self, tally: Tally, host: str, port: int) -> None:
        self._tally = tally
        self._host = host
        self._client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=6
        )
        self._last_id: str | None = None
        self._random = random.Random(host)

    async def run(self, stop: asyncio.Event) -> None:
        """Read until told to stop."""
        async with self._client:
            stream = asyncio.create_task(self._again(self._read_stream))
            pages = asyncio.create_task(self._again(self._read_page))
            await stop.wait()
            for task in (stream, pages):
                task.cancel()
            await asyncio.gather(stream, pages, return_exceptions=True)

    async def _again(self, read: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await read()
            except httpx.TransportError as error:
                self._tally.refused[f"reader {type(error).__name__}"] += 1
            await asyncio.sleep(0.3)

    async def _read_stream(self) -> None:
        headers = {} if self._last_id is None else {"last-event-id": self._last_id}
        async with self._client.stream("GET", "/api/verve/stream", headers=headers) as answer:
            if not self._is_good(answer, "stream"):
                return
            name = ""
            async for line in answer.aiter_lines():
                key, _, value = line.partition(": ")
                if key == "event":
                    name = value
                elif key == "id":
                    self._last_id = value
                elif key == "data":
                    self._event(name, json.loads(value))

    def _event(self, name: str, data: Any) -> None:  # noqa: ANN401 - what JSON may be
        self._tally.counts["stream_events"] += 1
        if name not in _EVENTS:
            self._tally.fault(f"there is no event `{name}`")
        if name in {"window", "revision"}:
            self._show(data)
        elif name == "reset":
            for window in data["windows"]:
                self._show(window)

    def _show(self, window: dict[str, Any]) -> None:
        self._tally.shown.append(
            {
                "host": self._host,
                "start": int(datetime.fromisoformat(window["window_start"]).timestamp()),
                "unique": window["unique"],
                "revision": window.get("revision", 0),
                "degraded": window.get("degraded", False),
            }
        )

    async def _read_page(self) -> None:
        path = self._random.choice(
            [
                "/",
                "/livez",
                "/readyz",
                "/readyz?verbose",
                "/metrics",
                "/openapi.json",
                "/api/verve/current",
                "/api/verve/windows?limit=20",
            ]
        )
        answer = await self._client.get(path)
        if not self._is_good(answer, path):
            return
        self._tally.counts["pages"] += 1
        if path == "/metrics":
            lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
            if wrong := [line for line in lines if not _SAMPLE.fullmatch(line)]:
                self._tally.fault(f"these are no metrics: {wrong[:3]}")
        elif "windows" in path:
            for window in answer.json()["windows"]:
                self._show(window)

    def _is_good(self, answer: httpx.Response, what: str) -> bool:
        if answer.status_code == httpx.codes.OK:
            return True
        self._tally.refused[f"reader {answer.status_code}"] += 1
        # 503: not ready, draining, no place for a stream, figures that cannot be read just now.
        if answer.status_code <= httpx.codes.INTERNAL_SERVER_ERROR:
            self._tally.fault(f"{what} at {self._host} answered {answer.status_code}")
        return False
