"""One worker process: what it holds from its start to its end."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from verve import config, sinks, stores
from verve._verve import VerveError
from verve.config.choices import Ack
from verve.log import event_log, events, stream_writer
from verve.log.event_log import Event
from verve.publishing.leader import Leader
from verve.request.access import Access
from verve.request.body_budget import Bodies
from verve.startup.attachment import attach

from . import callbacks
from .callbacks import CallbackDesk
from .disk_threads import DiskThreads
from .host_facts import Watch
from .termination import Termination

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from verve._verve import Callbacks as Sender
    from verve._verve import Counter
    from verve.cluster.replication.sender import IdSender
    from verve.config import Settings

NO_THREAD = "can't start new thread"
"""What Python says, without a type of its own, where the host denies a thread."""
WORKER_REFUSED = Event("worker.refused", logging.ERROR, "Verve cannot start: {error}", ("error",))
_LAST_LINES = 0.5
"""Seconds that the last lines get to be written."""
_READERS = 4
"""Threads that read the history."""
ACCESS_RULE = Event("access.rule", logging.INFO, "Metrics and history are {rule}", ("rule",))


class Given(NamedTuple):
    """All that a worker needs to know at its start: it reads no file and no variable for it."""

    settings: Settings
    callbacks: Mapping[str, Any] | None
    """The options of the sender of callbacks, if there is one."""


def check(settings: Settings) -> Given:
    """See whether a worker can start with these settings. Raises `SettingError`."""
    sinks.check(settings)
    stores.check(settings)
    return Given(settings, callbacks.checked(settings))


def _read() -> Given:
    """Read the settings, in a worker whose parent knows nothing of them."""
    settings = config.load()
    event_log.configure(settings)
    for warning in settings.warnings:
        events.SETTING_ODD.emit(warning=warning)
    return check(settings)


class Worker:
    """Settings, counter, leader and callbacks of this process.

    Granian's threads, on a Python without the GIL, share one worker: it starts with the first of
    them and stops with the last.
    """

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.counter: Counter | None = None
        self.access = Access(everyone=False, token=None)
        self.bodies = Bodies(0)
        self.watch = Watch(self)
        self.history = DiskThreads("verve-history", most=_READERS)
        self.draining = False
        self.retiring = False
        """Whether each answer ends its connection, so that the next request goes elsewhere."""
        self.at_retirement: Callable[[], None] = lambda: None
        self.refused = False
        self.leader: Leader | None = None
        self.callbacks: CallbackDesk | None = None
        self.id_sender: IdSender | None = None
        self.started_at = 0.0
        """When it was opened, by the monotonic clock."""
        self.has_begun = False
        """Whether the host had joined its cluster since, or did not have to wait for it."""
        self._termination: Termination | None = None
        self.given: Given | None = None
        """What `verve serve` has read already; otherwise this process reads for itself."""
        self._users = 0
        self._lock = threading.Lock()

    @property
    def max_body(self) -> int:
        """Largest body of a batch, in bytes."""
        return 0 if self.settings is None else self.settings.max_body

    def start(self) -> bool:
        """Attach to the segment and take part in leading; False, and one log line, if it cannot."""
        with self._lock:
            if self._users == 0:
                try:
                    self._open()
                except (VerveError, OSError, RuntimeError) as error:
                    if type(error) is RuntimeError and str(error) != NO_THREAD:
                        raise
                    self.refused = True
                    self._close()
                    WORKER_REFUSED.emit(error="; ".join(str(error).splitlines()))
                    event_log.flush(_LAST_LINES)
                    return False
            self._users += 1
            return True

    def stop(self) -> None:
        """Give up the lead and the segment. All that was acknowledged is in the segment."""
        with self._lock:
            self._users -= 1
            if self._users > 0:
                return
            self._drain()
            self._close()
            event_log.flush(_LAST_LINES)

    def repeat_termination(self) -> None:
        """Tell a loop that has begun to run of a signal before: uvloop would forget it."""
        if self.draining and self._termination is not None:
            self._termination.repeat()

    @property
    def taker(self) -> Counter | Sender | None:
        """What takes accepts: the sender of callbacks, or the counter alone."""
        return self.counter if self.callbacks is None else self.callbacks.sender

    @property
    def confirms(self) -> bool:
        """Whether an accept is answered only once the store has its id."""
        return self.settings is not None and (
            self.settings.redis_url is not None and self.settings.ack is Ack.STORE
        )

    def segment_in_place(self) -> bool:
        """Whether the segment's file is still the one that this process counts in."""
        return self.counter is not None and self.counter.in_place()

    def _open(self) -> None:
        # First, so that no signal falls between the server's readiness for it and this one's.
        self._termination = Termination(self._drain, self._retire)
        self.started_at = time.monotonic()
        self.settings, options = self.given or _read()
        if config.SUPERVISOR in os.environ:
            stream_writer.take_over()
        event_log.configure(self.settings)
        self.access = Access.of(self.settings)
        self.bodies = Bodies(self.settings.max_body)
        self.counter = self._attach(self.settings)
        self.leader = Leader(self.counter, self.settings)
        self.leader.start()
        if options is not None:
            self.callbacks = CallbackDesk(self.counter, self.settings, options)
        ACCESS_RULE.emit(rule=self.access.rule.value)

    def _attach(self, settings: Settings) -> Counter:
        """The counter, by the time of Redis where hosts share one; and what sends new ids there."""
        if settings.redis_url is None:
            counter = attach(settings)
            # A segment of a host that has left its cluster keeps nothing for it.
            counter.retain(False)  # noqa: FBT003 - it takes no name
            return counter
        # Imported here, since most hosts count by themselves.
        from verve.startup.cluster_join import join  # noqa: PLC0415

        counter, self.id_sender = join(settings)
        return counter

    def _drain(self) -> None:
        self.draining = True
        self._retire()
        if self.counter is not None:
            with contextlib.suppress(VerveError):
                self.counter.set_worker_figure("draining", 1)

    def _close(self) -> None:
        if self.callbacks is not None:
            self.callbacks.stop()
            self.callbacks = None
        if self.id_sender is not None:
            # Before the leader, which says whether all ids of this host are there.
            self.id_sender.stop()
            self.id_sender = None
        if self.leader is not None:
            self.leader.stop()
            self.leader = None
        if self.counter is not None:
            self.counter.close()
            self.counter = None

    def _retire(self) -> None:
        self.retiring = True
        self.at_retirement()
