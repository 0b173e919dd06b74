"""A broker that refuses: the status says why, and nothing else is delayed."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.kafka.broker import Broker, Reader
from tests.support.kafka.silence import Silence
from tests.support.kafka.witnesses import (
    assert_all_sent,
    environment,
    new_topic,
    stored,
    wait_delivered,
    wait_failing,
)
from tests.support.network.ports import free_port
from tests.support.service import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.service import Service

LOGIN = "org.apache.kafka.common.security"
PASSWORD = "hunter-2-of-kafka"  # noqa: S105 - to be looked for in the logs
STOP_SECONDS = 9.0


class Guarded(Broker):
    """A broker that also listens with TLS and authentication, and checks permissions."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        port, self.sasl_port, self.tls_port = free_port(), free_port(), free_port()
        self.authority = directory / "authority.pem"
        keys = directory / "broker.pem"
        _make_certificate(self.authority, keys)
        controller = free_port()
        listeners = {"PLAINTEXT": port, "LOGIN": self.sasl_port, "TLS": self.tls_port}
        advertised = ",".join(f"{name}://127.0.0.1:{at}" for name, at in listeners.items())
        users = f'user_admin="admin" user_verve="{PASSWORD}" user_reader="{PASSWORD}"'
        super().__init__(
            directory,
            f"listeners={advertised},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners={advertised}",
            f"controller.quorum.voters=1@127.0.0.1:{controller}",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "LOGIN:SASL_PLAINTEXT,TLS:SASL_SSL",
            "sasl.enabled.mechanisms=PLAIN",
            *(
                f"listener.name.{name}.plain.sasl.jaas.config={LOGIN}.plain.PlainLoginModule "
                f"required {users};"
                for name in ("login", "tls")
            ),
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={keys}",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS;User:admin;User:verve",
            port=port,
        )


def _make_certificate(authority: Path, keys: Path) -> None:
    """A certificate for 127.0.0.1 that is its own authority."""
    key = keys.with_suffix(".key")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", authority),
        ],
        check=True,
        capture_output=True,
    )
    keys.write_text(key.read_text() + authority.read_text())


@pytest.fixture(scope="module")
def guarded(kafka: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:  # noqa: ARG001
    with Guarded(tmp_path_factory.mktemp("guarded")) as one:
        one.make_topic("read-only")
        one.make_topic("small", max_message_bytes="100")
        one.tool(
            *("acls", "--add", "--allow-principal", "User:reader"),
            *("--operation", "Read", "--operation", "Describe", "--topic", "read-only"),
        )
        yield one


def login(user: str, password: str = PASSWORD) -> dict[str, str]:
    """Settings that authenticate."""
    return {
        "VERVE_KAFKA_SASL": "plain",
        "VERVE_KAFKA_USER": user,
        "VERVE_KAFKA_PASSWORD": password,
    }


def _assert_only_kafka_suffers(service: Service, trouble: str, said: str) -> None:
    """The failure is reported, log and ledger continue, and the service stops on request."""
    part = wait_failing(service)
    assert part["state"] == "degraded"
    assert part["trouble"] == trouble
    assert said in part["last_error"]
    label = trouble.replace("-", "_")
    assert service.metrics()[f'verve_kafka_failing{{trouble="{label}"}}'] == 1
    assert service.metrics()["verve_kafka_failed_attempts"] >= 1
    checked = service.command("check")
    assert checked.returncode == 1
    assert f"FAIL kafka    behind by {part['lag_seconds']} s" in checked.stdout or said in (
        checked.stdout
    )
    (event, *_) = service.events("sink.delayed")
    assert event["sink"] == "kafka"
    assert said in event["error"]

    window = int(time.time())
    service.wait_minute(window, 5)
    service.wait_until(lambda: window in stored(service), 5, "stored")
    listed = service.command("windows", "--undelivered", "--limit", "1")
    assert listed.stdout.rstrip().endswith("not in kafka")
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < STOP_SECONDS
    assert PASSWORD not in service.output()
    assert PASSWORD not in checked.stdout + checked.stderr


def _service(serve: Serve, address: str, topic: str, **more: str) -> Service:
    return serve(
        Server.VERVE,
        workers=2,
        window=1,
        environment=environment(address, topic, VERVE_SINKS="log,kafka", **more),
    )


def test_a_broker_that_never_answers(serve: Serve) -> None:
    with Silence() as silence:
        service = _service(serve, silence.address, new_topic())
        _assert_only_kafka_suffers(service, "timeout", silence.address)


def test_a_wrong_password(guarded: Guarded, serve: Serve) -> None:
    address = f"127.0.0.1:{guarded.sasl_port}"
    service = _service(serve, address, new_topic(), **login("verve", f"not-{PASSWORD}"))
    _assert_only_kafka_suffers(service, "authentication", "Invalid username or password")


def test_a_topic_that_may_not_be_written(guarded: Guarded, serve: Serve) -> None:
    address = f"127.0.0.1:{guarded.sasl_port}"
    service = _service(serve, address, "read-only", **login("reader"))
    _assert_only_kafka_suffers(service, "authorization", "read-only")


def test_a_topic_that_is_missing_and_may_not_be_made(guarded: Guarded, serve: Serve) -> None:
    address, topic = f"127.0.0.1:{guarded.sasl_port}", new_topic()
    service = _service(serve, address, topic, **login("reader"))
    command = f"kafka-topics.sh --bootstrap-server {address} --create --topic {topic}"
    _assert_only_kafka_suffers(service, "authorization", command)


def test_a_message_too_large(guarded: Guarded, serve: Serve) -> None:
    service = _service(serve, guarded.address, "small")
    _assert_only_kafka_suffers(service, "too-large", "max.message.bytes")


def test_tls_and_a_password_from_a_file(guarded: Guarded, serve: Serve, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(PASSWORD + "\n")
    topic = new_topic()
    tls = {
        "VERVE_KAFKA_SASL": "plain",
        "VERVE_KAFKA_USER": "verve",
        "VERVE_KAFKA_PASSWORD_FILE": str(secret),
        "VERVE_KAFKA_TLS": "on",
    }
    address = f"127.0.0.1:{guarded.tls_port}"
    service = _service(serve, address, topic, **tls)
    # The host does not trust the broker's certificate.
    assert wait_failing(service)["trouble"] == "tls"
    service.stop()

    trusting = _service(serve, address, topic, **tls, VERVE_KAFKA_TLS_CA=str(guarded.authority))
    wait_delivered(trusting)
    with Reader(guarded.address, topic) as reader:
        messages = reader.wait_until(lambda messages: len(messages) >= 2)
        assert_all_sent(trusting, reader, messages[-1].window_start)
    assert "state" in trusting.command("check").stdout
    assert PASSWORD not in trusting.output() + trusting.command("config").stdout
