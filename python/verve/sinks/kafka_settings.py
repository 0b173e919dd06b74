"""The settings for Kafka, checked, in the form that the client takes."""

from __future__ import annotations

import importlib.util
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from verve._verve import SettingError
from verve.config.choices import KafkaSasl
from verve.config.masking import masked

from .base import Scope

if TYPE_CHECKING:
    from pathlib import Path

    from verve.config import Settings

KAFKA = "kafka"
KAFKA_SCOPE = Scope.CLUSTER
EXTRA = "verve-counter[kafka]"
MOST_COPIES = 3
"""Replicas of a topic that Verve makes, unless a setting or a lack of brokers says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """How to reach the brokers, and where the messages go."""

    brokers: tuple[str, ...]
    topic: str
    source: str
    partitions: int = 1
    replication: int | None = None
    tls: bool = False
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tls_key_password: str | None = field(default=None, repr=False)
    sasl: KafkaSasl = KafkaSasl.NONE
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> KafkaSettings:
        """Take them from `settings`, unchecked."""
        return cls(
            brokers=settings.kafka_brokers or (),
            topic=settings.kafka_topic,
            source=settings.source,
            partitions=settings.kafka_partitions,
            replication=settings.kafka_replication,
            tls=settings.kafka_tls,
            tls_ca=settings.kafka_tls_ca,
            tls_certificate=settings.kafka_tls_certificate,
            tls_key=settings.kafka_tls_key,
            tls_key_password=settings.kafka_tls_key_password,
            sasl=settings.kafka_sasl,
            user=settings.kafka_user,
            password=settings.kafka_password,
        )

    def check(self) -> None:
        """Raise `SettingError` if a setting lacks another, or a TLS file cannot be used."""
        if not self.brokers:
            raise SettingError(
                "the sink `kafka` has no brokers; hint: set `VERVE_KAFKA_BROKERS=host:9092`"
            )
        if not self.tls and (self.tls_ca or self.tls_certificate or self.tls_key):
            raise SettingError(
                "files for TLS are named, but TLS is off: `kafka_tls`; "
                "hint: set `VERVE_KAFKA_TLS=on`"
            )
        named = self.user is not None or self.password is not None
        if self.sasl is KafkaSasl.NONE and named:
            raise SettingError(
                "a Kafka user or password is given, but no way to authenticate: `kafka_sasl`; "
                "hint: set `VERVE_KAFKA_SASL` to `plain`, `scram-sha-256` or `scram-sha-512`"
            )
        if self.sasl is not KafkaSasl.NONE and (self.user is None or self.password is None):
            raise SettingError(
                f"authentication needs a user and a password: `{self.sasl}`; "
                "hint: set `VERVE_KAFKA_USER` and `VERVE_KAFKA_PASSWORD_FILE`"
            )
        self.tls_context()

    def tls_context(self) -> ssl.SSLContext | None:
        """Read the TLS files again: certificates are replaced while a service runs."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_certificate is not None:
                # A function, since without a password OpenSSL would ask at the terminal.
                context.load_cert_chain(
                    self.tls_certificate, self.tls_key, lambda: self.tls_key_password or ""
                )
        except (OSError, ValueError) as error:
            files = (self.tls_ca, self.tls_certificate, self.tls_key)
            names = ", ".join(str(path) for path in files if path)
            raise SettingError(
                f"a file of TLS cannot be used: {error}: `{names}`; "
                "hint: PEM files are needed, and the key that belongs to the certificate"
            ) from error
        return context

    def client(self) -> dict[str, Any]:
        """The arguments of the client that say how to connect."""
        sasl = self.sasl is not KafkaSasl.NONE
        protocol = ("SASL_" if sasl else "") + ("SSL" if self.tls else "PLAINTEXT")
        arguments: dict[str, Any] = {
            "bootstrap_servers": list(self.brokers),
            "client_id": "verve",
            "security_protocol": protocol,
            "ssl_context": self.tls_context(),
        }
        if sasl:
            arguments |= {
                "sasl_mechanism": self.sasl.value.upper(),
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password,
            }
        return arguments

    def masked(self, text: str) -> str:
        """Return `text` of the client or a broker without secrets, so that it can be logged."""
        return masked(text, self.password, self.tls_key_password)

    def command(self, replication: int | None = None) -> str:
        """Return Kafka's command that makes the topic."""
        copies = replication or self.replication or MOST_COPIES
        return (
            f"kafka-topics.sh --bootstrap-server {','.join(self.brokers)} --create "
            f"--topic {self.topic} --partitions {self.partitions} --replication-factor {copies}"
        )


def check(settings: Settings) -> None:
    """Check the settings of the sink `kafka` without a broker. Raises `SettingError`."""
    if KAFKA not in settings.sinks:
        return
    KafkaSettings.of(settings).check()
    if importlib.util.find_spec("aiokafka") is None:
        raise SettingError(
            f"the sink `kafka` needs a package that is missing: `aiokafka`; "
            f"hint: pip install '{EXTRA}'"
        )
