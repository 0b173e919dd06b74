"""The sockets that the workers listen on, of which the supervisor keeps a copy.

Each of Granian's workers binds a socket of its own, and the kernel resets the connections that wait
in the queue of a socket that is closed. A worker that takes the place of another one inherits the
socket, and with it the queue.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Listener(NamedTuple):
    """A socket as Granian hands it to a worker."""

    holder: Any
    socket: socket.socket


class Listeners:
    """One socket per worker number."""

    def __init__(self) -> None:
        self._kept: dict[int, Listener] = {}

    def of(self, worker: int, build: Callable[[], Any]) -> Listener:
        """The socket of a worker; `build` binds one if there is none."""
        if worker not in self._kept:
            holder = build()
            owned = socket.socket(fileno=holder.get_fd())
            owned.set_inheritable(True)
            # A connection comes to a worker with its first bytes: Granian closes those without any
            # when it ends, also when they are on their way.
            owned.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
            self._kept[worker] = Listener(holder, owned)
        return self._kept[worker]

    def others(self, worker: int) -> list[int]:
        """The sockets of other workers; see `others`."""
        return others(worker, ((number, one.socket) for number, one in self._kept.items()))

    def drop(self, worker: int) -> None:
        """Leave the connections to the other workers: this one takes none for now."""
        if (one := self._kept.pop(worker, None)) is not None:
            one.socket.close()

    def drop_all(self) -> None:
        """Keep no socket beyond the worker that listens on it."""
        for worker in list(self._kept):
            self.drop(worker)


def others(worker: int, sockets: Iterable[tuple[int, socket.socket]]) -> list[int]:
    """The sockets of other workers than `worker`, which it must close if it is forked.

    A copy that it kept open would hold connections in a queue that no worker empties. `sockets` are
    those of all workers with the worker's number.
    """
    if multiprocessing.get_start_method() != "fork":
        return []
    return [one.fileno() for number, one in sockets if number != worker]


def close(descriptors: list[int]) -> None:
    """Close the sockets that a worker inherited of others."""
    for descriptor in descriptors:
        os.close(descriptor)
