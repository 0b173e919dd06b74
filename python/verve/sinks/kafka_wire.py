"""One connection's life with the brokers, over aiokafka: the topic, a producer, its errors.

After any error it is of no more use, since an idempotent producer that lost count of its messages
does not recover: it is closed, and another one is opened. Nothing here has a deadline; whoever
calls sets one.
"""

from __future__ import annotations

import importlib
import logging
import ssl
import threading
from typing import TYPE_CHECKING, Any, Self

from .base import SinkError, Trouble
from .kafka_settings import MOST_COPIES

if TYPE_CHECKING:
    from .kafka_message import Message
    from .kafka_settings import KafkaSettings

REQUEST_SECONDS = 4.0
"""How long one broker may take for one answer; of several brokers others are asked then."""
_PARTITION_ERROR = 1  # the place of the error code in what a broker says to a new topic


class Complaints(logging.Handler):
    """Keeps the last thing that aiokafka complained of in this thread.

    What it raises when no broker can be used does not say why; its log does.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the exception that a line tells of."""
        if record.thread == self._thread and isinstance(record.args, tuple):
            errors = [one for one in record.args if isinstance(one, BaseException)]
            self.error = errors[-1] if errors else self.error

    def __enter__(self) -> Self:
        # With a handler the lines do not go to standard error as they are; those of the user's own
        # configuration still get them.
        logging.getLogger("aiokafka").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("aiokafka").removeHandler(self)


class Wire:
    """A producer that is connected, from `open` to `close`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._aiokafka: Any = importlib.import_module("aiokafka")
        self._admin: Any = None
        self._producer: Any = None
        self._partitioner: Any = importlib.import_module("aiokafka.partitioner")
        self.stage = "connecting"
        """What it is at, for the message of whoever sets the deadline."""

    async def open(self) -> None:
        """Connect, and make the topic if it is missing."""
        options = self._settings.client() | {"request_timeout_ms": int(REQUEST_SECONDS * 1000)}
        self._admin = importlib.import_module("aiokafka.admin").AIOKafkaAdminClient(**options)
        await self._admin.start()
        self.stage = "looking for the topic"
        if self._settings.topic not in await self._admin.list_topics():
            await self._make_topic()
        await self._admin.close()
        self._admin = None
        self.stage = "starting to produce"
        self._producer = self._aiokafka.AIOKafkaProducer(
            acks="all", enable_idempotence=True, **options
        )
        await self._producer.start()

    async def send(self, message: Message) -> None:
        """Send one message, and wait until all brokers that must have it acknowledged it."""
        topic = self._settings.topic
        self.stage = "asking for the partitions"
        partitions = sorted(await self._producer.partitions_for(topic))
        # By the source alone, as the clients of Kafka would place a message with that key.
        partition = self._partitioner.DefaultPartitioner()(
            self._settings.source.encode(), partitions, partitions
        )
        self.stage = "waiting for the acknowledgement"
        await self._producer.send_and_wait(
            topic,
            message.value,
            key=message.key,
            partition=partition,
            headers=list(message.headers),
        )

    async def close(self) -> None:
        """End what is open. It may wait for ever for a broker that is away."""
        if self._admin is not None:
            await self._admin.close()
        if self._producer is not None:
            await self._producer.stop()

    async def drop(self) -> None:
        """Close the connections without another word; for after `close` was given up."""
        if self._producer is not None:
            await self._producer.client.close()

    async def _make_topic(self) -> None:
        self.stage = "making the topic"
        settings = self._settings
        brokers = (await self._admin.describe_cluster())["brokers"]
        copies = settings.replication or max(1, min(MOST_COPIES, len(brokers)))
        new = importlib.import_module("aiokafka.admin").NewTopic(
            settings.topic, settings.partitions, copies
        )
        answer = await self._admin.create_topics([new], timeout_ms=int(REQUEST_SECONDS * 1000))
        errors: Any = importlib.import_module("aiokafka.errors")
        for told in answer.topic_errors:
            problem: type[Exception] = errors.for_code(told[_PARTITION_ERROR])
            if problem in {errors.NoError, errors.TopicAlreadyExistsError}:
                continue
            hint = f"hint: make it: {settings.command(copies)}"
            if trouble(problem()) is Trouble.AUTHORIZATION:
                raise SinkError(
                    "the topic is missing or hidden, and this user may not make it: "
                    f"`{settings.topic}`; {hint}",
                    Trouble.AUTHORIZATION,
                )
            why = settings.masked(told[-1]) if isinstance(told[-1], str) else problem.__name__
            raise SinkError(
                f"the topic is missing and could not be made: {why}: `{settings.topic}`; {hint}",
                Trouble.TOPIC_MISSING,
            )


_BY_NAME = {
    "KafkaConnectionError": Trouble.UNREACHABLE,
    "NodeNotReadyError": Trouble.UNREACHABLE,
    "StaleMetadata": Trouble.UNREACHABLE,
    "RequestTimedOutError": Trouble.TIMEOUT,
    "KafkaTimeoutError": Trouble.TIMEOUT,
    "AuthenticationFailedError": Trouble.AUTHENTICATION,
    "SaslAuthenticationFailed": Trouble.AUTHENTICATION,
    "UnsupportedSaslMechanismError": Trouble.AUTHENTICATION,
    "AuthenticationMethodNotSupported": Trouble.AUTHENTICATION,
    "IllegalSaslStateError": Trouble.AUTHENTICATION,
    "TopicAuthorizationFailedError": Trouble.AUTHORIZATION,
    "ClusterAuthorizationFailedError": Trouble.AUTHORIZATION,
    "UnknownTopicOrPartitionError": Trouble.TOPIC_MISSING,
    "MessageSizeTooLargeError": Trouble.TOO_LARGE,
    "RecordListTooLargeError": Trouble.TOO_LARGE,
    "InvalidMessageSizeError": Trouble.TOO_LARGE,
}


def trouble(error: BaseException) -> Trouble:
    """What an error of aiokafka, of TLS or of the network comes to."""
    if isinstance(error, ssl.SSLError):
        return Trouble.TLS
    if isinstance(error, TimeoutError):
        return Trouble.TIMEOUT
    for kind in type(error).__mro__:
        if kind.__name__ in _BY_NAME:
            return _BY_NAME[kind.__name__]
    return Trouble.UNREACHABLE if isinstance(error, OSError) else Trouble.OTHER
