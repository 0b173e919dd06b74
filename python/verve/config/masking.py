"""The mask that replaces secrets in text that is shown."""

from __future__ import annotations

import re

MASK = "***"
_LONG = 8


def masked(text: str, *secrets: str | None) -> str:
    """`text` from outside Verve, such as the error of a library, with each secret masked.

    A secret of fewer than 8 characters is masked only as a whole word: inside a word it occurs by
    chance, and the mask would reveal its letters. Callers do not pass Verve's own texts: they hold
    no secret, and a password such as `v` would garble them.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        found = re.escape(secret)
        if len(secret) < _LONG:
            left = r"(?<!\w)" if re.match(r"\w", secret[0]) else ""
            right = r"(?!\w)" if re.match(r"\w", secret[-1]) else ""
            found = f"{left}{found}{right}"
        text = re.sub(found, MASK, text)
    return text
