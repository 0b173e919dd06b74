from __future__ import annotations

import asyncio
import threading

import pytest

from verve.cluster.runtime.event_loop import run_on_loop


def test_a_thread_that_hangs_holds_nobody_up() -> None:
    over = threading.Event()

    async def main() -> str:
        _ = asyncio.get_running_loop().run_in_executor(None, over.wait)
        return "done"

    try:
        assert run_on_loop(main()) == "done"
        assert not over.is_set()
    finally:
        over.set()


def test_what_runs_in_a_thread_comes_to_its_end() -> None:
    begun, ended = threading.Event(), []

    def work() -> None:
        begun.set()
        # Slow, but it ends.
        threading.Event().wait(0.1)
        ended.append(True)

    async def main() -> None:
        _ = asyncio.get_running_loop().run_in_executor(None, work)
        await asyncio.to_thread(begun.wait)

    run_on_loop(main())
    assert ended


def test_errors_come_out() -> None:
    async def main() -> None:
        raise ValueError("so")

    with pytest.raises(ValueError, match="so"):
        run_on_loop(main())
