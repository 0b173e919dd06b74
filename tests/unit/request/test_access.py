"""Who may look."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from verve.request.access import Access, Rule
from verve.request.exchange import Entry

if TYPE_CHECKING:
    from verve.request.body_budget import Held


@dataclass
class Asked:
    """A request, as far as access is concerned."""

    peer: str = "127.0.0.1"
    host: list[str] = field(default_factory=lambda: ["localhost:8000"])
    headers: dict[str, list[str]] = field(default_factory=dict)
    method: str = "GET"
    path: str = "/metrics"
    query: str | None = ""

    def header(self, name: str) -> list[str]:
        """All values."""
        return self.headers.get(name, [])

    def header_names(self) -> list[str]:
        """The names of all headers."""
        return list(self.headers)

    @property
    def entry(self) -> Entry:
        """The address that callers use."""
        return Entry.PUBLIC

    def hosts(self) -> list[str]:
        """Host headers."""
        return self.host

    async def body(self, limit: int, held: Held) -> bytes:
        """None."""
        raise NotImplementedError(limit, held)


LOOPBACK = Access(everyone=False, tokens=None)
SECRET = "s3cret"  # noqa: S105 - of this test
TOKEN = Access(everyone=False, tokens=[SECRET])


def _may(access: Access, asked: Asked) -> bool:
    return access.refusal(asked) is None


def test_the_rule_follows_from_the_settings() -> None:
    assert LOOPBACK.rule is Rule.LOOPBACK
    assert TOKEN.rule is Rule.TOKEN
    assert Access(everyone=True, tokens=None).rule is Rule.OPEN
    assert Access(everyone=True, tokens=[SECRET]).rule is Rule.TOKEN
    assert Access(everyone=False, tokens=()).rule is Rule.LOOPBACK


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_the_loopback_may_unless_a_token_is_set(peer: str) -> None:
    assert _may(LOOPBACK, Asked(peer=peer))
    assert not _may(TOKEN, Asked(peer=peer))


@pytest.mark.parametrize(
    "peer",
    [
        "10.0.0.1",
        "192.0.2.1",
        "::2",
        "::ffff:10.0.0.1",
        "fe80::1%3",
        "",
        "localhost",
        "/run/x",
        "127.1",
    ],
)
@pytest.mark.parametrize("access", [LOOPBACK, TOKEN])
def test_other_peers_may_not(access: Access, peer: str) -> None:
    assert not _may(access, Asked(peer=peer))


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8000",
        "LocalHost.",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.1.2.3",
        "[::1]",
        "[::1]:8000",
        "[::ffff:127.0.0.1]:1",
        "localhost:",
    ],
)
def test_loopback_names_may(host: str) -> None:
    assert _may(LOOPBACK, Asked(host=[host]))
    assert _may(LOOPBACK, Asked(host=[host, "localhost"]))


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.com",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "10.0.0.1",
        "notlocalhost",
        "localhost:80:80",
        "localhost:x",
        "localhost@example.com",
        "[::1",
        "[::1]x",
        "[::2]",
        "::1",
        "0.0.0.0",  # noqa: S104 - a name, not bound to
        "[::]",
        "localhost, example.com",
        " localhost",
        "127.1",
        "2130706433",
        "localhost:٨",
    ],
)
def test_other_names_may_not(host: str) -> None:
    assert not _may(LOOPBACK, Asked(host=[host]))
    assert not _may(LOOPBACK, Asked(host=["localhost", host]))


def test_no_name_may_not() -> None:
    assert not _may(LOOPBACK, Asked(host=[]))


@pytest.mark.parametrize(
    "name",
    [
        "cf-connecting-ip",
        "forwarded",
        "true-client-ip",
        "via",
        "x-client-ip",
        "x-envoy-external-address",
        "x-forwarded-anything",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-original-forwarded-for",
        "x-real-ip",
    ],
)
def test_a_request_through_a_proxy_is_not_local(name: str) -> None:
    # A server leaves out a value that is not ASCII.
    assert not _may(LOOPBACK, Asked(headers={name: []}))
    assert not _may(LOOPBACK, Asked(headers={name: [""]}))
    assert not _may(LOOPBACK, Asked(headers={name: ["127.0.0.1"]}))
    bearer = {name: ["10.0.0.1"], "authorization": ["Bearer s3cret"]}
    assert _may(TOKEN, Asked(headers=bearer))


@pytest.mark.parametrize("value", ["Bearer s3cret", "bearer s3cret", "BEARER  s3cret "])
def test_the_token_opens(value: str) -> None:
    asked = Asked(peer="192.0.2.1", host=["example.com"], headers={"authorization": [value]})
    assert _may(TOKEN, asked)
    assert not _may(LOOPBACK, asked)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        ["Bearer S3CRET"],
        ["Bearer s3cre"],
        ["Bearer s3crets"],
        ["Bearer s3\u00e9\ud800"],
        ["Basic s3cret"],
        ["s3cret"],
        ["Bearers3cret"],
        ["Bearer s3cret", "Bearer s3cret"],
    ],
)
def test_anything_else_does_not(values: list[str]) -> None:
    for peer in ("192.0.2.1", "127.0.0.1"):
        assert not _may(TOKEN, Asked(peer=peer, headers={"authorization": values}))


def test_an_open_service_refuses_nobody() -> None:
    access = Access(everyone=True, tokens=None)
    assert _may(access, Asked(peer="192.0.2.1", host=[], headers={"via": ["x"]}))


@pytest.mark.parametrize(("access", "hint"), [(LOOPBACK, "VERVE_ADMIN=open"), (TOKEN, "Bearer")])
def test_a_refusal_says_what_to_do(access: Access, hint: str) -> None:
    answer = access.refusal(Asked(peer="192.0.2.1"))
    assert answer is not None
    assert answer.status == 401
    assert dict(answer.headers)["www-authenticate"].startswith("Bearer")
    assert hint in json.loads(answer.body)["hint"]
