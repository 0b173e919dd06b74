"""The sockets of the native listeners: bound by `verve serve`, served by its workers.

Each worker number has a socket of its own for each address, and the kernel spreads connections over
them. A worker that takes the place of another one inherits its sockets with the connections in
their queues, after a reload and after a `kill -9`: connections that the dead worker had taken are
reset, those in the queue wait for its successor. The parent keeps a copy until the service stops.
"""

from __future__ import annotations

import functools
import multiprocessing
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verve.service.sockets import bind

from . import worker_sockets

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from verve.request.exchange import Entry

    from .listening import Place

    Sockets = dict[Entry, socket.socket]


class NativeSockets:
    """The sockets of all workers, by the number of the worker."""

    def __init__(self, places: Mapping[Entry, Place], backlog: int) -> None:
        self._places = places
        self._backlog = backlog
        self._kept: dict[int, Sockets] = {}

    @property
    def address(self) -> str:
        """The addresses, as a log line shows them."""
        return ", ".join(str(place) for place in self._places.values())

    def of(self, worker: int) -> Sockets:
        """The sockets of a worker: those that its predecessor had, if it had one."""
        if worker not in self._kept:
            self._kept[worker] = {
                entry: bind(place.host, place.port, self._backlog)
                for entry, place in self._places.items()
            }
        return self._kept[worker]

    def beside(self, worker: int) -> list[int]:
        """The sockets that a fork inherits and must close: nobody would empty their queues."""
        if multiprocessing.get_start_method() != "fork":
            return []
        return [
            one.fileno()
            for other, kept in self._kept.items()
            for one in kept.values()
            if other != worker
        ]

    def close(self) -> None:
        """Close the copies of this process."""
        for kept in self._kept.values():
            for one in kept.values():
                one.close()
        self._kept.clear()


class _Native:
    """What is laid over Granian's server class."""

    sockets: NativeSockets
    bind_uds: Path | None
    granian_listens: bool

    @property
    def _bind_addr_fmt(self) -> str:
        """What Granian says that it listens at."""
        return str(super()._bind_addr_fmt) if self.granian_listens else self.sockets.address  # type: ignore[misc]

    def _init_shared_socket(self) -> None:
        if self.granian_listens:
            super()._init_shared_socket()  # type: ignore[misc]
            return
        # Granian cannot do without a socket. This one has no name, so that nothing connects to it.
        with tempfile.TemporaryDirectory(prefix="verve-") as directory:
            self.bind_uds = Path(directory) / "unnamed"
            super()._init_shared_socket()  # type: ignore[misc]

    def _spawn_worker(self, *, idx: int, callback_loader: Callable[[], Any], **extra: Any) -> Any:  # noqa: ANN401 - Granian's own
        sockets, beside = self.sockets.of(idx), self.sockets.beside(idx)
        loader = functools.partial(_hand_over, sockets, beside, callback_loader)
        return super()._spawn_worker(idx=idx, callback_loader=loader, **extra)  # type: ignore[misc]

    def _stop_workers(self) -> None:
        # What still comes is refused, instead of waiting in a queue that nobody empties.
        self.sockets.close()
        super()._stop_workers()  # type: ignore[misc]


def _hand_over(sockets: Sockets, beside: list[int], loader: Callable[[], Any]) -> Any:  # noqa: ANN401 - Granian's own
    """Runs in the worker: gives its sockets to the application."""
    worker_sockets.close(beside)
    app = loader()
    app.worker.sockets = sockets
    return app


def native(server: type[Any], sockets: NativeSockets, *, granian_listens: bool) -> type[Any]:
    """The server class, whose workers get sockets to serve by themselves.

    Without `granian_listens` Granian serves no address: it starts, watches and reloads the workers.
    """
    names = {"sockets": sockets, "granian_listens": granian_listens}
    return type("Native", (_Native, server), names)


def can_hand_over(server: type[Any]) -> bool:
    """Whether this Granian still has what `native` leans on."""
    leans_on = ("_init_shared_socket", "_spawn_worker", "_stop_workers")
    is_there = all(callable(getattr(server, name, None)) for name in leans_on)
    return is_there and sys.platform != "win32"
