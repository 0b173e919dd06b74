"""The topology of `deploy/compose.yaml` as plain processes on the loopback, under load.

Starts Redis, Kafka, a receiver of callbacks, two Verve hosts and HAProxy, sends requests, and
compares each count that arrives at Kafka with the ids that were sent. Ctrl-C ends all of it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .counts import Counts
from .load import Load
from .processes import EndedError, Processes
from .topology import MissingError, Ports, require, stages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .counts import Published

_LOOK_SECONDS = 0.2


def main() -> None:
    """Read the command line, and run the demo until a signal ends it."""
    options = _options()
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    try:
        require(options.ports)
        with _directories() as (directory, segments):
            _run(options, directory, segments, stopping)
    except (MissingError, EndedError) as error:
        sys.exit(f"error: {error}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--window", type=int, default=10, help="length of a window in seconds [10]; Verve's own: 60"
    )
    parser.add_argument("--rate", type=float, default=200, help="requests per second [200]")
    parser.add_argument("--ids", type=int, default=2_000, help="number of different ids [2000]")
    names = ", ".join(name for name, _ in Ports().named())
    parser.add_argument("--ports", type=_ports, default=Ports(), help=f"ports of {names}: N,N,...")
    options = parser.parse_args()
    if options.window < 1 or options.rate <= 0 or options.ids < 1:
        parser.error("window, rate and ids must be above 0")
    return options


def _ports(text: str) -> Ports:
    numbers = [int(one) for one in text.split(",")]
    if len(numbers) != len(Ports.__slots__):
        raise argparse.ArgumentTypeError(f"{len(Ports.__slots__)} ports are needed: {text}")
    return Ports(*numbers)


@contextlib.contextmanager
def _directories() -> Iterator[tuple[Path, Path]]:
    """A directory on a disk for data and logs, and one on a tmpfs for the segments."""
    shared = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - what it is for
    prefix = f"verve-demo-{os.getpid()}-"
    directory = Path(tempfile.mkdtemp(prefix=prefix))
    segments = Path(tempfile.mkdtemp(prefix=prefix, dir=shared))
    try:
        yield directory, segments
    finally:
        for one in (directory, segments):
            shutil.rmtree(one, ignore_errors=True)


def _run(
    options: argparse.Namespace, directory: Path, segments: Path, stopping: threading.Event
) -> None:
    """Start everything, print counts until a signal comes, and end everything."""
    ports: Ports = options.ports
    _say("Two Verve hosts behind HAProxy, with Redis, Kafka and a receiver of callbacks")
    processes = Processes(directory, stopping)
    try:
        began = time.monotonic()
        processes.start(stages(ports, directory, segments, options.window), _say_step)
        if not stopping.is_set():
            _greet(options, directory, time.monotonic() - began)
            callbacks = f"http://127.0.0.1:{ports.receiver}/"
            with (
                Counts(ports.kafka) as counts,
                Load(ports.haproxy, options.rate, options.ids, callbacks) as load,
            ):
                _follow(counts, load, processes, stopping)
    finally:
        _say("\nstopping all of it")
        processes.stop()
        _say("stopped")


def _greet(options: argparse.Namespace, directory: Path, seconds: float) -> None:
    ports: Ports = options.ports
    _say(
        f"""\
all serve, after {seconds:.0f} s

  live pages           http://127.0.0.1:{ports.verve_1}/ and http://127.0.0.1:{ports.verve_2}/
  the service          curl 'http://127.0.0.1:{ports.haproxy}/api/verve/accept?id=7'
  logs                 {directory}/*.log
  to stop all of it    Ctrl-C

{options.rate:g} requests per second go to HAProxy, with random ids out of {options.ids:,}. A window
is {options.window} s long here. Its count comes from Kafka shortly after its end:

window (UTC)   ids sent    counted              callbacks received so far"""
    )


def _follow(counts: Counts, load: Load, processes: Processes, stopping: threading.Event) -> None:
    """Print each count that arrives, until `stopping`."""
    while not stopping.is_set():
        processes.check()
        with contextlib.suppress(queue.Empty):
            published = counts.arrived.get(timeout=_LOOK_SECONDS)
            received = processes.log_of("receiver of callbacks").count("\ncallback ")
            _say(_line(published, load.unique(published.window_start), load.unanswered, received))


def _line(published: Published, sent: int, unanswered: int, received: int) -> str:
    """One count beside what was sent.

    A caller without an answer cannot know whether its id was counted, and a count may contain ids
    of other callers.
    """
    difference = published.unique - sent
    if published.degraded:
        verdict = "incomplete: a revision will follow"
    elif difference == 0:
        verdict = "exact"
    elif difference > 0:
        verdict = f"{difference:,} more: from other callers, or of requests without an answer"
    elif unanswered:
        verdict = f"{-difference:,} FEWER than were answered"
    else:
        verdict = f"{-difference:,} FEWER than were sent"
    start = datetime.fromtimestamp(published.window_start, UTC)
    return f"{start:%H:%M:%S}     {sent:>10,} {published.unique:>10,}  {verdict:<18} {received:>8,}"


def _say_step(text: str) -> None:
    _say(f"  {text}")


def _say(text: str) -> None:
    """Print a line. If nobody reads any more, end the demo."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
