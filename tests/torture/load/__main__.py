"""The sender: `python -m tests.torture.load CONFIG`. It sends until SIGTERM, then writes a report.

It imports nothing of Verve, and neither does what it imports.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from pathlib import Path

from tests.torture.load.batches import Batches
from tests.torture.load.config import Config, load
from tests.torture.load.readers import Readers
from tests.torture.load.receiver import Receiver
from tests.torture.load.singles import Singles
from tests.torture.load.tally import Tally

CALM = 1.0
"""Seconds between two looks at which callbacks still are to come."""


async def send(config: Config, stop: asyncio.Event, end: asyncio.Event) -> Tally:
    """Send until `stop`, receive callbacks until `end` or the last one has come."""
    tally = Tally(config.window, ahead=config.ahead, behind=config.behind)
    receiver = Receiver(tally)
    await receiver.start(config.receiver)
    senders: list[Singles | Batches | Readers] = [
        *(Singles(config, tally, number) for number in range(config.singles)),
        *(Batches(config, tally, number) for number in range(config.batches)),
        *(Readers(tally, host, port) for host, port in config.hosts.items()),
    ]
    async with asyncio.TaskGroup() as tasks:
        for sender in senders:
            tasks.create_task(sender.run(stop))
    while not tally.promised.keys() <= tally.called.keys():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(end.wait(), CALM)
            break
    return tally


async def main(path: Path) -> None:
    """Run what the configuration says: SIGTERM stops the load, a second one the callbacks."""
    config = load(path)
    stop, end = asyncio.Event(), asyncio.Event()

    def told() -> None:
        (end if stop.is_set() else stop).set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told)
    tally = await send(config, stop, end)
    out = Path(config.out)
    partial = out.with_suffix(".part")
    partial.write_text(json.dumps(tally.saved()))
    partial.replace(out)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
