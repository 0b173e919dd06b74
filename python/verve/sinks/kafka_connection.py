"""One connection to the brokers, over aiokafka: the topic, a producer, and its errors.

After any error it is closed and replaced: an idempotent producer that lost count of its messages
does not recover. Nothing here has a deadline; the caller sets one. aiokafka is imported inside the
functions that use it: most services have no Kafka.
"""

from __future__ import annotations

import logging
import ssl
import threading
from typing import TYPE_CHECKING, Any, Self

from .base import FailureKind, SinkError
from .kafka_settings import MOST_COPIES

if TYPE_CHECKING:
    from .kafka_message import Message
    from .kafka_settings import KafkaSettings

REQUEST_SECONDS = 4.0
"""Seconds that one broker has for one answer; then the client asks another broker."""
_PARTITION_ERROR = 1  # the index of the error code in a broker's answer about a new topic


class ClientErrors(logging.Handler):
    """Keeps the last error that aiokafka logged in this thread.

    The error that it raises when no broker can be used does not say why; its log does.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._thread = threading.get_ident()
        self.last: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the exception of a log record."""
        if record.thread == self._thread and isinstance(record.args, tuple):
            errors = [one for one in record.args if isinstance(one, BaseException)]
            self.last = errors[-1] if errors else self.last

    def __enter__(self) -> Self:
        # Without a handler Python would write the lines to standard error. Handlers that the user
        # configured still get them.
        logging.getLogger("aiokafka").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("aiokafka").removeHandler(self)


class KafkaConnection:
    """A connected producer, from `open` to `close`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._admin: Any = None
        self._producer: Any = None
        self.stage = "connecting"
        """What is under way, for the message of a missed deadline."""

    async def open(self) -> None:
        """Connect, and make the topic if it is missing."""
        from aiokafka import AIOKafkaProducer  # noqa: PLC0415
        from aiokafka.admin import AIOKafkaAdminClient  # noqa: PLC0415

        options: dict[str, Any] = self._settings.client()
        options["request_timeout_ms"] = int(REQUEST_SECONDS * 1000)
        self._admin = AIOKafkaAdminClient(**options)
        await self._admin.start()
        self.stage = "looking for the topic"
        if self._settings.topic not in await self._admin.list_topics():
            await self._make_topic()
        await self._admin.close()
        self._admin = None
        self.stage = "starting to produce"
        self._producer = AIOKafkaProducer(acks="all", enable_idempotence=True, **options)
        await self._producer.start()

    async def send(self, message: Message) -> None:
        """Send one message, and wait until all in-sync replicas acknowledged it."""
        from aiokafka.partitioner import DefaultPartitioner  # noqa: PLC0415

        topic = self._settings.topic
        self.stage = "asking for the partitions"
        partitions = sorted(await self._producer.partitions_for(topic))
        # By the source alone, as the clients of Kafka would place a message with that key.
        partition = DefaultPartitioner()(self._settings.source.encode(), partitions, partitions)
        self.stage = "waiting for the acknowledgement"
        await self._producer.send_and_wait(
            topic,
            message.value,
            key=message.key,
            partition=partition,
            headers=list(message.headers),
        )

    async def close(self) -> None:
        """Close what is open. It may wait without end for a broker that is away."""
        if self._admin is not None:
            await self._admin.close()
        if self._producer is not None:
            await self._producer.stop()

    async def abort(self) -> None:
        """Close the sockets at once, after `close` took too long."""
        if self._producer is not None:
            await self._producer.client.close()

    async def _make_topic(self) -> None:
        from aiokafka import errors  # noqa: PLC0415
        from aiokafka.admin import NewTopic  # noqa: PLC0415

        self.stage = "making the topic"
        settings = self._settings
        brokers = (await self._admin.describe_cluster())["brokers"]
        copies = settings.replication or max(1, min(MOST_COPIES, len(brokers)))
        new = NewTopic(settings.topic, settings.partitions, copies)
        answer = await self._admin.create_topics([new], timeout_ms=int(REQUEST_SECONDS * 1000))
        for result in answer.topic_errors:
            problem: type[Exception] = errors.for_code(result[_PARTITION_ERROR])
            if problem in {errors.NoError, errors.TopicAlreadyExistsError}:
                continue
            hint = f"hint: make it: {settings.command(copies)}"
            if failure_kind(problem()) is FailureKind.AUTHORIZATION:
                raise SinkError(
                    "the topic is missing or hidden, and this user may not make it: "
                    f"`{settings.topic}`; {hint}",
                    FailureKind.AUTHORIZATION,
                )
            why = settings.masked(result[-1]) if isinstance(result[-1], str) else problem.__name__
            raise SinkError(
                f"the topic is missing and could not be made: {why}: `{settings.topic}`; {hint}",
                FailureKind.TOPIC_MISSING,
            )


_BY_NAME = {
    "KafkaConnectionError": FailureKind.UNREACHABLE,
    "NodeNotReadyError": FailureKind.UNREACHABLE,
    "StaleMetadata": FailureKind.UNREACHABLE,
    "RequestTimedOutError": FailureKind.TIMEOUT,
    "KafkaTimeoutError": FailureKind.TIMEOUT,
    "AuthenticationFailedError": FailureKind.AUTHENTICATION,
    "SaslAuthenticationFailed": FailureKind.AUTHENTICATION,
    "UnsupportedSaslMechanismError": FailureKind.AUTHENTICATION,
    "AuthenticationMethodNotSupported": FailureKind.AUTHENTICATION,
    "IllegalSaslStateError": FailureKind.AUTHENTICATION,
    "TopicAuthorizationFailedError": FailureKind.AUTHORIZATION,
    "ClusterAuthorizationFailedError": FailureKind.AUTHORIZATION,
    "UnknownTopicOrPartitionError": FailureKind.TOPIC_MISSING,
    "MessageSizeTooLargeError": FailureKind.TOO_LARGE,
    "RecordListTooLargeError": FailureKind.TOO_LARGE,
    "InvalidMessageSizeError": FailureKind.TOO_LARGE,
}


def failure_kind(error: BaseException) -> FailureKind:
    """Classify an error of aiokafka, of TLS or of the network."""
    if isinstance(error, ssl.SSLError):
        return FailureKind.TLS
    if isinstance(error, TimeoutError):
        return FailureKind.TIMEOUT
    for kind in type(error).__mro__:
        if kind.__name__ in _BY_NAME:
            return _BY_NAME[kind.__name__]
    return FailureKind.UNREACHABLE if isinstance(error, OSError) else FailureKind.OTHER
