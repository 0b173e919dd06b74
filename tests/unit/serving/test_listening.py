"""Where `verve serve` listens: every form of address, and the other options of Granian."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest

from tests.support.service import Server
from verve import SettingError, config
from verve.serving import granian_options, listening
from verve.serving.listening import ListenError, Place, place_of, wait_until_free

if TYPE_CHECKING:
    from tests.conftest import Serve

V4, V6 = socket.AF_INET, socket.AF_INET6


def _resolving(monkeypatch: pytest.MonkeyPatch, *found: tuple[int, str]) -> None:
    """Have every name stand for these addresses."""
    answers = [(family, 1, 6, "", (address, 8000)) for family, address in found]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: answers)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1:8000"),
        ("0.0.0.0", "0.0.0.0:8000"),  # noqa: S104 - not bound to
        ("127.1", "127.0.0.1:8000"),
        (" ::1 ", "[::1]:8000"),
        ("[::1]", "[::1]:8000"),
        ("::", "[::]:8000"),
        ("::ffff:127.0.0.1", "[::ffff:127.0.0.1]:8000"),
    ],
)
def test_an_address_in_any_form(host: str, shown: str) -> None:
    made = config.load({"host": host}, {})
    assert str(place_of(made.host, made.port, None)) == shown


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0:8000", "[::1]:8000", "http://127.0.0.1", "[127.0.0.1]", "a b", "::g", "u@h", "[", ""],
)
def test_what_is_no_address(host: str) -> None:
    with pytest.raises(SettingError, match=r"the setting `host` .flag. is (no host|empty): `"):
        config.load({"host": host}, {})


@pytest.mark.parametrize("port", ["0", "-1", "65536", "http", ""])
def test_what_is_no_port(port: str) -> None:
    with pytest.raises(SettingError, match=r"the setting `port` .flag. is .*: `"):
        config.load({"port": port}, {})


def test_a_name_stands_for_its_first_address_of_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place_of("localhost", 8000, None).host in {"127.0.0.1", "::1"}
    _resolving(monkeypatch, (V6, "::1"), (V4, "127.0.0.1"), (V4, "127.0.0.2"))
    assert place_of("name", 8000, None).host == "127.0.0.1"
    _resolving(monkeypatch, (V6, "fe80::1%eth0"), (V6, "::1"))
    assert place_of("name", 8000, None).host == "::1"
    _resolving(monkeypatch, (V6, "fe80::1%eth0"))
    with pytest.raises(ListenError, match="an address with a zone cannot be served: `name`; hint"):
        place_of("name", 8000, None)


def test_an_address_of_a_name_that_no_interface_has_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _resolving(monkeypatch, (V4, "192.0.2.1"), (V6, "2001:db8::1"), (V4, "127.0.0.1"))
    assert place_of("name", 8000, None).host == "127.0.0.1"
    _resolving(monkeypatch, (V4, "192.0.2.1"), (V6, "2001:db8::1"))
    assert place_of("name", 8000, None).host == "192.0.2.1"
    _resolving(monkeypatch, (V4, "192.0.2.1"))
    assert place_of("192.0.2.1", 8000, None).host == "192.0.2.1"


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 300, "a..b", "300.1.1.1"])
def test_a_name_that_nobody_knows(host: str) -> None:
    with pytest.raises(
        ListenError, match=r"no name that is known: .*; hint: `VERVE_HOST`"
    ) as caught:
        place_of(host, 8000, None)
    assert f"`{host}`" in str(caught.value)


def test_an_address_of_another_machine() -> None:
    with pytest.raises(ListenError, match=r"`192\.0\.2\.1:8000`; hint: no interface of this host"):
        wait_until_free(Place("192.0.2.1", 8000))


def test_a_port_that_only_root_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_socket: object, _address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ListenError, match=r"Permission denied: .*; hint: ports below 1024 need"):
        wait_until_free(Place("127.0.0.1", 80))


@pytest.mark.parametrize("family", [V4, V6])
def test_a_port_that_is_taken(
    monkeypatch: pytest.MonkeyPatch, family: socket.AddressFamily
) -> None:
    monkeypatch.setattr(listening, "FREE_SECONDS", 0)
    host = "127.0.0.1" if family is V4 else "::1"
    with socket.create_server((host, 0), family=family, reuse_port=True) as listener:
        place = Place(host, listener.getsockname()[1])
        with pytest.raises(ListenError, match="another process listens there") as caught:
            wait_until_free(place)
    assert f"`{place}`" in str(caught.value)
    wait_until_free(place)


# Unix sockets.


def _left_behind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()


def test_a_socket_that_was_left_behind_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    _left_behind(path)
    (tmp_path / "link").symlink_to("s")
    place = place_of("no-such-host.invalid", 8000, tmp_path / "link")
    assert str(place) == f"unix:{path}"
    wait_until_free(place)
    assert not path.exists()


@pytest.mark.parametrize("kind", ["listens", "has a full queue", "takes datagrams"])
def test_a_socket_that_is_used_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(listening, "FREE_SECONDS", 0)
    path = tmp_path / "s"
    stream = socket.SOCK_DGRAM if kind == "takes datagrams" else socket.SOCK_STREAM
    with socket.socket(socket.AF_UNIX, stream) as owner, socket.socket(socket.AF_UNIX) as caller:
        owner.bind(str(path))
        if stream is socket.SOCK_STREAM:
            owner.listen(0)
        if kind == "has a full queue":
            caller.connect(str(path))
        with pytest.raises(ListenError, match=f"another process listens there: `{path}`; hint: "):
            wait_until_free(Place("", 0, path))
    assert path.is_socket()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("file", "there is a file that is no socket"),
        ("", "there is a file that is no socket"),
        ("none/s", "No such file or directory"),
        ("file/s", "Not a directory"),
        ("x" * 108, "path too long"),
    ],
)
def test_a_file_that_cannot_be_the_socket(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ListenError, match=f"cannot listen: .*{problem}: `.*; hint: `--uds`"):
        wait_until_free(place_of("", 0, tmp_path / name))
    assert (tmp_path / "file").read_text() == "kept"


# The options of Granian beside the settings.


def _read(
    monkeypatch: pytest.MonkeyPatch, *arguments: str, flags: dict[str, str], **variables: str
) -> tuple[dict[str, Any], list[str]]:
    for name in [name for name in os.environ if name.startswith("GRANIAN_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = granian_options.read(config.load(flags, {}), arguments, {"backlog": 4096})
    return found.context.params, found.warnings


@pytest.mark.parametrize(
    "arguments", [("--uds", "s", "--backlog", "200"), ("--uds=s", "--backlog=200"), ()]
)
def test_options_in_either_spelling(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    variables = {} if arguments else {"GRANIAN_UDS": "s", "GRANIAN_BACKLOG": "200"}
    params, warnings = _read(monkeypatch, *arguments, flags={}, **variables)
    assert (params["uds"], params["backlog"]) == (Path("s"), 200)
    assert (params["host"], params["port"]) == ("127.0.0.1", 8000)
    assert warnings == []


@pytest.mark.parametrize(
    ("arguments", "variables", "said"),
    [
        (["--host=::"], {}, "another `host` than the service: `::`; hint: set `VERVE_HOST`"),
        (["--port", "9"], {}, "another `port` than the service: `9`; hint: set `VERVE_PORT`"),
        (["--workers=7"], {}, "another `workers` than the service: `7`"),
        (["--log-level=critical"], {}, "another `log_level` than the service: `critical`"),
        (["--factory"], {}, "the application is no factory: `--factory`"),
        ([], {"GRANIAN_FACTORY": "1"}, "the application is no factory: `GRANIAN_FACTORY`"),
        (["--working-dir", "/"], {}, "the installed application is served"),
        (["--env-files", "/dev/null"], {}, "settings are read before Granian reads it"),
        (["--interface=wsgi"], {}, "Verve does not speak `wsgi`"),
        (["--url-path-prefix", "/x"], {}, "Granian knows no prefix under RSGI"),
        (["--ssl-certificate", "/dev/null"], {}, "TLS needs `--ssl-keyfile` too"),
        (["--ssl-keyfile=/dev/null"], {}, "TLS needs `--ssl-certificate` too"),
    ],
)
def test_options_that_would_be_ignored(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], variables: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingError, match="; hint: ") as caught:
        _read(monkeypatch, *arguments, flags={}, **variables)
    assert said in str(caught.value)


@pytest.mark.parametrize("argument", ["-p", "-w2", "--backlog=1", "stray"])
def test_options_that_granian_does_not_take(monkeypatch: pytest.MonkeyPatch, argument: str) -> None:
    with pytest.raises(click.UsageError):
        _read(monkeypatch, argument, flags={})


def test_variables_that_nothing_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    _, warnings = _read(
        monkeypatch,
        flags={"workers": "2"},
        GRANIAN_HOST="0.0.0.0",  # noqa: S104 - not bound to
        GRANIAN_PORT="8000",
        GRANIAN_WORKERS="3",
        GRANIAN_APP="other:app",
        GRANIAN_BAKLOG="7",
        GRANIAN_LOOP="",
    )
    assert warnings == [
        "variable of Granian that is not used: `GRANIAN_HOST`; `VERVE_HOST` sets it",
        "variable of Granian that is not used: `GRANIAN_WORKERS`; `VERVE_WORKERS` sets it",
        "variable of Granian that is not used: `GRANIAN_APP`",
        "variable that Granian does not know: `GRANIAN_BAKLOG`, did you mean `GRANIAN_BACKLOG`?",
    ]
    _, warnings = _read(monkeypatch, "--uds=s", flags={"port": "8000"}, GRANIAN_APP="")
    assert "`VERVE_PORT` is not used: the service listens at `--uds`" in warnings


# The service itself.


def test_a_name_is_listened_on_and_shown_as_its_address(serve: Serve) -> None:
    service = serve(
        Server.VERVE,
        environment={"GRANIAN_PORT": "1"},
        arguments=["--host", "localhost", "--backlog=256", "--interface", "asgi"],
    )
    (line,) = service.events("service.starting")
    assert line["address"] == f"http://127.0.0.1:{service.port}"
    assert (line["host"], line["port"], line["workers"]) == ("127.0.0.1", service.port, 1)
    assert (line["interface"], line["backlog"], line["http"]) == ("asgi", 256, "1")
    odd = [line["warning"] for line in service.events("setting.odd")]
    assert "variable of Granian that is not used: `GRANIAN_PORT`; `VERVE_PORT` sets it" in odd


def test_a_service_starts_again_on_its_socket(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "s"

    def answers() -> bool:
        with socket.socket(socket.AF_UNIX) as caller, contextlib.suppress(OSError):
            caller.connect(str(path))
            caller.sendall(b"GET /livez HTTP/1.1\r\nhost: verve\r\n\r\n")
            return caller.recv(64).startswith(b"HTTP/1.1 200")
        return False

    service = serve(Server.VERVE, start=False, arguments=[f"--uds={path}"])
    service.start(ready=False).wait_until(answers, 20, "answering")
    service.kill()
    assert path.is_socket()
    service.start(ready=False).wait_until(answers, 20, "answering again")
    assert [line["address"] for line in service.events("service.starting")] == [f"unix:{path}"] * 2
    assert service.stop() == 0
    assert not path.exists()
