"""A real Kafka broker for tests, and a reader of what is on a topic.

    with Broker(tmp_path) as broker, Reader(broker.address, "unique-request-count") as reader:
        ...
        broker.kill()
        broker.start()
        reader.wait_until(lambda messages: len(messages) == 3)

It is `scripts/kafka`, with a port and a directory of its own.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Self

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.support.network.ports import free_port
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from aiokafka.structs import ConsumerRecord

_SCRIPT = ROOT / "scripts" / "kafka"
TOPIC = "unique-request-count"


class KafkaError(AssertionError):
    """The broker failed, or lacks messages."""


def missing() -> str | None:
    """Fetch Kafka if it is missing. Return why no broker can run here, or None."""
    done = subprocess.run([_SCRIPT, "fetch"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else " ".join(done.stderr.split())[-500:]


class Broker:
    """One broker, started and stopped any number of times, with the same port and data."""

    def __init__(self, directory: Path, *properties: str, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self.directory = directory
        self._controller_port = free_port()
        self._properties = properties
        self._log: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Host and port for clients."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, *, ready: bool = True) -> Self:
        """Start it, and wait until it serves; `ready=False` does not wait."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._log = (self.directory / "broker.log").open("ab")
        self._process = subprocess.Popen(
            [
                _SCRIPT,
                "serve",
                *("--port", str(self.port)),
                *("--controller-port", str(self._controller_port)),
                *("--directory", self.directory / "data"),
                *self._properties,
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        atexit.register(self.kill)
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self, timeout: float = 90) -> None:
        """Wait until it takes connections."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            time.sleep(0.05)
        raise KafkaError(f"the broker does not serve; its log ends with:\n{self.log()[-3_000:]}")

    def kill(self) -> None:
        """End it at once, with SIGKILL."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None
        atexit.unregister(self.kill)

    def pause(self) -> None:
        """Stop its process: connections stay, and new ones are made, but nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the process."""
        self._signal(signal.SIGCONT)

    def wipe(self) -> None:
        """Remove the data of a broker that does not run."""
        shutil.rmtree(self.directory / "data", ignore_errors=True)

    def log(self) -> str:
        """What it printed."""
        return (self.directory / "broker.log").read_text(errors="replace")

    def tool(self, name: str, *arguments: str) -> str:
        """Run one of Kafka's own tools against it."""
        command: list[str] = [str(_SCRIPT), name, "--bootstrap-server", self.address, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode:
            raise KafkaError(f"kafka-{name} failed: {done.stdout}{done.stderr}")
        return done.stdout

    def make_topic(self, name: str, **configs: str) -> None:
        """Make a topic; `configs` are its own, such as `max_message_bytes`."""
        asyncio.run(self._make_topic(name, {k.replace("_", "."): v for k, v in configs.items()}))

    async def _make_topic(self, name: str, configs: dict[str, str]) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.address)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, 1, 1, topic_configs=configs)])
        finally:
            await admin.close()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)


@dataclass(frozen=True, slots=True)
class Message:
    """One record of a topic."""

    partition: int
    offset: int
    key: str
    value: dict[str, Any]
    headers: dict[str, bytes]

    @property
    def window_start(self) -> int:
        """Seconds since the epoch, by the key."""
        return int(self.key.rpartition(":")[2])

    @property
    def unique(self) -> int:
        """The count."""
        return int(self.value["unique_request_count"])


class Reader:
    """Reads a topic from its beginning while it grows, in a thread of its own.

    It waits for a broker that is away, and for a topic that is not there yet. `messages` are in the
    order in which they came.
    """

    def __init__(self, address: str, topic: str = TOPIC) -> None:
        self.messages: list[Message] = []
        self._address = address
        self._topic = topic
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._next: dict[int, int] = {}
        self._thread = threading.Thread(target=self._run, name="reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def wait_until(
        self, met: Callable[[Sequence[Message]], object], timeout: float = 30, what: str = "enough"
    ) -> list[Message]:
        """Wait until `met` holds for the messages so far, and return them."""
        with self._changed:
            if not self._changed.wait_for(lambda: met(self.messages), timeout):
                starts = [message.window_start for message in self.messages]
                raise KafkaError(f"not {what} within {timeout} s on `{self._topic}`: {starts}")
            return list(self.messages)

    def wait_count(self, count: int, timeout: float = 30, of: int | None = None) -> list[Message]:
        """Wait for `count` messages, of the window that starts at `of` if that is given."""

        def there(messages: Sequence[Message]) -> bool:
            return sum(of in {None, message.window_start} for message in messages) >= count

        return self.wait_until(there, timeout, f"{count} there")

    def wait_window(self, window_start: int, timeout: float = 30) -> list[Message]:
        """Wait for the window that starts at this time."""
        return self.wait_until(
            lambda messages: any(message.window_start == window_start for message in messages),
            timeout,
            f"window {window_start}",
        )

    def _run(self) -> None:
        while not self._stop.is_set():
            # Made anew after any trouble, a second at the most after it is over.
            with contextlib.suppress(Exception, asyncio.CancelledError):
                asyncio.run(self._read())
            self._stop.wait(0.3)

    async def _read(self) -> None:
        consumer = aiokafka.AIOKafkaConsumer(
            self._topic,
            bootstrap_servers=self._address,
            request_timeout_ms=1_000,
            fetch_max_wait_ms=100,
            retry_backoff_ms=50,
            auto_offset_reset="earliest",
        )
        try:
            async with asyncio.timeout(5):
                await consumer.start()
                if self._topic not in await consumer.topics():
                    return
            for partition in consumer.assignment():
                if partition.partition in self._next:
                    consumer.seek(partition, self._next[partition.partition])
            while not self._stop.is_set():
                found = await asyncio.wait_for(consumer.getmany(timeout_ms=200), 5)
                for records in found.values():
                    self._keep(records)
        finally:
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.wait_for(consumer.stop(), 2)

    def _keep(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        with self._changed:
            for record in records:
                assert record.key is not None
                assert record.value is not None
                self._next[record.partition] = record.offset + 1
                self.messages.append(
                    Message(
                        record.partition,
                        record.offset,
                        record.key.decode(),
                        json.loads(record.value),
                        dict(record.headers),
                    )
                )
            self._changed.notify_all()


def counts(messages: Sequence[Message]) -> dict[int, int]:
    """The count of each window. Repeats must have the same key and revision."""
    found: dict[int, Message] = {}
    for message in messages:
        first = found.setdefault(message.window_start, message)
        assert message.key == first.key
        assert message.value == first.value, f"two values for {message.key}"
    return {start: message.unique for start, message in found.items()}


def assert_ordered(messages: Sequence[Message]) -> None:
    """Assert that windows came in order, apart from repeats."""
    firsts = list(dict.fromkeys(message.window_start for message in messages))
    assert firsts == sorted(firsts), f"out of order: {firsts}"
    assert len({message.partition for message in messages}) <= 1, "one source, many partitions"


def repeats(messages: Sequence[Message]) -> int:
    """The number of messages beyond the first of each window."""
    return len(messages) - len({message.key for message in messages})
