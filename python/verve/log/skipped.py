"""Entries from outside that cannot be read: each is skipped, and told of once.

What lies in Redis, in the state directory or in the ledger may be damaged, or of somebody else. One
such entry must not keep the others from being read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from . import events

OF_A_PLACE = 20
"""So many entries of a place are told of; whoever finds these need not hear of the others."""
_PLACES = 200
_SHOWN = 100
_told: OrderedDict[str, set[str]] = OrderedDict()
_lock = threading.Lock()


def tell(place: str, entry: object, content: object = None) -> None:
    """Say that `entry` of `place` is skipped, unless that was said already. `content`: of it."""
    shown = _shown(entry)
    with _lock:
        known = _told.setdefault(place, set())
        _told.move_to_end(place)
        if len(_told) > _PLACES:
            _told.popitem(last=False)
        if shown in known or len(known) >= OF_A_PLACE:
            return
        known.add(shown)
    events.ENTRY_SKIPPED.emit(place=place, entry=shown, content=_shown(content))


def _shown(value: object) -> str:
    """Short and harmless, since nobody knows what it is."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
