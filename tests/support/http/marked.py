"""The application, with a header on each answer that came through the event loop.

`MARKED` changes what stands around it, to see the fast path step aside: `untested` (an unknown
version of Granian), `changed` (one that builds its schedule functions in another way), `inside`
(the application is part of another one).
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from granian import _futures

from verve.app import app
from verve.service import fast_path

if TYPE_CHECKING:
    from verve.request.exchange import Request, Response

HEADER = ("x-through", "event loop")
_answer = app._answer


async def _marked(request: Request) -> Response:
    response = await _answer(request)
    return replace(response, headers=[*response.headers, HEADER])


class _Outer:
    """An application that passes everything on."""

    def __init__(self) -> None:
        self.__rsgi_init__ = app.__rsgi_init__
        self.__rsgi_del__ = app.__rsgi_del__

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:  # noqa: ANN401
        await app.__rsgi__(scope, protocol)


setattr(app, "_answer", _marked)  # noqa: B010 - a method is replaced, which types forbid
match os.environ.get("MARKED"):
    case "untested":
        fast_path.TESTED_GRANIAN = frozenset({"0.0.0"})
    case "changed":
        del _futures._cbsched_aioschedule
    case _:
        pass
target = _Outer() if os.environ.get("MARKED") == "inside" else app
