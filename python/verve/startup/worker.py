"""One worker process: its service from the first start to the last stop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from verve._verve import VerveError
from verve.log import event_log, events
from verve.request.exchange import Entry
from verve.service import sockets
from verve.service.termination import Termination

from .startup import start

if TYPE_CHECKING:
    import socket

    from verve.service.running import RunningService

    from .configuration import Configuration

NO_THREAD = "can't start new thread"
"""What Python says, without a type of its own, where the host denies a thread."""
_FLUSH_SECONDS = 0.5
"""Time that the last log lines get to be written."""


class Worker:
    """Starts and stops the service of this process.

    Granian's threads, on a Python without the GIL, share one worker: it starts with the first of
    them and stops with the last.
    """

    def __init__(self) -> None:
        self.configuration: Configuration | None = None
        """What `verve serve` has read already; otherwise this process reads for itself."""
        self.service: RunningService | None = None
        """None before the start, after a start that failed, and after the stop."""
        self.refused = False
        """Whether the last start failed."""
        self.termination = Termination()
        self.sockets: dict[Entry, socket.socket] = {}
        """What the workers serve by themselves: given by `verve serve`, else bound at the start."""
        self._users = 0
        self._lock = threading.Lock()

    def start(self) -> RunningService | None:
        """Start the service, or share it; None, and one log line, if it cannot start."""
        with self._lock:
            if self.service is None:
                # First, so that no signal falls between the server's handlers and these.
                self.termination.listen()
                try:
                    self.service = start(self.configuration, self.termination)
                    self._bind_admin(self.service)
                except (VerveError, OSError, RuntimeError) as error:
                    if type(error) is RuntimeError and str(error) != NO_THREAD:
                        raise
                    self._close()
                    self.refused = True
                    events.WORKER_REFUSED.emit(error="; ".join(str(error).splitlines()))
                    event_log.flush(_FLUSH_SECONDS)
                    return None
            self._users += 1
            return self.service

    def _close(self) -> None:
        if self.service is not None:
            self.service.close()
            self.service = None

    def _bind_admin(self, service: RunningService) -> None:
        """Listen at the admin address, unless `verve serve` has bound it."""
        address = service.settings.admin_listen
        if address is not None and Entry.ADMIN not in self.sockets:
            self.sockets[Entry.ADMIN] = sockets.bind(*sockets.split(address))

    def stop(self) -> None:
        """Give up the lease and the segment. All that was acknowledged is in the segment."""
        with self._lock:
            self._users -= 1
            if self._users > 0:
                return
            self._users = 0
            self.termination.drain()
            self._close()
            event_log.flush(_FLUSH_SECONDS)
