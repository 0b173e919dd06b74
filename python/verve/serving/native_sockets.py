"""The sockets of the native listeners: `verve serve` binds them, its workers serve them.

Each worker number has its own socket per address, and the kernel spreads connections over them. A
worker that replaces another one, after a reload or a `kill -9`, inherits its sockets with the
connections in their queues: the kernel resets the connections that the dead worker had taken, and
those in the queue wait for the new worker. The parent keeps a copy until the service stops.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verve.service.sockets import bind

from . import worker_sockets
from .listening import ListenError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from verve.request.exchange import Entry

    from .listening import Place

    Sockets = dict[Entry, socket.socket]


class NativeSockets:
    """The sockets of all workers, by worker number."""

    def __init__(self, places: Mapping[Entry, Place], backlog: int) -> None:
        self._places = places
        self._backlog = backlog
        self._kept: dict[int, Sockets] = {}

    @property
    def address(self) -> str:
        """The addresses, in the form of a log line."""
        return ", ".join(str(place) for place in self._places.values())

    def of(self, worker: int) -> Sockets:
        """Return the sockets of a worker: those of its predecessor, if it had one."""
        if worker not in self._kept:
            self._kept[worker] = {
                entry: bind(place.host, place.port, self._backlog)
                for entry, place in self._places.items()
            }
        return self._kept[worker]

    def others(self, worker: int) -> list[int]:
        """The sockets of other workers; see `worker_sockets.others`."""
        return worker_sockets.others(
            worker, ((number, one) for number, kept in self._kept.items() for one in kept.values())
        )

    def close(self) -> None:
        """Close this process's copies of the sockets."""
        for kept in self._kept.values():
            for one in kept.values():
                one.close()
        self._kept.clear()


class _Native:
    """The methods that override those of Granian's server class."""

    sockets: NativeSockets
    bind_uds: Path | None
    granian_listens: bool

    @property
    def _bind_addr_fmt(self) -> str:
        """The address that Granian logs."""
        return str(super()._bind_addr_fmt) if self.granian_listens else self.sockets.address  # type: ignore[misc]

    def _init_shared_socket(self) -> None:
        if self.granian_listens:
            super()._init_shared_socket()  # type: ignore[misc]
            return
        # Granian requires a socket; no client can connect to this one, because its name is removed.
        try:
            folder = tempfile.TemporaryDirectory(prefix="verve-")
        except OSError as error:
            raise ListenError(
                "the native listener needs a folder for temporary files, and none can be written; "
                "hint: the variable `TMPDIR` names one"
            ) from error
        with folder as directory:
            self.bind_uds = Path(directory) / "unnamed"
            super()._init_shared_socket()  # type: ignore[misc]

    def _spawn_worker(self, *, idx: int, callback_loader: Callable[[], Any], **extra: Any) -> Any:  # noqa: ANN401 - Granian's own
        sockets, others = self.sockets.of(idx), self.sockets.others(idx)
        loader = functools.partial(_hand_over, sockets, others, callback_loader)
        return super()._spawn_worker(idx=idx, callback_loader=loader, **extra)  # type: ignore[misc]

    def _stop_workers(self) -> None:
        # The kernel then refuses new connections, which no worker would take from the queue.
        self.sockets.close()
        super()._stop_workers()  # type: ignore[misc]


def _hand_over(sockets: Sockets, others: list[int], loader: Callable[[], Any]) -> Any:  # noqa: ANN401 - Granian's own
    """Load the application in the worker, and pass it the worker's sockets."""
    worker_sockets.close(others)
    app = loader()
    app.worker.sockets = sockets
    return app


def native(server: type[Any], sockets: NativeSockets, *, granian_listens: bool) -> type[Any]:
    """Return a subclass of the server class whose workers get sockets for the native listeners.

    Without `granian_listens` Granian serves no address: it starts, watches and reloads the workers.
    """
    names = {"sockets": sockets, "granian_listens": granian_listens}
    return type("Native", (_Native, server), names)


def can_hand_over(server: type[Any]) -> bool:
    """Whether this Granian has the methods that `native` overrides; False on Windows."""
    leans_on = ("_init_shared_socket", "_spawn_worker", "_stop_workers")
    is_there = all(callable(getattr(server, name, None)) for name in leans_on)
    return is_there and sys.platform != "win32"
