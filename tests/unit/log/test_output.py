from __future__ import annotations

import contextlib
import os
import pty
import socket
import subprocess
import sys
import termios
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.pipes import readable
from verve.log import losses
from verve.log.deferred import Deferred
from verve.log.stream_writer import MOST_LINES, Output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Pipe:
    """A pipe that is full, its output, and what that told of."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"." * 4096)
        os.set_blocking(writer, True)
        self.output = Output(writer)
        self.told: list[tuple[int, bool]] = []
        self.output.lost = lambda n, *, is_written: self.told.append((n, is_written))

    def read(self, until: bytes) -> bytes:
        """Read to the end of a text that must come."""
        found = b""
        while not found.endswith(until):
            assert readable(self.reader, 10), found[-200:]
            found += os.read(self.reader, 1 << 20)
        return found.lstrip(b".")


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    # Its thread may still wait in it: with the reader gone, it fails and goes on.
    os.close(made.reader)
    made.output.flush(5)
    os.close(made.output.descriptor)


def test_a_pipe_that_nobody_reads_holds_up_nobody(pipe: Pipe) -> None:
    start = time.monotonic()
    # The thread has as many in its hands at the most as may wait.
    most = 2 * MOST_LINES + 500
    for number in range(most):
        pipe.output.put(b"%d\n" % number)
    assert not pipe.output.flush(0.1)
    with pytest.raises(BlockingIOError, match="nobody reads it"):
        pipe.output.write(b"must\n", 0.1)
    assert time.monotonic() - start < 5

    last = b"%d\n" % (most - 1)
    lines = pipe.read(last).splitlines()
    assert pipe.output.flush(5)
    # The newest, and what the thread had in its hands; none twice, none in pieces.
    assert [*map(int, lines)] == sorted({*map(int, lines)})
    lost = most - len(lines)
    assert 500 <= lost <= most - MOST_LINES
    assert sum(number for number, _ in pipe.told) == lost
    assert pipe.told[-1][1]


def test_a_line_that_must_be_written_comes_once_and_whole(pipe: Pipe) -> None:
    pipe.output.put(b"waits\n")
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            pipe.output.write(b"must\n", 0.02)
    reader = threading.Timer(0.1, lambda: os.read(pipe.reader, 1 << 20))
    reader.start()
    pipe.output.write(b"must\n", 5)
    reader.join()
    assert pipe.output.flush(5)
    assert sorted(os.read(pipe.reader, 1 << 20).lstrip(b".").splitlines()) == [b"must", b"waits"]


def test_a_line_longer_than_a_pipe_takes_at_once(pipe: Pipe) -> None:
    line = b"x" * 300_000 + b"\n"
    pipe.output.put(line)
    pipe.output.put(b"end\n")
    assert pipe.read(b"end\n") == line + b"end\n"


def test_a_terminal_that_is_halted_holds_up_nobody() -> None:
    master, slave = pty.openpty()
    termios.tcflow(slave, termios.TCOOFF)
    output = Output(slave)
    output.put(b"waits\n")
    with pytest.raises(BlockingIOError):
        output.write(b"must\n", 0.05)
    termios.tcflow(slave, termios.TCOON)
    output.write(b"must\n", 5)
    assert output.flush(5)
    read = b""
    while len(read.split()) < 2:
        read += os.read(master, 100)
    assert sorted(read.split()) == [b"must", b"waits"]
    os.close(slave)
    os.close(master)


def test_a_socket_that_nobody_reads_holds_up_nobody() -> None:
    # As that of a journal that hangs; it cannot be opened once more.
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                writer.send(b"." * 4096)
        writer.setblocking(True)
        code = "from verve.log.stream_writer import take_over; take_over(); print('x' * 100_000)"
        with subprocess.Popen([sys.executable, "-c", code], stdout=writer.fileno()) as stuck:
            assert stuck.wait(20) == 0
        output = Output(writer.fileno())
        with pytest.raises(BlockingIOError):
            output.write(b"must\n", 0.05)
        reader.recv(1 << 20)
        output.write(b"must\n", 5)


def test_a_reader_that_is_gone_is_a_loss() -> None:
    pipe = Pipe()
    pipe.output.put(b"1\n")
    os.close(pipe.reader)
    assert pipe.output.flush(5)
    pipe.output.put(b"2\n")
    assert pipe.output.flush(5)
    with pytest.raises(BrokenPipeError):
        pipe.output.write(b"3\n", 1)
    pipe.output.close()
    assert sum(number for number, _ in pipe.told) == 2
    os.close(pipe.output.descriptor)


def test_the_end_of_the_process_waits_a_moment_only(pipe: Pipe) -> None:
    pipe.output.put(b"1\n")
    start = time.monotonic()
    pipe.output.close()
    pipe.output.put(b"2\n")  # as what the interpreter says last
    assert time.monotonic() - start < 5
    assert pipe.told == [(1, False)]


def test_a_fork_writes_nothing_of_its_parent() -> None:
    code = """
import os
from verve.log.stream_writer import STANDARD, take_over
take_over()
for number in range(100):
    print("parent", number)
    if number == 50:
        child = os.fork()
        if child == 0:
            print("child")
            STANDARD[1].flush(5)
            os._exit(0)
os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert [line for line in lines if line != "child"] == [f"parent {n}" for n in range(100)]
    assert lines.count("child") == 1


@pytest.mark.parametrize(
    "code",
    [
        "print('last words', file=sys.stderr)",
        "sys.stderr.write('last '); sys.stderr.write('words')",
        "import warnings; warnings.warn('last words')",
        "raise ValueError('last words')",
        "import logging; logging.warning('last words')",
        "import click; click.echo('last words', err=True)",
        "import threading; threading.Thread(target=lambda: 1 / 0, name='last words').start()",
        (
            "from multiprocessing import get_context as get\n"
            "get('fork').Process(target=lambda: 1 / 0, name='last words').start()"
        ),
    ],
    ids=["print", "begun", "warning", "exception", "logging", "click", "thread", "worker"],
)
def test_every_writer_of_python_is_heard_and_waits_for_nobody(code: str) -> None:
    program = f"import sys\nfrom verve.log.stream_writer import take_over\ntake_over()\n{code}"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert "last words" in done.stderr

    pipe = Pipe()
    with subprocess.Popen(command, stderr=pipe.output.descriptor) as stuck:
        assert stuck.wait(20) == done.returncode
    os.close(pipe.reader)
    os.close(pipe.output.descriptor)


def test_the_last_words_of_a_crash_wait_for_nobody() -> None:
    code = "import os, faulthandler; from verve.log.stream_writer import take_over; take_over()\n"
    code += "faulthandler.enable(); os.kill(os.getpid(), 11)"
    pipe = Pipe()
    with subprocess.Popen([sys.executable, "-c", code], stderr=pipe.output.descriptor) as crashes:
        assert crashes.wait(20) == -11
    # The pipe itself is as it was, for whoever else writes to it.
    assert os.get_blocking(pipe.output.descriptor)
    os.close(pipe.reader)
    os.close(pipe.output.descriptor)


def test_losses_are_added_up_over_processes(tmp_path: Path) -> None:
    assert losses.read(tmp_path) == {"stdout": 0, "stderr": 0}
    add = (
        "import sys; from pathlib import Path; from verve.log import losses\n"
        "for _ in range(50): losses.add(Path(sys.argv[1]), sys.argv[2], 2)"
    )
    adding = [
        subprocess.Popen([sys.executable, "-c", add, str(tmp_path), name])
        for name in ("stdout", "stderr", "stderr")
    ]
    assert [one.wait(20) for one in adding] == [0, 0, 0]
    assert losses.read(tmp_path) == {"stdout": 100, "stderr": 200}


@pytest.mark.parametrize("text", [b"", b"stdout 1 stderr 2\n", b"\xff" * 56])
def test_a_damaged_file_of_losses_begins_anew(tmp_path: Path, text: bytes) -> None:
    (tmp_path / losses.FILE_NAME).write_bytes(text)
    assert losses.read(tmp_path) == {"stdout": 0, "stderr": 0}
    losses.add(tmp_path, "stderr", 7)
    assert losses.read(tmp_path) == {"stdout": 0, "stderr": 7}


def test_without_a_thread_an_item_is_taken_by_who_puts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    taken: list[int] = []
    monkeypatch.setattr(threading.Thread, "start", refuse)
    deferred = Deferred[int]("test", taken.extend, 10)
    deferred.put(1)
    monkeypatch.undo()
    deferred.put(2)
    assert deferred.flush(5)
    assert taken == [1, 2]
