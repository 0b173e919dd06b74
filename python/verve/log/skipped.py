"""Entries from outside that cannot be parsed: each one is skipped, and reported once.

Data in Redis, in the state directory or in the ledger may be damaged, or written by another
program. One invalid entry must not prevent the use of the others.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from . import events

OF_A_PLACE = 20
"""Maximum number of entries per place that are reported."""
_PLACES = 200
_SHOWN = 100
_reported: OrderedDict[str, set[str]] = OrderedDict()
_lock = threading.Lock()


def tell(place: str, entry: object, content: object = None) -> None:
    """Report once that `entry` of `place`, with this content, is skipped."""
    shown = _shown(entry)
    with _lock:
        known = _reported.setdefault(place, set())
        _reported.move_to_end(place)
        if len(_reported) > _PLACES:
            _reported.popitem(last=False)
        if shown in known or len(known) >= OF_A_PLACE:
            return
        known.add(shown)
    events.ENTRY_SKIPPED.emit(place=place, entry=shown, content=_shown(content))


def _shown(value: object) -> str:
    """The value in ASCII, at most 100 characters of it."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
