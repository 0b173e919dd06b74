"""The start of the process: it gets out of the way of all others, then works until its input ends.

It ends with the leader's process, too.

Its first line of input holds the options, each later one says that the spool has more. All that it
does can be done again, so it may be killed at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time

from verve.archive.background import ONE_THREAD, step_back

_LOOK_SECONDS = 1.0


def main() -> None:
    """Work until the input ends."""
    # A service that stops has its leader end this process.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    options = json.loads(sys.stdin.buffer.readline() or b"null")
    if options is None:
        return
    wake = threading.Event()

    def listen() -> None:
        while sys.stdin.buffer.readline():
            wake.set()
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    threading.Thread(target=_end_with_leader, args=[options["leader"]], daemon=True).start()
    os.environ.update(ONE_THREAD)
    # Imported here, since it loads the libraries: before the priority is gone, which takes half a
    # second once, and would take minutes beside full processors.
    from .loop import WriterLoop  # noqa: PLC0415

    step_back()
    WriterLoop(options, wake, _report).run()


def _end_with_leader(pid: int) -> None:
    """End when the leader's process has ended: one that it forked may hold the input open."""
    while os.getppid() == pid:
        time.sleep(_LOOK_SECONDS)
    os._exit(0)


def _report(**message: object) -> None:
    """Tell the leader something, in one line."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    main()
