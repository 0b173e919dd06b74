"""What Schemathesis must know of the bodies of a batch, since JSON Schema cannot say it.

Schemathesis loads this module by `SCHEMATHESIS_HOOKS`.
"""

from __future__ import annotations

import schemathesis
from hypothesis import strategies

_IDS = strategies.lists(strategies.integers(-(2**63), 2**63 - 1), max_size=50)


def _binary(ids: list[int]) -> bytes:
    return b"".join(id.to_bytes(8, "little", signed=True) for id in ids)


def _text(ids: list[int]) -> bytes:
    return "\n".join(map(str, ids)).encode()


# A schema knows no bytes, so it cannot say that 8 of them are an id. Nor can it bound numbers that
# are written in a text.
schemathesis.openapi.media_type("application/octet-stream", _IDS.map(_binary))
schemathesis.openapi.media_type("text/plain", _IDS.map(_text))
