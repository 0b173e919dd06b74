"""The names under which the protocol keeps things in Redis; those of the ids are the store's."""

from __future__ import annotations

import re
from dataclasses import dataclass

from verve.stores.base import RETENTION_SECONDS

_ID = re.compile(r"[!-~]{1,100}")


def is_id(text: str) -> bool:
    """Whether this can be the id of a host."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one cluster and one length of window, in seconds.

    The braces name what Redis Cluster places keys by. No script touches two keys, so a name with
    braces of its own does no harm.
    """

    cluster: str
    seconds: int

    @property
    def hosts(self) -> str:
        """A line a host."""
        return f"verve:{{{self.cluster}:{self.seconds}}}:hosts"

    @property
    def changed(self) -> str:
        """Windows whose record changed, by the time of the change."""
        return f"verve:{{{self.cluster}:{self.seconds}}}:changed"

    def state(self, window_start: int) -> str:
        """Hosts, markers, token and record of a window."""
        return f"verve:{{{self.cluster}:{self.seconds}:{window_start}}}:state"

    def end(self, window_start: int) -> int:
        """When a window ends, seconds since the epoch."""
        return window_start + self.seconds

    def expiry(self, window_start: int) -> int:
        """When what is kept of a window is dropped, seconds since the epoch."""
        return self.end(window_start) + RETENTION_SECONDS
