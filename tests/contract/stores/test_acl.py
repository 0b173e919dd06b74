"""The rights that Verve asks for: enough for all that it does, and none that it does not use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.support.cluster.store_use import MARKS, MINUTE, Redis, grouped
from tests.support.paths import ROOT
from tests.support.redis.monitor import Monitor
from tests.support.service import ACCEPT
from verve.stores import FailureKind, StoreError, acl
from verve.stores.address import Address

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.redis.server import RedisServer
    from tests.support.service import Service
    from verve.stores import RedisClient, Store

PASSWORD = "p@ss/w:rd"  # noqa: S105 - of a Redis of this test
ENTRY = "verve:p%40ss%2Fw%3Ard@"


def _allow(servers: Sequence[RedisServer], granted: str, *more: str) -> None:
    user = ("ACL", "SETUSER", "verve", "reset", "on", f">{PASSWORD}", "-@all")
    for server in servers:
        server.command(*user, *granted.split(), *more)


def _of_verve(server: RedisServer) -> list[object]:
    """What this user tried, and was refused."""
    return [entry for entry in server.command("ACL", "LOG", 100) if b"verve" in entry]


def _wait_for_count(service: Service) -> None:
    service.wait_until(lambda: sum(m.unique for m in service.minutes()) == 1, 15, "a count")


async def _all(of: RedisClient, store: Store) -> None:
    await store.mark(MINUTE, MARKS[0])
    await store.add(MINUTE, grouped(range(10)))
    assert (await store.count(MINUTE, MARKS)).ids == 10
    assert await store.epochs()
    assert await of.time_microseconds()
    assert await of.eviction_policy()


@pytest.mark.parametrize("form", ["single", "masters"])
@pytest.mark.parametrize("strategy", ["sets", "keys"])
def test_they_are_enough_for_a_store(
    strategy: str, form: str, tmp_path: Path, cluster: str, request: pytest.FixtureRequest
) -> None:
    place = request.getfixturevalue(form)
    _allow(place.servers, acl.rules(Address.parse(place.url)))
    for server in place.servers:
        server.command("ACL", "LOG", "RESET")
    Redis(place.url.replace("://", f"://{ENTRY}"), strategy).use(tmp_path, cluster).with_client(
        _all
    )
    assert [_of_verve(server) for server in place.servers] == [[]] * len(place.servers)


@pytest.mark.timeout(60)
def test_a_host_uses_each_of_them_and_no_other(own_server: RedisServer, serve: Serve) -> None:
    """A whole service, with each of the strategies."""
    url = own_server.url.replace("://", f"://{ENTRY}") + "/1"
    _allow([own_server], acl.rules(Address.parse(url)))
    with Monitor(own_server) as monitor:
        for strategy in ("sets", "keys"):
            environment = {
                "VERVE_REDIS_URL": url,
                "VERVE_REDIS_STRATEGY": strategy,
                "VERVE_CLUSTER": strategy,
                "VERVE_ACK": "store",
            }
            service = serve(window=1, environment=environment)
            assert service.get(f"{ACCEPT}?id=7").text == "ok"
            _wait_for_count(service)
            service.stop()
        used = {command.name.lower() for command in monitor.seen if command.client != "?"}
    assert _of_verve(own_server) == []
    names = {name.partition("|")[0] for name in (*acl.COMMANDS, *acl.OF_A_DATABASE)}
    assert used - {"auth"} == names


@pytest.mark.parametrize("missing", ["client|setname", "evalsha", "info", "sadd", "hgetall"])
def test_each_missing_right_is_reported(
    own_server: RedisServer, tmp_path: Path, cluster: str, missing: str
) -> None:
    _allow([own_server], acl.rules(), f"-{missing}")
    url = own_server.url.replace("://", f"://{ENTRY}")

    async def refused(of: RedisClient, store: Store) -> None:
        async def calls() -> None:
            await _all(of, store)
            await of.run("return redis.call('HGETALL', KEYS[1])", ["verve:x"], [])

        with pytest.raises(StoreError) as caught:
            await calls()
        assert caught.value.kind is FailureKind.AUTHORIZATION
        assert f"hint: give the user these rights by `ACL SETUSER`: `{acl.rules()}`" in str(
            caught.value
        )
        assert PASSWORD not in str(caught.value)

    Redis(url, "sets").use(tmp_path, cluster).with_client(refused)


def test_every_command_of_a_script_is_listed() -> None:
    sources = [path.read_text() for path in (ROOT / "python/verve").rglob("*.py")]
    called = {name.lower() for text in sources for name in re.findall(r"call\('(\w+)'", text)}
    assert len(called) > 15
    assert called <= set(acl.COMMANDS)


def test_the_docs_list_them() -> None:
    text = (ROOT / "docs/guides/scale.md").read_text()
    section = text[text.index("A user of its own needs") :]
    block, _, rest = section.partition("```\n\n")
    found = re.findall(r"[~+]\S+", block)
    assert found == acl.rules().split()
    of_cluster, of_database = re.findall(r"`(\+[^`]*)`", rest)[:2]
    assert of_cluster.split() == [f"+{name}" for name in acl.OF_A_CLUSTER]
    assert of_database.split() == [f"+{name}" for name in acl.OF_A_DATABASE]
