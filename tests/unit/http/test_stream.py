"""The stream over a real ledger and a real counter, without a server."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.support import rig
from tests.support.running import running_service
from verve import Counter
from verve.http import stream
from verve.ledger import ledger
from verve.request import exchange
from verve.request.exchange import Stream, sent
from verve.service import event_hub
from verve.service.event_hub import Position

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from verve.request.exchange import Chunks, Entry, Response
    from verve.service.running import RunningService


class _Request:
    entry: Entry
    method, path, query, peer = "GET", "/api/verve/stream", "", "127.0.0.1"

    def __init__(self, last: str | None) -> None:
        self._last = last

    def header(self, name: str) -> list[str]:
        return [self._last] if name == "last-event-id" and self._last is not None else []

    def header_names(self) -> list[str]:
        return [] if self._last is None else ["last-event-id"]

    def hosts(self) -> list[str]:
        return ["localhost"]

    async def body(self, limit: int, held: object) -> bytes:
        raise NotImplementedError


def _open(service: RunningService, last: str | None = None) -> Coroutine[object, object, Response]:
    return stream.stream(service, _Request(last))


async def _source(service: RunningService, last: str | None = None) -> Chunks:
    response = await _open(service, last)
    assert isinstance(response, Stream)
    assert await response.source.next() == b"retry: 1000\n\n"
    return response.source


def _put_back(path: Path, data: bytes) -> None:
    """Replace a file at once: half of one would be an event of its own."""
    new = path.with_name("new")
    new.write_bytes(data)
    new.replace(path)


async def _upto(source: Chunks, part: bytes) -> bytes:
    found = b""
    while part not in found:
        chunk = await source.next()
        assert chunk is not None, found
        found += chunk
    return found


@pytest.fixture
def service(tmp_path: Path) -> RunningService:
    return running_service(rig.settings(tmp_path), Counter(tmp_path / "segment"))


def test_revisions_and_windows_reach_all_readers_encoded_once(service: RunningService) -> None:
    async def follow() -> None:
        with closing(ledger.open_ledger(service.settings)) as opened:
            opened.record([rig.window(0, 5)])
            one, two = await _source(service), await _source(service)
            for source in (one, two):
                reset = await _upto(source, b"event: reset\n")
                assert b'"unique":5' in reset
            opened.record([rig.window(1, 6)])
            opened.record([rig.window(0, 7, revision=2)])
            found = [await _upto(source, b"event: revision\n") for source in (one, two)]
            assert found[0].count(b"event: window\n") == 1
            assert found[0].index(b"event: window\n") < found[0].index(b"event: revision\n")
            assert b'"unique":7' in found[0]
            (id,) = {line for line in found[1].split(b"\n") if line.endswith(b":2")}
            late = await _source(service, id.removeprefix(b"id: ").decode())
            replayed = await _upto(late, b"event: revision\n")
            assert b"event: window\n" not in replayed
            assert b"event: reset\n" not in replayed
            for source in (one, two, late):
                source.close()

    asyncio.run(follow())


def test_an_id_that_is_too_old_gets_a_reset(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (stream, event_hub):
        monkeypatch.setattr(module, "KEPT", 3)

    async def follow() -> None:
        with closing(ledger.open_ledger(service.settings)) as opened:
            first = await _source(service)
            reset = await _upto(first, b"event: reset\n")
            id = next(line for line in reset.split(b"\n") if line.startswith(b"id: "))[4:].decode()
            opened.record([rig.window(n, n) for n in range(5)])
            # Three of five are in the buffer.
            found = await _upto(first, b"event: reset\n")
            assert found.count(b'"window_start"') >= 5
            late = await _source(service, id)
            assert b"event: window\n" not in await _upto(late, b"event: reset\n")
            within = await _source(service, f"{id.partition(':')[0]}:3")
            replayed = await _upto(within, b":5\n")
            assert replayed.count(b"event: window\n") == 2
            for source in (first, late, within):
                source.close()

    asyncio.run(follow())


def test_a_ledger_that_was_put_back_is_one_reset(service: RunningService) -> None:
    """A backup has the id of the ledger and a lower number than the readers know."""
    path = ledger.path_of(service.settings)

    async def follow() -> None:
        with closing(ledger.open_ledger(service.settings)) as opened:
            opened.record([rig.window(n, n) for n in range(2)])
        backup = path.read_bytes()
        with closing(ledger.open_ledger(service.settings)) as opened:
            opened.record([rig.window(n, n) for n in range(2, 6)])
        source = await _source(service)
        await _upto(source, b"event: reset\n")
        _put_back(path, backup)
        await _upto(source, b"event: reset\n")
        for _ in range(2):
            assert b"event: reset\n" not in await _upto(source, b"event: figures\n")
        source.close()

    asyncio.run(asyncio.wait_for(follow(), 20))


def test_a_look_that_found_nothing_wakes_nobody(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    wakes: list[event_hub.Reader] = []
    wake = event_hub.Reader.wake

    def counted(reader: event_hub.Reader) -> None:
        wakes.append(reader)
        wake(reader)

    monkeypatch.setattr(event_hub.Reader, "wake", counted)

    async def follow() -> None:
        with closing(ledger.open_ledger(service.settings)) as opened:
            opened.record([rig.window(0, 5)])
            source = await _source(service)
            await _upto(source, b"event: reset\n")
            await _upto(source, b"event: figures\n")
            wakes.clear()
            for _ in range(3):
                await _upto(source, b"event: figures\n")
            assert len(wakes) == 3
            source.close()

    asyncio.run(asyncio.wait_for(follow(), 20))


def test_a_ledger_that_cannot_be_read_hides_nothing_else(service: RunningService) -> None:
    path = ledger.path_of(service.settings)

    async def follow() -> None:
        with closing(ledger.open_ledger(service.settings)) as opened:
            opened.record([rig.window(0, 5)])
        kept = path.read_bytes()
        path.write_bytes(b"no ledger" * 1_000)
        source = await _source(service)
        found = await _upto(source, b"event: reset\n")
        assert b"id: none:0\n" in found
        assert b'"incomplete"' in found
        # Said once; figures go on.
        assert b"event: reset\n" not in await _upto(source, b"event: figures\n")
        _put_back(path, kept)
        found = await _upto(source, b"event: reset\n")
        assert b'"unique":5' in found
        source.close()

    asyncio.run(follow())


def test_figures_need_no_thread_of_the_event_loop(service: RunningService) -> None:
    """Batches may have them all."""

    async def follow() -> None:
        loop = asyncio.get_running_loop()
        over = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            loop.set_default_executor(pool)
            batch = loop.run_in_executor(None, over.wait)
            source = await _source(service)
            try:
                await asyncio.wait_for(_upto(source, b"event: figures\n"), 20)
            finally:
                over.set()
                source.close()
                await batch

    asyncio.run(follow())


def test_places_are_given_back_and_streams_end(service: RunningService) -> None:
    async def follow() -> None:
        service.streams.most = 2
        one, _ = await _source(service), await _source(service)
        assert (await _open(service)).status == 503
        one.close()
        one.close()
        three = await _source(service)
        assert (await _open(service)).status == 503
        waiting = asyncio.ensure_future(_upto(three, b"never"))
        await asyncio.sleep(0)
        service.streams.end()
        with pytest.raises(AssertionError):
            await waiting
        assert (await _open(service)).status == 503

    asyncio.run(follow())


def test_a_reader_that_is_blocked_is_cut(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def follow() -> None:
        source = await _source(service)
        monkeypatch.setattr(exchange, "BLOCKED_SECONDS", 0.01)
        never = asyncio.get_running_loop().create_future()
        assert not await sent(never, source)
        assert never.cancelled()
        monkeypatch.undo()
        service.streams.end()
        assert not await sent(asyncio.get_running_loop().create_future(), source)
        source.close()

    asyncio.run(follow())


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("ab:7", Position("ab", 7)),
        ("none:7", None),
        ("ab", None),
        ("ab:", None),
        ("ab:-1", None),
        ("ab:\N{SUPERSCRIPT TWO}", None),
        ("ab:" + "9" * 19, None),
    ],
)
def test_the_form_of_an_id(text: str, position: Position | None) -> None:
    assert Position.parse(text) == position
