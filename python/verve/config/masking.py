"""Keeping secrets out of what is shown."""

from __future__ import annotations

import re

MASK = "***"
_LONG = 8


def masked(text: str, *secrets: str | None) -> str:
    """`text` of somebody else's, such as a library's error, without the secrets.

    A short secret is replaced only where it stands by itself: elsewhere it is a part of a word by
    chance, and the mask would tell its letters. Words of our own are not to be given: they hold no
    secret, and a password such as `v` would spoil them.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        found = re.escape(secret)
        if len(secret) < _LONG:
            left = r"(?<!\w)" if re.match(r"\w", secret[0]) else ""
            right = r"(?!\w)" if re.match(r"\w", secret[-1]) else ""
            found = f"{left}{found}{right}"
        text = re.sub(found, MASK, text)
    return text
