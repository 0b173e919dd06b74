from __future__ import annotations

import dataclasses
import os
import pickle
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from verve import SettingError, config
from verve.config import table as config_table
from verve.config.choices import Admin
from verve.config.masking import masked

SECRET = "s3cret"  # noqa: S105 - of a test


def _write(directory: Path, text: str, name: str = "verve.toml") -> str:
    path = directory / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_the_defaults() -> None:
    made = config.load({}, {})
    assert (made.host, made.port, made.window) == ("127.0.0.1", 8000, 60)
    assert (made.max_body, made.keep) == (8 << 20, 365 * 86_400)
    assert made.sinks == ("log",)
    assert made.fast_path is True
    assert made.admin is Admin.GUARDED
    assert made.admin_token is None
    assert made.source == socket.gethostname()
    assert 1 <= made.workers <= 4
    assert made.max_ids_per_window >= 4096
    assert set(made.origins.values()) == {"default"}


def test_a_flag_comes_before_the_environment_before_the_file(tmp_path: Path) -> None:
    file = _write(tmp_path, 'window = "3s"\nport = 9003\ncluster = "file"\nfast_path = false\n')
    environ = {"VERVE_CONFIG": file, "VERVE_WINDOW": "2s", "VERVE_PORT": "9002"}
    made = config.load({"window": "1s"}, environ)
    assert (made.window, made.port, made.cluster, made.fast_path) == (1, 9002, "file", False)
    assert made.origins["window"] == "flag"
    assert made.origins["port"] == "environment"
    assert made.origins["cluster"] == f"file {file}"
    assert made.origins["keep"] == "default"
    assert made.source == "file"


def test_a_list_in_the_file(tmp_path: Path) -> None:
    assert config.load({"config": _write(tmp_path, 'sinks = ["log"]')}, {}).sinks == ("log",)


def test_settings_do_not_change() -> None:
    made = config.load({}, {})
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.window = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"windw": "1"}, "unknown flag `windw`; hint: did you mean `window`?"),
        ({"xyzzy": "1"}, "unknown flag `xyzzy`; hint: `verve config` lists the settings"),
        (
            {"window": "0"},
            r"the setting `window` (flag) is out of range: `0`; hint: use 1 to 86400",
        ),
        ({"port": "http"}, "the setting `port` (flag) is no whole number: `http`; hint: use 1 to"),
        ({"config": "/nowhere/x.toml"}, "cannot read the settings file: No such file or directory"),
    ],
)
def test_bad_flags(flags: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        config.load(flags, {})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("windw = 1", "did you mean `window`?"),
        ("config = 'x'", "unknown setting"),
        ("window = 1.5", "wrong kind: `1.5`; hint: write text in quotes, or a whole number"),
        ("cluster = true", "wrong kind: `True`; hint: write text in quotes, or a whole number"),
        ("fast_path = 1.5", "or a whole number, or `true` or `false`"),
        ("kafka_password = 12.5", "wrong kind: `***`; hint: write text in quotes"),
        ("kafka_password = 0x7f", "wrong kind: `***`; hint: write text in quotes"),
        ("kafka_password = true", "wrong kind: `***`; hint: write text in quotes"),
        ("callback_secret = ['a', 7]", "wrong kind: `***`; hint: write text in quotes"),
        ("[redis_url]\npassword = 's3cret'", "wrong kind: `***`; hint: write text in quotes"),
        ("admin_token_file = 1", "wrong kind: `1`; hint: write text in quotes"),
        ("admin_token_file = '~nosuch/x'", "the setting `admin_token_file` (file "),
        ("[window]\nx = 1", "wrong kind"),
        ("window = ", "is no TOML"),
        ("window = 'abc'", "is no length of time: `abc`"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        config.load({"config": _write(tmp_path, text)}, {})
    assert message in str(caught.value)


@pytest.mark.parametrize("flag", ["state_dir", "source", "kafka_user", "redis_tls_ca"])
def test_an_empty_flag_is_no_name_and_no_path(flag: str) -> None:
    with pytest.raises(SettingError, match=f"the setting `{flag}` .flag. is empty: ``; hint: "):
        config.load({flag: ""}, {})
    with pytest.raises(SettingError, match=r"the setting `admin_token_file` .flag. is empty"):
        config.load({"admin_token_file": ""}, {"VERVE_ADMIN_TOKEN": "t"})


def test_a_variable_in_another_case_is_a_warning() -> None:
    made = config.load({}, {"verve_window": "3", "Verve_Windw": "3"})
    assert made.warnings == (
        "unknown setting in the environment: `verve_window`, did you mean `VERVE_WINDOW`?",
        "unknown setting in the environment: `Verve_Windw`, did you mean `VERVE_WINDOW`?",
    )


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{SECRET}\r\n", encoding="utf-8-sig")
    file = tmp_path / "verve.toml"
    file.write_text(f'window = 3\nadmin_token_file = "{token}"\n', encoding="utf-8-sig")
    made = config.load({"config": str(file)}, {})
    assert (made.window, made.admin_token) == (3, (SECRET,))
    # Nor is another encoding guessed at, or shown.
    file.write_text("window = 3", encoding="utf-16")
    with pytest.raises(SettingError, match=r"the settings file is not UTF-8: .*; hint: save it"):
        config.load({"config": str(file)}, {})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (SECRET.encode("utf-16"), "is not UTF-8"),
        (b"\xef\xbb\xbf \n", "is empty"),
        (b"s3cret" * 20_000, "is too large for a secret"),
    ],
)
def test_a_file_that_holds_no_secret(tmp_path: Path, content: bytes, problem: str) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    with pytest.raises(SettingError) as caught:
        config.load({"kafka_password_file": str(file)}, {})
    assert str(caught.value).startswith(f"the file of `kafka_password` {problem}: `{file}`; hint: ")
    assert "s3cret" not in str(caught.value)


def test_only_what_stands_by_itself_is_masked() -> None:
    assert masked("invalid v: 'v' (v)", "v") == "invalid ***: '***' (***)"
    assert masked("AUTHhunter22hunter", "hunter22") == "AUTH***hunter"
    assert masked("a.b a.b.c", "a.b.c", "a.b") == "*** ***"
    assert masked("x$5 and $5", "$5") == "x*** and ***"
    assert masked("as it is", None, "") == "as it is"


def test_an_unknown_variable_is_a_warning() -> None:
    made = config.load({}, {"VERVE_WINDW": "3", "OTHER": "x", "VERVE_HOST": ""})
    assert made.warnings == (
        "unknown setting in the environment: `VERVE_WINDW`, did you mean `VERVE_WINDOW`?",
    )
    assert made.window == 60
    assert made.origins["host"] == "default"


def test_what_kubernetes_injects_is_ignored() -> None:
    injected = {
        "VERVE_PORT": "tcp://10.0.0.1:8000",
        "VERVE_SERVICE_HOST": "10.0.0.1",
        "VERVE_SERVICE_PORT": "8000",
        "VERVE_SERVICE_PORT_HTTP": "8000",
        "VERVE_PORT_8000_TCP": "tcp://10.0.0.1:8000",
        "VERVE_PORT_8000_TCP_ADDR": "10.0.0.1",
        "VERVE_PORT_8000_TCP_PORT": "8000",
        "VERVE_PORT_8000_TCP_PROTO": "tcp",
        "VERVE_REDIS_SERVICE_HOST": "10.0.0.2",
        "VERVE_REDIS_PORT": "tcp://10.0.0.2:6379",
    }
    made = config.load({}, injected)
    assert (made.port, made.warnings) == (8000, ())
    assert config.load({}, {**injected, "VERVE_PORT": "9000"}).port == 9000


def test_a_secret_from_a_file(tmp_path: Path) -> None:
    file = _write(tmp_path, "s3cret\n", "token")
    for made in (
        config.load({"admin_token_file": file}, {}),
        config.load({}, {"VERVE_ADMIN_TOKEN_FILE": file}),
        config.load({"config": _write(tmp_path, f"admin_token_file = '{file}'")}, {}),
    ):
        assert made.admin_token == (SECRET,)
        assert made.origins["admin_token"].endswith(f", in {file}")


def test_two_tokens_during_a_rotation(tmp_path: Path) -> None:
    for made in (
        config.load({}, {"VERVE_ADMIN_TOKEN": "new,old"}),
        config.load({"admin_token_file": _write(tmp_path, "new\nold\n", "token")}, {}),
        config.load({"config": _write(tmp_path, "admin_token = ['new', 'old']")}, {}),
    ):
        assert made.admin_token == ("new", "old")
    with pytest.raises(SettingError, match="is no token"):
        config.load({}, {"VERVE_ADMIN_TOKEN": "new,älter"})
    with pytest.raises(SettingError, match="has too many tokens"):
        config.load({}, {"VERVE_ADMIN_TOKEN": "a,b,c"})
    # Each word would open the guarded routes by itself.
    with pytest.raises(SettingError, match="is no token"):
        config.load({}, {"VERVE_ADMIN_TOKEN": "correct horse"})


def test_a_secret_that_is_wrong_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        config.load({}, {"VERVE_ADMIN_TOKEN": "three whole words"})
    assert "is no token" in str(caught.value)
    assert "words" not in str(caught.value)
    environ = {"VERVE_ADMIN_TOKEN": "a", "VERVE_ADMIN_TOKEN_FILE": _write(tmp_path, "b", "token")}
    with pytest.raises(SettingError, match="given twice"):
        config.load({}, environ)
    with pytest.raises(SettingError, match="cannot read the file of `admin_token`"):
        config.load({}, {"VERVE_ADMIN_TOKEN_FILE": str(tmp_path / "none")})


def test_the_state_directory() -> None:
    assert config.load({"state_dir": "/a"}, {"STATE_DIRECTORY": "/b"}).state_dir == Path("/a")
    assert config.load({}, {"STATE_DIRECTORY": "/b:/c"}).state_dir == Path("/b")
    expected = Path("/var/lib/verve") if os.geteuid() == 0 else Path("/d/verve")
    assert config.load({}, {"XDG_STATE_HOME": "/d"}).state_dir == expected


def test_the_state_directory_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert config.load({}, {"XDG_STATE_HOME": "/d"}).state_dir == Path("/d/verve")
    assert config.load({}, {"XDG_STATE_HOME": "x"}).state_dir == Path.home() / ".local/state/verve"
    assert "verve-1000-" in config.load({}, {}).segment.name


def test_a_segment_belongs_to_its_state_directory(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "link").symlink_to("state")
    one = config.load({"state_dir": str(tmp_path / "state")}, {}).segment
    same = config.load({"state_dir": str(tmp_path / "link")}, {}).segment
    other = config.load({"state_dir": str(tmp_path)}, {}).segment
    assert one == same
    assert one != other
    assert one.name.startswith(f"verve-{os.geteuid()}-")


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flags=st.fixed_dictionaries(
        {},
        optional={
            "window": st.integers(1, 86_400).map(str),
            "port": st.integers(1, 65_535).map(str),
            "fast_path": st.sampled_from(["on", "off"]),
            "cluster": st.text("abc-é", max_size=9),
            "keep": st.integers(1, 400).map(lambda days: f"{days}d"),
            "max_ids_per_window": st.integers(1, 2**31).map(str),
            "admin": st.sampled_from(["open", "guarded"]),
            "log_format": st.sampled_from(["json", "text"]),
        },
    )
)
def test_workers_get_the_very_same_settings(tmp_path: Path, flags: dict[str, str]) -> None:
    token = _write(tmp_path, SECRET, "token")
    made = config.load({**flags, "admin_token_file": token}, {"VERVE_ADMIN_TOKEN": "another"})
    again = pickle.loads(pickle.dumps(made))  # noqa: S301 - as where workers are spawned
    assert again == made
    assert again.admin_token == (SECRET,)
    assert SECRET not in repr(again)


def test_the_markdown_has_every_setting() -> None:
    page = config_table.markdown()
    for row in config.TABLE.values():
        assert f"`{row.variable}`" in page
        assert f"`{row.flag}`" in page


def test_the_effective_table_masks_secrets() -> None:
    shown = config_table.effective(config.load({}, {"VERVE_ADMIN_TOKEN": "s3cret"}))
    assert "s3cret" not in shown
    assert "***" in shown
    assert len(shown.splitlines()) == len(config.TABLE)


def test_the_toml_gives_the_same_settings(tmp_path: Path) -> None:
    flags = {"window": "2s", "cluster": 'a "b" \\c', "fast_path": "off", "keep": "3d"}
    made = config.load({**flags, "state_dir": str(tmp_path)}, {"VERVE_ADMIN_TOKEN": "s3cret"})
    text = config_table.toml(made)
    assert "s3cret" not in text
    again = config.load({"config": _write(tmp_path, text)}, {})
    for name in (*flags, "state_dir", "segment"):
        assert getattr(again, name) == getattr(made, name)


def test_the_toml_of_the_defaults_says_nothing(tmp_path: Path) -> None:
    text = config_table.toml(config.load({}, {}))
    assert all(line.startswith("#") for line in text.splitlines() if line)
    uncommented = "\n".join(
        line.removeprefix("# ")
        for line in text.splitlines()
        if " = " in line and "token" not in line
    )
    config.load({"config": _write(tmp_path, uncommented)}, {})
