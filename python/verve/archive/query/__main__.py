"""The process that answers one query of the HTTP route, out of the way of all others.

It gets the query as the first line of its input, and ends when its input does: with the worker that
started it. It prints one line of JSON. It takes a bounded time and a bounded memory, whatever the
span.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from verve.archive.background import ONE_THREAD, step_back

from .turn import turn

SPARE_BYTES = 256 * 2**20
"""Memory for footers and records of windows, and for the stacks of threads."""
_NO_THREAD = "can't start new thread"
_NO_MEMORY = (
    "the query needs more memory than it may; hint: ask for a shorter span, or raise "
    "`VERVE_ARCHIVE_MEMORY`"
)


def main() -> None:
    """Answer one query."""
    query = json.loads(sys.stdin.buffer.readline() or b"null")
    if query is None:
        return
    threading.Thread(target=_end_with_input, daemon=True).start()
    step_back()
    os.environ.update(ONE_THREAD)
    with turn(Path(query["state_dir"])) as granted:
        answer = _answer(query) if granted else {"kind": "busy"}
    sys.stdout.write(json.dumps(answer) + "\n")


def _answer(query: dict[str, Any]) -> dict[str, Any]:
    # Imported here, since they load the libraries.
    from verve._verve import VerveError  # noqa: PLC0415
    from verve.archive.store import open_store  # noqa: PLC0415

    from .counting import Limits  # noqa: PLC0415
    from .distinct import distinct  # noqa: PLC0415
    from .span import By, DeadlineError, Span, SpanError  # noqa: PLC0415

    _bound_memory(query["memory"])
    try:
        answer = distinct(
            # A request that hangs is then the error that it is, and not a deadline.
            open_store(query["archive"], timeout=timedelta(seconds=query["seconds"] / 3)),
            query["cluster"],
            Span(query["since"], query["until"]),
            by=None if query["by"] is None else By(query["by"]),
            limits=Limits(
                memory=query["memory"], deadline=time.monotonic() + float(query["seconds"])
            ),
        )
    except SpanError as error:
        return {"kind": "span", "error": str(error)}
    except DeadlineError as error:
        return {"kind": "deadline", "error": str(error)}
    except VerveError as error:
        return {"kind": "failed", "error": str(error)}
    except (MemoryError, RuntimeError) as error:
        # The stack of a thread does not fit, either.
        if isinstance(error, RuntimeError) and str(error) != _NO_THREAD:
            raise
        return {"kind": "failed", "error": _NO_MEMORY}
    return {"kind": "answer", "answer": answer.plain()}


def _bound_memory(ids: int) -> None:
    """Bound what this process may take beside the libraries, which are loaded by now."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        (taken,) = re.findall(r"^VmData:\s+([0-9]+) kB$", status, re.MULTILINE)
        limit = int(taken) * 1024 + ids + SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _end_with_input() -> None:
    while sys.stdin.buffer.readline():
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
