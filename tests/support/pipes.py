"""Reading a pipe without waiting for ever."""

from __future__ import annotations

import selectors


def readable(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read within that time.

    `select` refuses descriptors above 1,023, and a process that ran thousands of tests has some.
    """
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(seconds))
