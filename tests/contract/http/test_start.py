"""A service that cannot start says so in one line, and ends with an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.service import Service

SERVERS = [Server.GRANIAN, Server.GRANIAN_ASGI, Server.UVICORN]


def _check_refused(service: Service, *said: str) -> None:
    service.start(ready=False)
    assert service.wait_end() != 0
    assert "Traceback" not in service.output()
    (line,) = [line for line in service.output().splitlines() if "Verve cannot start" in line]
    for words in said:
        assert words in line


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("name", "value"),
    [("VERVE_WINDOW", "a while"), ("VERVE_LOG_FORMAT", "xml"), ("VERVE_CONFIG", "/nowhere/x.toml")],
)
def test_a_bad_setting(serve: Serve, server: Server, name: str, value: str) -> None:
    service = serve(server, start=False, environment={name: value})
    _check_refused(service, f"`{value}`", "hint: ")


@pytest.mark.parametrize("server", SERVERS)
def test_a_segment_that_is_no_file(serve: Serve, server: Server) -> None:
    service = serve(server, start=False)
    service.segment.symlink_to("/dev/zero")
    _check_refused(service, str(service.segment))


@pytest.mark.parametrize("server", SERVERS)
def test_a_segment_that_lives_with_other_settings(serve: Serve, server: Server) -> None:
    first = serve(Server.GRANIAN, window=60)
    options = {"VERVE_STATE_DIR": str(first.state_directory), "VERVE_WINDOW": "30"}
    second = serve(server, start=False, segment=first.segment, environment=options)
    _check_refused(second, "restart")
    assert first.get(f"{ACCEPT}?id=7").text == "ok"


@pytest.mark.parametrize("server", SERVERS)
def test_a_state_directory_that_cannot_be_made(serve: Serve, server: Server) -> None:
    service = serve(server, start=False, environment={"VERVE_STATE_DIR": "/proc/verve"})
    _check_refused(service, "/proc/verve")


def test_a_server_without_lifespan(serve: Serve) -> None:
    service = serve(Server.GRANIAN, arguments=["--interface", "asginl"])
    assert service.get(f"{ACCEPT}?id=7").text == "ok"
    refused = serve(
        Server.GRANIAN,
        start=False,
        arguments=["--interface", "asginl"],
        environment={"VERVE_WINDOW": "a while"},
    )
    refused.start(ready=False)
    refused.wait_until(lambda: "Listening" in refused.output(), 10, "listening")
    refused.wait_until(lambda: "Started worker" in refused.output(), 10, "started")
    for path in (f"{ACCEPT}?id=7", "/readyz"):
        assert refused.get(path).status_code == 503
    assert refused.output().count("Verve cannot start") == 1
