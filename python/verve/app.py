"""The application: `granian verve.app:app`, in RSGI or ASGI mode, or `uvicorn verve.app:app`.

Its answers are the same under every server. Only the fast path differs, and only in speed.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

from .config.choices import Listener
from .http import asgi, native, routes, rsgi
from .request.exchange import ended
from .service import fast_path
from .service.batch_scheduling import schedule_in_batches
from .service.termination import end_granian_once
from .startup.worker import Worker

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from .request.exchange import Request, Response
    from .service.running import RunningService


class App:
    """One worker behind the interfaces RSGI and ASGI."""

    def __init__(self) -> None:
        self.worker = Worker()
        self._servers: list[native.NativeServer] = []

    def __rsgi_init__(self, loop: AbstractEventLoop) -> None:
        """Start before the server listens. A worker that cannot start ends its process."""
        service = self.worker.start()
        if service is None:
            sys.exit(1)
        loop.call_soon(service.termination.repeat)
        self._serve(service, loop)
        if service.settings.listener is Listener.GRANIAN:
            fast_path.install(self.__rsgi__, service)
        schedule_in_batches()

    async def __rsgi__(self, scope: rsgi.Scope, protocol: Any) -> None:  # noqa: ANN401 - two classes
        """Answer one request in Granian's RSGI mode."""
        await rsgi.serve(scope, protocol, self._answer)

    def end_streams(self) -> None:
        """End the event streams, and open no other.

        For a program that embeds the server and stops it without a signal, from any thread: the
        server would wait for the end of each stream.
        """
        service = self.worker.service
        if service is not None:
            service.streams.end()

    def __rsgi_del__(self, loop: AbstractEventLoop) -> None:
        """Stop after the last request was answered."""
        if not loop.is_running():
            loop.run_until_complete(self._stop())
            return
        # An embedded Granian leaves its loop running, so this method cannot await anything.
        for server in self._servers:
            server.abandon()
        self._servers.clear()
        self.worker.stop()

    async def __call__(self, scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        """Answer one request of an ASGI server, or serve its lifespan protocol."""
        if scope["type"] == "lifespan":
            await asgi.live(receive, send, self._start, self._stop)
            return
        if self.worker.service is None and not self.worker.refused:
            # A server without lifespan, such as Granian's `asginl`, sends no startup event.
            self._start()
        await asgi.serve(scope, receive, send, self._answer)

    def _start(self) -> RunningService | None:
        service = self.worker.start()
        if service is not None:
            self._serve(service, asyncio.get_running_loop())
        return service

    def _serve(self, service: RunningService, loop: AbstractEventLoop) -> None:
        """Serve the sockets of this worker; if workers are threads, the first one serves them."""
        routes.prepare(service.settings)
        sockets, self.worker.sockets = self.worker.sockets, {}
        self._servers += native.start(service, sockets, loop, self._answer)

    async def _stop(self) -> None:
        """Stop the listeners first, then the service that counts for them."""
        await asyncio.gather(*(server.stop() for server in self._servers))
        self._servers.clear()
        self.worker.stop()

    async def _answer(self, request: Request) -> Response:
        response = await routes.answer(self.worker.service, request)
        return ended(response) if self.worker.termination.retiring else response


end_granian_once()
app = App()
