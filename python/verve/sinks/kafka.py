"""Kafka as a sink: one message per window, taken once the brokers acknowledged it.

The client needs an event loop, and the leader has none. So the thread of this sink runs a loop of
its own during a delivery, and the loop rests between deliveries. Loop, connection and producer are
made and closed together: after an error all are replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from .base import FailureKind, SinkError
from .kafka_connection import ClientErrors, KafkaConnection, failure_kind
from .kafka_message import message
from .kafka_settings import KAFKA, KAFKA_SCOPE

if TYPE_CHECKING:
    from verve.windows.window import Window

    from .kafka_settings import KafkaSettings

TAKE_SECONDS = 10.0
"""Seconds for one attempt: connecting, looking for the topic, sending, the acknowledgement."""
CLOSE_SECONDS = 0.4
GRACE = 0.3
"""Seconds that a message in flight may still take when the service stops."""


class KafkaSink:
    """Sends the count of each window to a topic, with the key `<source>:<window start>`."""

    name = KAFKA
    scope = KAFKA_SCOPE

    def __init__(self, settings: KafkaSettings, take_seconds: float = TAKE_SECONDS) -> None:
        self._settings = settings
        self._take_seconds = take_seconds
        self._loop: _Loop | None = None
        self._connection: KafkaConnection | None = None
        self._running: tuple[_Loop, asyncio.Task[None]] | None = None
        self._interrupted = False

    def take(self, window: Window) -> None:
        """Send one message and wait for the acknowledgement. Raises `SinkError`."""
        with ClientErrors() as logged:
            try:
                self._run(window)
            except SinkError:
                self._tear_down()
                raise
            except asyncio.CancelledError:
                self._tear_down()
                raise SinkError("the service stops", FailureKind.INTERRUPTED) from None
            except Exception as error:
                stage = self._connection.stage if self._connection else "connecting"
                self._tear_down()
                raise self._sink_error(error, logged.last, stage) from error

    def interrupt(self) -> None:
        """End a call of `take` soon."""
        self._interrupted = True
        if (running := self._running) is not None:
            loop, task = running
            with contextlib.suppress(RuntimeError):  # it has just been closed
                loop.call_soon_threadsafe(lambda: loop.call_later(GRACE, task.cancel))

    def close(self) -> None:
        """Close the connections, within a second whatever the brokers do."""
        self._tear_down()

    def _run(self, window: Window) -> None:
        loop = self._loop = self._loop or _Loop()
        task = loop.create_task(self._in_time(window))
        self._running = loop, task
        if self._interrupted:
            task.cancel()
        try:
            loop.run_until_complete(task)
        finally:
            self._running = None

    async def _in_time(self, window: Window) -> None:
        """Deliver by the deadline: every await of a delivery is below this one.

        `wait_for` would wait until the client heeds its cancellation.
        """
        task = asyncio.ensure_future(self._deliver(window))
        done, _ = await asyncio.wait({task}, timeout=self._take_seconds)
        if not done:
            raise TimeoutError
        task.result()

    async def _deliver(self, window: Window) -> None:
        if self._connection is None:
            self._connection = KafkaConnection(self._settings)
            await self._connection.open()
        await self._connection.send(message(window, self._settings.source))

    def _sink_error(self, error: Exception, logged: BaseException | None, stage: str) -> SinkError:
        """Describe an error with the addresses of the brokers, and without any secret."""
        kind = failure_kind(error)
        cause: BaseException = error
        if logged is not None and kind in {FailureKind.UNREACHABLE, FailureKind.TIMEOUT}:
            # It says why; the error itself only says that no broker could be used.
            cause = logged
            kind = failure_kind(logged)
        brokers = ",".join(self._settings.brokers)
        words = self._settings.masked(_words(cause))
        if isinstance(error, TimeoutError):
            why = f": {words}" if cause is not error else ""
            text = f"no answer within {self._take_seconds:g} s while {stage}{why}: `{brokers}`"
        else:
            text = f"{words}, while {stage}: `{brokers}`"
        if hint := self._hint(kind):
            text += f"; hint: {hint}"
        return SinkError(text, kind)

    def _hint(self, kind: FailureKind) -> str | None:
        return {
            FailureKind.AUTHENTICATION: (
                "see `VERVE_KAFKA_SASL`, `VERVE_KAFKA_USER` and its password"
            ),
            FailureKind.AUTHORIZATION: f"let the user write to the topic `{self._settings.topic}`",
            FailureKind.TLS: "see `VERVE_KAFKA_TLS_CA`, and the name in the broker's certificate",
            FailureKind.TOPIC_MISSING: f"make the topic: {self._settings.command()}",
            FailureKind.TOO_LARGE: (
                "a message has some 200 bytes: raise `max.message.bytes` of the topic "
                f"`{self._settings.topic}`"
            ),
        }.get(kind)

    def _tear_down(self) -> None:
        loop, self._loop = self._loop, None
        connection, self._connection = self._connection, None
        if loop is None:
            return
        try:
            loop.run_until_complete(_close(connection))
        finally:
            loop.close()


async def _close(connection: KafkaConnection | None) -> None:
    """Close the connection, and end every task that is left, within `2 * CLOSE_SECONDS`."""
    if connection is not None:
        await asyncio.wait({asyncio.ensure_future(connection.close())}, timeout=CLOSE_SECONDS)
    deadline = time.monotonic() + CLOSE_SECONDS
    # The client's tasks need several cancellations: each first finishes what is in flight.
    while (rest := asyncio.all_tasks() - {asyncio.current_task()}) and time.monotonic() < deadline:
        for task in rest:
            task.cancel()
        await asyncio.wait(rest, timeout=0.02)
    if connection is not None:
        await asyncio.wait({asyncio.ensure_future(connection.abort())}, timeout=0.1)


def _words(error: BaseException) -> str:
    text = str(error).strip()
    if isinstance(error, TimeoutError) and not text:
        return "no answer"
    name = type(error).__name__
    return text if name in text else f"{name}: {text}" if text else name


class _Loop(asyncio.SelectorEventLoop):
    """A loop that resolves names in daemon threads.

    The process would wait at its end for threads of the standard pool, and so for a name server
    that is away.
    """

    def __init__(self) -> None:
        super().__init__()
        # Tasks of the client that were cancelled leave errors that nobody reads.
        self.set_exception_handler(lambda _loop, _context: None)

    async def getaddrinfo(  # noqa: PLR0913 - as above
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - asyncio's own signature
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Resolve a name."""
        found: asyncio.Future[list[Any]] = self.create_future()

        def settle(result: list[Any] | OSError) -> None:
            if found.done():
                return
            if isinstance(result, OSError):
                found.set_exception(result)
            else:
                found.set_result(result)

        def look() -> None:
            result: list[Any] | OSError
            try:
                result = socket.getaddrinfo(host, port, family, type, proto, flags)
            except OSError as error:
                result = error
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self.call_soon_threadsafe(settle, result)

        threading.Thread(target=look, name="verve-kafka-names", daemon=True).start()
        return await found
