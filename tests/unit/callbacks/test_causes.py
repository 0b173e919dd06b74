"""Each cause of a failed callback has its own words, in tests, log and history, and its metric."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from tests.support import logged, rig
from tests.support.callbacks.receivers import Receiver, garbage, reset
from tests.support.callbacks.replies import END, Replier
from tests.support.callbacks.replies import OK as STATUS
from tests.support.network.certificates import EXPIRED, FUTURE, certificate
from tests.support.network.ports import free_port
from verve._verve import Callbacks, callback_figures, check_callback_options, diagnose_callback
from verve.commands import callback_view
from verve.commands.cli import main
from verve.service import callbacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from verve import Counter
    from verve._verve import CallbackReport

OK = STATUS + END
CAUSES = {"address", "name", "connection", "tls", "proxy", "deadline", "broken", "status"}


def _pem(path: Path) -> tuple[Path, bytes]:
    return path, path.read_bytes()


def _context(path: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def _wait(met: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not met():
        assert time.monotonic() < end
        time.sleep(0.01)


def _failure(url: str, **options: Any) -> str | None:  # noqa: ANN401 - those of the sender
    return diagnose_callback(url, 1, **{"allow": ["127.0.0.1"], **options})["failure"]


def _report(sender: Callbacks) -> CallbackReport:
    """The first report, after which nothing is sent any more."""
    reports: list[CallbackReport] = []

    def arrived() -> list[CallbackReport]:
        reports.extend(sender.drain()[0])
        return reports

    _wait(arrived)
    sender.stop(0)
    sender.close()
    return reports[0]


@pytest.mark.parametrize(
    ("given", "failure"),
    [
        ({"validity": EXPIRED}, "TLS: the certificate has expired"),
        ({"validity": FUTURE}, "TLS: the certificate is not valid yet"),
        ({"subject": "DNS:other.example"}, "TLS: the certificate is for another name"),
        ({}, None),
    ],
    ids=str,
)
def test_a_certificate_tells_what_is_wrong_with_it(
    tmp_path: Path, given: dict[str, Any], failure: str | None
) -> None:
    path = certificate(tmp_path, "receiver", **given)
    with Receiver(tls=_context(path)) as receiver:
        assert _failure(receiver.url(), authorities=_pem(path)) == failure
        if "validity" not in given:
            assert _failure(receiver.url()) == "TLS: the certificate is of an unknown authority"


def test_other_reasons_of_tls_are_told(tmp_path: Path) -> None:
    path = certificate(tmp_path, "receiver")
    trusted = {"authorities": _pem(path)}
    old = _context(path)
    # What it is about, and what the library warns of.
    with pytest.warns(DeprecationWarning, match="TLS"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with Replier(OK, tls=old) as replier:
        assert _failure(replier.url, **trusted) == "TLS: no common version or cipher"
    with Receiver(tls=old) as receiver:
        assert _failure(receiver.url(), **trusted) == "TLS: the receiver ended the handshake"
    strict = _context(path)
    strict.verify_mode = ssl.CERT_REQUIRED
    with Replier(OK, tls=strict) as replier:
        refused = "TLS: the receiver refuses our certificate"
        assert _failure(replier.url, **trusted) == refused
        shown = {**trusted, "certificate": _pem(certificate(tmp_path, "unknown"))}
        assert _failure(replier.url, **shown) == refused
    with Replier(OK, until=b"") as replier:
        plain = replier.url.replace("http:", "https:")
        assert _failure(plain, **trusted) == "TLS: the receiver does not speak it"


def test_what_is_no_connection_is_reported() -> None:
    nobody = f"http://127.0.0.1:{free_port()}/"
    assert _failure(nobody) == "connection refused"
    assert _failure("http://nosuch.invalid/") == "name not resolved"
    assert _failure("http://localhost/", allow=["localhost.example"]) is None, "it is a refusal"
    with Receiver(reset) as receiver:
        assert _failure(receiver.url()) == "connection reset"
    with Receiver(garbage) as receiver:
        assert _failure(receiver.url()) == "answer is no HTTP"
    with Replier(b"") as replier:
        assert _failure(replier.url) == "connection broken"


@pytest.mark.parametrize("status", [407, 403, 502])
def test_a_proxy_that_makes_no_tunnel_is_reported_with_its_status(
    status: int, tmp_path: Path
) -> None:
    words = "proxy wants a user and a password" if status == 407 else "proxy refused the tunnel"
    answer = b"HTTP/1.1 %d No\r\ncontent-length: 0\r\n\r\n" % status
    with Replier(answer, until=b"\r\n\r\n") as replier:
        proxy = replier.url.replace("://", "://user:p%40ss@")
        found = diagnose_callback("https://hooks.example/", 1, proxy=proxy)
        assert (found["status"], found["failure"]) == (None, words)
        assert found["proxy_status"] == status
        made = rig.settings(tmp_path, callback_proxy=proxy)
        shown, taken = callback_view.test(made, "https://hooks.example/", 1)
        assert not taken
        assert f"{words} ({status})" in shown["answer"]
        with rig.counter_of(made) as counter:
            sender = Callbacks(counter, proxy=proxy)
            assert sender.accept("id=7&endpoint=https://hooks.example/")[0] == 200
            report = _report(sender)
            assert callback_figures(counter)["failures"]["proxy"] > 0
        assert (report["reason"], report["status"]) == (words, status)


def test_a_proxy_that_is_away_is_reported() -> None:
    proxy = f"http://127.0.0.1:{free_port()}"
    for url in ("https://hooks.example/", "http://hooks.example/"):
        assert _failure(url, proxy=proxy) == "proxy not reached"
        assert _failure(url, proxy="http://nosuch.invalid") == "proxy not reached"


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    """A counter in memory."""
    with rig.counter_of(rig.settings(tmp_path)) as counter:
        yield counter


def test_attempts_are_counted_by_cause(counter: Counter, tmp_path: Path) -> None:
    assert callback_figures(counter)["failures"] == dict.fromkeys(CAUSES, 0)
    sender = Callbacks(counter, allow=["127.0.0.1"])
    with Receiver(tls=_context(certificate(tmp_path, "receiver"))) as receiver:
        assert sender.accept(f"id=7&endpoint={receiver.url()}")[0] == 200
        report = _report(sender)
    assert report["reason"] == "TLS: the certificate is of an unknown authority"
    failures = callback_figures(counter)["failures"]
    assert failures.pop("tls") > 0
    assert sum(failures.values()) == 0


def test_a_host_that_trusts_nobody_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(nothing))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    path = certificate(tmp_path, "receiver")
    assert check_callback_options() == 0
    assert check_callback_options(authorities=_pem(path)) == 1
    with caplog.at_level("WARNING", logger="verve"):
        callbacks.checked(rig.settings(tmp_path, callback_ca=str(path)))
        callbacks.checked(rig.settings(tmp_path))
        assert logged.events(caplog) == ["callback.authorities_missing"]
    with Receiver(tls=_context(path)) as receiver:
        command = ["callback", "test", receiver.url(), "--callback-allow", "127.0.0.1"]
        shown = CliRunner().invoke(main, [*command, "--state-dir", str(tmp_path)])
    assert shown.exit_code == 1
    assert "unknown authority" in shown.output
    assert "VERVE_CALLBACK_CA" in shown.output
