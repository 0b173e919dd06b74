"""The event of the supervisor's main loop: no signal is missed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from verve.serving.signal_event import SignalEvent

# The kernel gives SIGHUP to another thread, as it may when the main thread is about to sleep.
_MISSED = """
import os, signal, sys, threading, time
from tests.unit.serving.test_supervisor import Fleet
from verve import config
from verve.serving.supervisor import supervised

fleet = supervised(Fleet, config.load(environ={}), {})()
if sys.argv[1] == "stock":
    fleet.main_loop_interrupt = threading.Event()
signal.signal(signal.SIGHUP, lambda *_: fleet.main_loop_interrupt.set())

def send():
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGHUP)
    time.sleep(10)

def loop(fleet):
    threading.Thread(target=send, daemon=True).start()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    print(fleet.main_loop_interrupt.wait(2), flush=True)
    os._exit(0)

Fleet._serve_loop = loop
if sys.argv[1] == "stock":
    loop(fleet)
fleet._serve_loop()
"""


@pytest.mark.parametrize(("event", "is_seen"), [("verve", "True"), ("stock", "False")])
def test_a_signal_that_comes_when_the_main_loop_goes_to_sleep(event: str, is_seen: str) -> None:
    begun = time.monotonic()
    shown = subprocess.run(
        [sys.executable, "-c", _MISSED, event],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == is_seen, (shown.stderr, time.monotonic() - begun)


def test_a_storm_of_signals_never_hangs() -> None:
    event = SignalEvent()
    counted = 0

    def handle(*_: object) -> None:
        nonlocal counted
        counted += 1
        event.set()

    before = signal.signal(signal.SIGHUP, handle)
    ended = threading.Event()

    def send() -> None:
        for _ in range(3_000):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGHUP)
        ended.set()

    try:
        with event.woken_by_signals():
            thread = threading.Thread(target=send)
            thread.start()
            while not ended.is_set():
                event.wait(0.01)
                event.clear()
            thread.join()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert counted


def test_it_is_an_event() -> None:
    event = SignalEvent()
    begun = time.monotonic()
    assert not event.wait(0.05)
    assert time.monotonic() - begun >= 0.05
    for _ in range(100_000):  # more than the socket holds
        event.set()
    assert event.is_set()
    assert event.wait()
    event.clear()
    assert not event.wait(0.05)
    threading.Timer(0.05, event.set).start()
    assert event.wait(10)


def test_the_signals_of_a_caller_wake_its_own_loop_again() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    try:
        with SignalEvent().woken_by_signals():
            pass
        assert signal.set_wakeup_fd(-1) == write
    finally:
        os.close(read)
        os.close(write)
