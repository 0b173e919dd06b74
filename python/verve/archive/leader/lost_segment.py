"""A segment that is gone, or was set aside: the archive may lack ids of the window it had open."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from verve.archive.format.manifest import State
from verve.archive.spool.spool import Spool
from verve.archive.spool.spool_file import SpoolHead

if TYPE_CHECKING:
    from verve._verve import Counter
    from verve.config import Settings

REASON = "its segment is gone, with ids that it may have counted"


def spool_lost(counter: Counter, settings: Settings, identity: str) -> None:
    """Enter the first window of `counter` as lost, under the identity of the segment before.

    The new segment has only a part of that window, and would have it archived as whole. Earlier
    windows need nothing: no segment says that it has them. Raises `OSError`.
    """
    # The ring has it if it has ended since, and if an earlier attempt failed.
    starts = [one.window_start for one in counter.closed()]
    head = SpoolHead(
        window_start=min(starts, default=counter.current().window_start),
        window_seconds=counter.window,
        segment=identity,
        host=socket.gethostname(),
        cluster=settings.cluster,
        count=0,
        state=State.LOST,
        reason=REASON,
    )
    spool = Spool(settings.state_dir, settings.archive_spool_max, settings.archive_reserve)
    spool.write(head, (), "lost")
