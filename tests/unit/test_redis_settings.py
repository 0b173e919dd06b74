from __future__ import annotations

import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit import rig
from verve import SettingError, config, stores
from verve.stores import Trouble
from verve.stores.address import Address, Kind
from verve.stores.client import RedisClient
from verve.stores.errors import told

if TYPE_CHECKING:
    from pathlib import Path

REDIS = {"redis_url": "redis://a", "cluster": "shop"}


@pytest.mark.parametrize(
    ("url", "kind", "tls", "nodes", "rest"),
    [
        ("redis://a", Kind.SINGLE, False, [("a", 6379)], (0, None, None, None)),
        ("REDISS://a:1/3", Kind.SINGLE, True, [("a", 1)], (3, None, None, None)),
        ("redis://:pw@[::1]:7/", Kind.SINGLE, False, [("::1", 7)], (0, None, None, "pw")),
        ("redis://u:p%40:/@a", Kind.SINGLE, False, [("a", 6379)], (0, None, "u", "p@:/")),
        ("redis://u:p@w@a", Kind.SINGLE, False, [("a", 6379)], (0, None, "u", "p@w")),
        ("redis+cluster://a:1,b", Kind.CLUSTER, False, [("a", 1), ("b", 6379)], (0,) + (None,) * 3),
        ("rediss+cluster://u:p@a/0", Kind.CLUSTER, True, [("a", 6379)], (0, None, "u", "p")),
        (
            "redis+sentinel://a,b:2/m",
            Kind.SENTINEL,
            False,
            [("a", 26379), ("b", 2)],
            (0, "m") + (None,) * 2,
        ),
        (
            "rediss+sentinel://:p@a/m%2Fx/5",
            Kind.SENTINEL,
            True,
            [("a", 26379)],
            (5, "m/x", None, "p"),
        ),
    ],
)
def test_addresses(
    url: str,
    kind: Kind,
    tls: bool,
    nodes: list[tuple[str, int]],
    rest: tuple[int, str | None, str | None, str | None],
) -> None:
    address = Address.parse(url)
    assert (address.kind, address.tls, list(address.nodes)) == (kind, tls, nodes)
    assert (address.database, address.service, address.user, address.password) == rest


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "http://hunter2",
        "redis://",
        "redis:///0",
        "redis://:hunter2",
        "redis://u:hunter2",
        "redis://u:hunter2@",
        "redis://a,hunter2",
        "redis://a:0",
        "redis://a:65536",
        "redis://a:",
        "redis://a/hunter2",
        "redis://a/0/hunter2",
        "redis://a/-1",
        "redis://a?password=hunter2",
        "redis://a/0#hunter2",
        "redis+cluster://a/1",
        "redis+cluster://a,,b",
        "redis+sentinel://a:1",
        "redis+sentinel://a:1/",
        "redis+sentinel://a/m/hunter2",
        "unix:///hunter2",
    ],
)
def test_no_addresses(url: str) -> None:
    with pytest.raises(SettingError, match=r"`redis_url`.*hint: ") as caught:
        Address.parse(url)
    assert "hunter2" not in str(caught.value)


@given(
    user=st.none() | st.text(min_size=1),
    password=st.text(min_size=4),
    form=st.sampled_from(
        ["redis://{}h:1/2", "rediss+cluster://{}h:1,[::1]:2", "redis+sentinel://{}h:1/m/3"]
    ),
)
def test_what_is_shown_is_the_url_without_its_secrets(
    user: str | None, password: str, form: str
) -> None:
    entry = f"{quote(user or '', safe='')}:{quote(password, safe='')}@"
    address = Address.parse(form.format(entry))
    assert (address.user, address.password) == (user, password)
    assert address.shown == form.format("")
    assert Address.parse(address.shown).shown == address.shown
    for text in (f"AUTH {password} failed", f"no answer of {form.format(entry)}"):
        said = str(told(ConnectionError(text), address))
        assert password not in said
        assert quote(password, safe="") not in said


def test_secrets_are_shown_nowhere(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("redis://verve:hunter2@127.0.0.1:1/0\n")
    made = config.load(
        {"cluster": "shop"},
        {"VERVE_REDIS_URL_FILE": str(secret), "VERVE_STATE_DIR": str(tmp_path)},
    )
    stores.check(made)
    client = RedisClient.of(made)
    assert client.address.password == "hunter2"  # noqa: S105 - of the test
    assert "hunter2" not in repr(client.address)
    exported: dict[str, str] = {}
    made.export(exported)
    assert not [value for value in exported.values() if "hunter2" in value]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"redis_url": "redis://a"}, "VERVE_CLUSTER"),
        ({**REDIS, "redis_tls_ca": "/x"}, "rediss://"),
        ({**REDIS, "redis_url": "rediss://a", "redis_tls_ca": "/no/such.pem"}, "/no/such.pem"),
        (
            {**REDIS, "redis_url": "rediss://a", "redis_tls_key": "/x"},
            "VERVE_REDIS_TLS_CERTIFICATE",
        ),
        ({**REDIS, "redis_url": "mysql://a"}, r"redis://\[user"),
        ({"ack": "store"}, "VERVE_REDIS_URL"),
    ],
)
def test_settings_that_do_not_go_together(tmp_path: Path, flags: dict[str, str], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        stores.check(rig.settings(tmp_path, **flags))


def test_a_file_of_tls_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("nothing")
    flags = {**REDIS, "redis_url": "rediss://a", "redis_tls_ca": str(path)}
    with pytest.raises(SettingError, match="hint: PEM"):
        stores.check(rig.settings(tmp_path, **flags))


def test_what_is_not_used_is_not_checked(tmp_path: Path) -> None:
    stores.check(rig.settings(tmp_path))
    stores.check(rig.settings(tmp_path, cluster="shop", redis_strategy="keys"))


def test_what_goes_together(tmp_path: Path) -> None:
    for url in ("redis://a", "redis+cluster://a,b", "redis+sentinel://a,b/m", "rediss://a"):
        for strategy in ("sets", "keys"):
            flags = {**REDIS, "redis_url": url, "redis_strategy": strategy, "ack": "store"}
            stores.check(rig.settings(tmp_path, **flags))


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SettingError, match=r"pip install 'verve-counter\[redis\]'"):
        stores.check(rig.settings(tmp_path, **REDIS))


def test_errors_of_any_kind_are_one_of_ours() -> None:
    address = Address.parse("redis://u:hunter2@a/0")
    error = told(RuntimeError("hunter2"), address)
    assert str(error) == "Redis: RuntimeError: ***: `redis://a:6379`"
    assert error.trouble is Trouble.OTHER
    assert told(TimeoutError(), address).trouble is Trouble.TIMEOUT
    assert "no answer in time" in str(told(TimeoutError(), address))
