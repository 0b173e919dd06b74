from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import rig
from verve import SettingError, config, sinks
from verve.config import parsers
from verve.sinks.kafka_message import message
from verve.sinks.kafka_settings import KafkaSettings

if TYPE_CHECKING:
    from pathlib import Path

BROKERS = {"kafka_brokers": "a:9092"}


def test_with_brokers_kafka_takes_the_place_of_the_log(tmp_path: Path) -> None:
    assert rig.settings(tmp_path).sinks == ("log",)
    assert rig.settings(tmp_path, **BROKERS).sinks == ("kafka",)
    assert rig.settings(tmp_path, **BROKERS, sinks="log").sinks == ("log",)
    assert rig.settings(tmp_path, **BROKERS, sinks="log,kafka").sinks == ("log", "kafka")


@pytest.mark.parametrize(
    ("text", "brokers"),
    [
        ("a", ("a:9092",)),
        ("a:1, b.example:65535", ("a:1", "b.example:65535")),
        ("[::1]:9093,10.0.0.1,a,a", ("[::1]:9093", "10.0.0.1:9092", "a:9092")),
    ],
)
def test_brokers(text: str, brokers: tuple[str, ...]) -> None:
    assert parsers.brokers(text) == brokers
    assert parsers.brokers(parsers.as_text(brokers)) == brokers


@pytest.mark.parametrize("text", ["", ",", "a:0", "a:65536", "a:b", "http://a", "::1", "a b"])
def test_no_brokers(text: str) -> None:
    with pytest.raises(parsers.BadValue):
        parsers.brokers(text)


@pytest.mark.parametrize("text", ["", ".", "..", "a b", "ü", "x" * 250])
def test_no_topic(text: str) -> None:
    with pytest.raises(parsers.BadValue):
        parsers.topic(text)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"sinks": "kafka"}, "VERVE_KAFKA_BROKERS"),
        ({**BROKERS, "kafka_tls_ca": "/x"}, "VERVE_KAFKA_TLS=on"),
        ({**BROKERS, "kafka_user": "u"}, "VERVE_KAFKA_SASL"),
        ({**BROKERS, "kafka_sasl": "plain"}, "VERVE_KAFKA_PASSWORD_FILE"),
        ({**BROKERS, "kafka_sasl": "plain", "kafka_user": "u"}, "VERVE_KAFKA_PASSWORD_FILE"),
        ({**BROKERS, "kafka_tls": "on", "kafka_tls_ca": "/no/such.pem"}, "/no/such.pem"),
    ],
)
def test_settings_that_do_not_go_together(tmp_path: Path, flags: dict[str, str], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        sinks.check(rig.settings(tmp_path, **flags))


def test_what_is_not_used_is_not_checked(tmp_path: Path) -> None:
    sinks.check(rig.settings(tmp_path))
    sinks.check(rig.settings(tmp_path, **BROKERS, sinks="log", kafka_user="u"))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SettingError, match=r"pip install 'verve-counter\[kafka\]'"):
        sinks.check(rig.settings(tmp_path, **BROKERS))


def test_secrets_are_shown_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    made = config.load(
        {**BROKERS, "kafka_sasl": "scram-sha-512", "kafka_user": "u"},
        {"VERVE_KAFKA_PASSWORD_FILE": str(secret), "VERVE_STATE_DIR": str(tmp_path)},
    )
    assert made.kafka_password == "hunter2"  # noqa: S105 - of the test
    kafka = KafkaSettings.of(made)
    assert kafka.client()["security_protocol"] == "SASL_PLAINTEXT"
    assert kafka.client()["sasl_mechanism"] == "SCRAM-SHA-512"
    assert "hunter2" not in repr(kafka)
    assert kafka.masked("no hunter2 here") == "no *** here"


def test_the_command_that_makes_the_topic() -> None:
    made = KafkaSettings(brokers=("a:1", "b:2"), topic="t", source="s", partitions=4)
    assert made.command(2) == (
        "kafka-topics.sh --bootstrap-server a:1,b:2 --create --topic t --partitions 4 "
        "--replication-factor 2"
    )


def test_the_same_window_gives_the_same_bytes() -> None:
    window = rig.window(0, 9, revision=2, degraded=True)
    assert message(window, "häuschen") == message(window, "häuschen")
    assert message(window, "häuschen").key == f"häuschen:{rig.MINUTE}".encode()
    assert message(window, "s").value == (
        b'{"unique_request_count": 9, "window_start": "2027-01-15T08:00:00Z", '
        b'"window_seconds": 60, "source": "s", "revision": 2, "degraded": true}'
    )
