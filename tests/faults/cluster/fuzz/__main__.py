"""`python -m tests.faults.cluster.fuzz SECONDS SEED`: a target of `make fuzz`.

Prints the number of changed values, in the words of libFuzzer. One seed makes the same changes in
each run.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
import time

from tests.faults.cluster.fuzz import replies, stored


async def main(seconds: float, first: int) -> int:
    """Fuzz for so long, from seed `first` on; 1 if a seed failed."""
    until = time.monotonic() + seconds
    executed = 0
    for seed in itertools.count(first):
        for name, fuzz in (("replies", replies.fuzz), ("stored", stored.fuzz)):
            try:
                executed += await fuzz(seed)
            except AssertionError as error:
                sys.stdout.write(f"seed {seed} of {name}: {error}\n")
                return 1
        if time.monotonic() > until:
            break
    sys.stdout.write(f"stat::number_of_executed_units: {executed}\n")
    return 0


if __name__ == "__main__":
    # Each skipped entry would be a line.
    logging.disable(logging.CRITICAL)
    sys.exit(asyncio.run(main(float(sys.argv[1]), int(sys.argv[2]))))
