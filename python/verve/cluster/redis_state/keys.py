"""The keys of the protocol in Redis. The keys of the ids belong to the store."""

from __future__ import annotations

import re
from dataclasses import dataclass

from verve.stores.base import RETENTION_SECONDS

_ID = re.compile(r"[!-~]{1,100}")


def is_id(text: str) -> bool:
    """Whether this is a valid id of a host."""
    return _ID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one cluster and one length of window, in seconds.

    The braces enclose the part by which Redis Cluster places keys. No script touches two keys, so a
    cluster's name with braces of its own does no harm.
    """

    cluster: str
    seconds: int

    @property
    def hosts(self) -> str:
        """The hash with one line per host."""
        return f"verve:{{{self.cluster}:{self.seconds}}}:hosts"

    @property
    def changed(self) -> str:
        """The sorted set of windows whose record changed, by the time of the change."""
        return f"verve:{{{self.cluster}:{self.seconds}}}:changed"

    def state(self, window_start: int) -> str:
        """The hash with the hosts, markers, token and record of a window."""
        return f"verve:{{{self.cluster}:{self.seconds}:{window_start}}}:state"

    def end(self, window_start: int) -> int:
        """The end of a window, in seconds since the epoch."""
        return window_start + self.seconds

    def expiry(self, window_start: int) -> int:
        """When the state of a window expires, in seconds since the epoch."""
        return self.end(window_start) + RETENTION_SECONDS
