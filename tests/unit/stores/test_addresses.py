from __future__ import annotations

import ssl
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import rig
from tests.support.network.certificates import certificate
from verve import SettingError, config, stores
from verve.stores import FailureKind, RedisClient
from verve.stores.address import Address, Topology
from verve.stores.errors import store_error

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cret"  # noqa: S105 - of nothing
SINGLE: dict[str, Any] = {
    "topology": Topology.SINGLE,
    "tls": False,
    "nodes": (("h", 6379),),
    "database": 0,
    "service": None,
    "user": None,
    "password": None,
}
CLUSTER = {**SINGLE, "topology": Topology.CLUSTER}
SENTINEL = {**SINGLE, "topology": Topology.SENTINEL, "service": "s", "nodes": (("h", 26379),)}


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("redis://h", SINGLE, "redis://h:6379"),
        ("redis://h/", SINGLE, "redis://h:6379"),
        ("REDIS://H", SINGLE, "redis://h:6379"),
        ("redis://h:", SINGLE, "redis://h:6379"),
        ("redis://h:1/0", {**SINGLE, "nodes": (("h", 1),)}, "redis://h:1"),
        ("redis://h/15", {**SINGLE, "database": 15}, "redis://h:6379/15"),
        ("rediss://h", {**SINGLE, "tls": True}, "rediss://h:6379"),
        ("redis://[::1]:7", {**SINGLE, "nodes": (("::1", 7),)}, "redis://[::1]:7"),
        ("redis://[::1]", {**SINGLE, "nodes": (("::1", 6379),)}, "redis://[::1]:6379"),
        ("redis://:p@h", {**SINGLE, "password": "p"}, "redis://h:6379"),
        ("redis://u@h", {**SINGLE, "user": "u"}, "redis://h:6379"),
        ("redis://u:p@h", {**SINGLE, "user": "u", "password": "p"}, "redis://h:6379"),
        ("redis://@h", SINGLE, "redis://h:6379"),
        ("redis://:@h", SINGLE, "redis://h:6379"),
        ("redis://u:p:q@h", {**SINGLE, "user": "u", "password": "p:q"}, "redis://h:6379"),
        ("redis://u:p@q@h", {**SINGLE, "user": "u", "password": "p@q"}, "redis://h:6379"),
        ("redis://u:p/q?r#s@h", {**SINGLE, "user": "u", "password": "p/q?r#s"}, "redis://h:6379"),
        ("redis://u:%40%2F%25@h", {**SINGLE, "user": "u", "password": "@/%"}, "redis://h:6379"),
        ("redis+cluster://h", CLUSTER, "redis+cluster://h:6379"),
        ("redis+cluster://h/0", CLUSTER, "redis+cluster://h:6379"),
        (
            "rediss+cluster://u:p@h:1,i,[::1]:2",
            {
                **CLUSTER,
                "tls": True,
                "nodes": (("h", 1), ("i", 6379), ("::1", 2)),
                "user": "u",
                "password": "p",
            },
            "rediss+cluster://h:1,i:6379,[::1]:2",
        ),
        ("redis+sentinel://h/s", SENTINEL, "redis+sentinel://h:26379/s"),
        ("redis+sentinel://h/s/", SENTINEL, "redis+sentinel://h:26379/s"),
        ("redis+sentinel://h/s/3", {**SENTINEL, "database": 3}, "redis+sentinel://h:26379/s/3"),
        (
            "rediss+sentinel://:p@h:1,i/a%20b",
            {
                **SENTINEL,
                "tls": True,
                "nodes": (("h", 1), ("i", 26379)),
                "service": "a b",
                "password": "p",
            },
            "rediss+sentinel://h:1,i:26379/a b",
        ),
    ],
)
def test_urls(url: str, address: dict[str, Any], shown: str) -> None:
    found = Address.parse(url)
    assert asdict(found) == address
    assert found.shown == shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "not a URL"),
        ("h", "not a URL"),
        ("h:6379", "not a URL"),
        ("http://h", "not a URL"),
        ("unix:///run/redis.sock", "not a URL"),
        ("redis:h", "not a URL"),
        ("redis://", "a host"),
        ("redis://:6379", "a host"),
        ("redis:///0", "a host"),
        ("redis://u:p@", "a host"),
        ("redis://h:x", "a host"),
        ("redis://h:0", "a host"),
        ("redis://h:65536", "a host"),
        ("redis://h:-1", "a host"),
        ("redis://[::1", "a host"),
        ("redis://::1", "a host"),
        ("redis://h,i", "not several"),
        ("redis://h/x", "database"),
        ("redis://h/-1", "database"),
        ("redis://h/0/1", "database"),
        ("redis://h?db=1", "no `?`"),
        ("redis://h/0#1", "no `?`"),
        ("redis+cluster://h,", "a host"),
        ("redis+cluster://,h", "a host"),
        ("redis+cluster://h/1", "the database 0 only"),
        ("redis+sentinel://h", "service"),
        ("redis+sentinel://h/", "service"),
        ("redis+sentinel://h//0", "service"),
        ("redis+sentinel://h/s/x", "database"),
        ("redis+sentinel://h/s/0/x", "database"),
    ],
)
def test_no_urls(url: str, said: str) -> None:
    with pytest.raises(SettingError) as caught:
        Address.parse(url)
    assert said in str(caught.value)
    assert "hint:" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        f"{SECRET}@h",
        f":{SECRET}@h",
        f"u:{SECRET}@h:6379",
        f"{SECRET}://h",
        f"redis:/u:{SECRET}@h",
        f"http://u:{SECRET}@h",
        f"redis://u:{SECRET}@h:x",
        f"redis://u:{SECRET}@h,i",
        f"redis://u:{SECRET}@h/x",
        f"redis://u:{SECRET}@h?x",
        f"redis://u:{SECRET}@",
        # The `@` was forgotten, or stands elsewhere.
        f"redis://u:{SECRET}",
        f"redis://:{SECRET}/0",
        f"redis://u:{SECRET},h",
        f"redis://{SECRET},h",
        f"redis://h/u:{SECRET}",
        f"redis://h/0/{SECRET}",
        f"redis+cluster://h,u:{SECRET}",
        f"redis+sentinel://u:{SECRET}/s",
    ],
)
def test_no_refusal_shows_a_secret(url: str) -> None:
    with pytest.raises(SettingError) as caught:
        Address.parse(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "redis+sentinel"])
@pytest.mark.parametrize("password", [SECRET, "s3cret/@:?#", "s3cret%2F"])
def test_a_password_is_not_shown(scheme: str, password: str) -> None:
    address = Address.parse(f"{scheme}://u:{password}@h/{'s' if 'sentinel' in scheme else ''}")
    assert (address.password or "").startswith(SECRET)
    for text in (address.shown, repr(address), str(address)):
        assert SECRET not in text
    text = f"AUTH u {address.password} failed for {address.password}"
    assert address.masked(text) == "AUTH u *** failed for ***"
    assert Address.parse("redis://h").masked(text) == text


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"redis_url": f"redis://:{SECRET}@h"}, "VERVE_CLUSTER"),
        ({"redis_url": f"http://:{SECRET}@h", "cluster": "c"}, "not a URL"),
        ({"redis_url": f"redis://:{SECRET}@h", "cluster": "c", "redis_tls_ca": "/x"}, "rediss://"),
        ({"redis_url": f"rediss://:{SECRET}@h", "cluster": "c", "redis_tls_ca": "/x"}, "`/x`"),
        ({"redis_url": f"rediss://:{SECRET}@h", "cluster": "c", "redis_tls_key": "/x"}, "`/x`"),
        ({"redis_url": "rediss://h", "cluster": "c", "redis_tls_ca": __file__}, "hint: PEM"),
        ({"ack": "store"}, "VERVE_REDIS_URL"),
    ],
)
def test_settings_that_do_not_fit(tmp_path: Path, flags: dict[str, str], said: str) -> None:
    with pytest.raises(SettingError) as caught:
        stores.check(rig.settings(tmp_path, **flags))
    assert said in str(caught.value)
    assert SECRET not in str(caught.value)


def test_settings_that_fit(tmp_path: Path) -> None:
    stores.check(rig.settings(tmp_path))
    stores.check(rig.settings(tmp_path, redis_url=f"redis://:{SECRET}@h", cluster="c"))
    flags = {"redis_url": "rediss://h", "cluster": "c", "ack": "store", "redis_strategy": "keys"}
    file = str(certificate(tmp_path, "ca"))
    stores.check(rig.settings(tmp_path, **flags, redis_tls_ca=file, redis_tls_certificate=file))


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
        said = str(store_error(ConnectionError(text), address))
        assert password not in said
        assert quote(password, safe="") not in said


def test_errors_of_any_kind_are_one_of_ours() -> None:
    address = Address.parse(f"redis://u:{SECRET}@a/0")
    error = store_error(RuntimeError(SECRET), address)
    assert str(error) == "Redis: RuntimeError: ***: `redis://a:6379`"
    assert error.kind is FailureKind.OTHER
    assert store_error(TimeoutError(), address).kind is FailureKind.TIMEOUT
    assert "no answer in time" in str(store_error(TimeoutError(), address))


def test_a_short_password_spoils_no_hint() -> None:
    address = Address.parse("redis://u:v@verve/0")
    error = store_error(ssl.SSLError("invalid, v, verify"), address)
    assert str(error) == (
        "Redis: SSLError: ('invalid, ***, verify',): `redis://verve:6379`; "
        "hint: see `VERVE_REDIS_TLS_CA`, and the name in the server's certificate"
    )


def test_a_url_from_a_file_stays_there(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text(f"redis://verve:{SECRET}@127.0.0.1:1/0\n")
    made = config.load(
        {"cluster": "c"},
        {"VERVE_REDIS_URL_FILE": str(secret), "VERVE_STATE_DIR": str(tmp_path)},
    )
    stores.check(made)
    client = RedisClient.of(made)
    assert client.address.password == SECRET
    assert SECRET not in repr(made)


def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SettingError, match=r"pip install 'verve-counter\[redis\]'"):
        stores.check(rig.settings(tmp_path, redis_url="redis://h", cluster="c"))
