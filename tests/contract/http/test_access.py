"""Which pages are guarded, under every server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.http.raw import ask
from tests.support.network.ports import free_port
from tests.support.proxies.nginx import Nginx
from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.service import Service

GUARDED = ["/metrics", "/api/verve/current", "/api/verve/windows"]
EVERYONE = [f"{ACCEPT}?id=7", "/livez", "/readyz", "/readyz?verbose"]


@pytest.mark.parametrize("path", GUARDED)
def test_a_name_that_is_not_the_loopbacks_is_refused(service: Service, path: str) -> None:
    for method in ("GET", "HEAD"):
        assert ask(service, method, path, host="rebound.example").status == 401
        assert ask(service, method, path, host=f"127.0.0.1:{service.port}").status == 200
    proxied = ask(service, "GET", path, [("x-forwarded-for", "127.0.0.1")])
    assert proxied.status == 401
    assert json.loads(proxied.body)["hint"]
    assert proxied.headers["www-authenticate"].startswith("Bearer")
    # A server may refuse a request with two Hosts by itself.
    assert ask(service, "GET", path, [("host", "rebound.example")]).status in {400, 401}
    assert ask(service, "GET", path, host=None).status in {400, 401}


FORWARDED = [
    ("forwarded", "for=127.0.0.1;host=localhost"),
    ("via", "1.1 proxy"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-forwarded-for", ""),
    # What a proxy makes that appends the address to what its caller sent. Some servers leave out
    # the value.
    ("x-forwarded-for", "\xff, 192.0.2.1"),
    ("X-Forwarded-Host", "localhost"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-port", "443"),
    ("x-real-ip", "127.0.0.1"),
]
ROUTES = [*GUARDED, "/api/verve/stream"]


@pytest.mark.parametrize("header", FORWARDED, ids=lambda header: f"{header[0]}={header[1]!r}")
def test_a_header_of_a_proxy_takes_access_away(service: Service, header: tuple[str, str]) -> None:
    for path in ROUTES:
        assert ask(service, "HEAD", path).status == 200
        for method in ("GET", "HEAD"):
            refused = ask(service, method, path, [header])
            assert refused.status == 401, path
    # The settings are for those with access.
    assert "service" in json.loads(ask(service, "GET", "/readyz?verbose").body)
    assert "service" not in json.loads(ask(service, "GET", "/readyz?verbose", [header]).body)


@pytest.mark.parametrize(
    "server",
    [Server.VERVE, Server.GRANIAN, Server.GRANIAN_ASGI, Server.UVICORN, Server.NATIVE],
)
def test_a_header_of_a_proxy_gives_no_access(serve: Serve, server: Server) -> None:
    """Neither at the public address with a token, nor at the admin address."""
    service = serve(server, environment={"VERVE_ADMIN_TOKEN": "s3cret"})
    admin = f"127.0.0.1:{free_port()}"
    other = serve(server, environment={"VERVE_ADMIN_LISTEN": admin})
    for name, value in FORWARDED:
        for path in ROUTES:
            assert ask(service, "GET", path, [(name, value)]).status == 401
            assert ask(other, "GET", path, [(name, value)]).status == 404
            headers = [(name.encode(), value.encode("latin-1"))]
            at_admin = httpx.get(f"http://{admin}{path}", headers=headers, trust_env=False)
            assert at_admin.status_code == 401


@pytest.mark.parametrize("path", EVERYONE)
def test_what_is_open_to_everyone(service: Service, path: str) -> None:
    headers = [("x-forwarded-for", "192.0.2.1")]
    assert ask(service, "GET", path, headers, host="verve.example").status == 200


def test_the_target_of_a_request_is_a_name_too(serve: Serve) -> None:
    service = serve(Server.GRANIAN)
    assert ask(service, "GET", "http://rebound.example/metrics").status == 401
    assert ask(service, "GET", "http://localhost/metrics").status == 200


@pytest.mark.parametrize("server", [Server.GRANIAN, Server.GRANIAN_ASGI, Server.UVICORN])
def test_the_token(serve: Serve, server: Server) -> None:
    service = serve(server, environment={"VERVE_ADMIN_TOKEN": "s3cret"})
    for path in GUARDED:
        for token, status in (("s3cret", 200), ("S3cret", 401), ("", 401)):
            headers = [("authorization", f"Bearer {token}")]
            assert ask(service, "GET", path, headers, host="verve.example").status == status
            # From everyone: a proxy on this host looks like this host.
            assert ask(service, "GET", path, headers).status == status
        assert ask(service, "GET", path).status == 401
    for path in EVERYONE:
        assert ask(service, "GET", path).status == 200
    (line,) = service.events("access.rule")
    assert "token" in line["message"]
    assert "s3cret" not in service.output()


@pytest.mark.parametrize(
    "server", [Server.VERVE, Server.GRANIAN, Server.GRANIAN_ASGI, Server.UVICORN, Server.NATIVE]
)
def test_two_tokens_during_a_rotation(serve: Serve, server: Server) -> None:
    service = serve(server, environment={"VERVE_ADMIN_TOKEN": "n3wer,s3cret"})
    for path in GUARDED:
        for token, status in (("n3wer", 200), ("s3cret", 200), ("n3wer,s3cret", 401), ("", 401)):
            headers = [("authorization", f"Bearer {token}")]
            assert ask(service, "GET", path, headers).status == status
    # A caller that has the tokens in the other order, or a service that does not know the new one.
    for tokens, status, words in (
        ("s3cret,n3wer", 0, "require the token"),
        ("newest,s3cret", 0, "require the token"),
        ("newest,s4cret", 1, "rejects this token"),
    ):
        done = service.command("check", environment={"VERVE_ADMIN_TOKEN": tokens})
        assert done.returncode == status, done.stdout
        assert words in done.stdout
    assert "s3cret" not in service.output()


@pytest.mark.parametrize(
    "server", [Server.VERVE, Server.GRANIAN_ASGI, Server.UVICORN, Server.NATIVE]
)
def test_behind_an_nginx_that_only_passes_on(serve: Serve, tmp_path: Path, server: Server) -> None:
    """Its requests look like those of this host: only the token keeps its callers out."""
    service = serve(server, environment={"VERVE_ADMIN_TOKEN": "s3cret"})
    with Nginx(tmp_path / "nginx", service.url()) as nginx:

        def status(path: str, **headers: str) -> int:
            url = f"http://127.0.0.1:{nginx.port}{path}"
            return httpx.get(url, headers=headers, trust_env=False).status_code

        assert [status(path) for path in GUARDED] == [401] * len(GUARDED)
        assert [status(path, authorization="Bearer x") for path in GUARDED] == [401] * len(GUARDED)
        assert {status(path, authorization="Bearer s3cret") for path in GUARDED} == {200}
        assert {status(path) for path in EVERYONE} == {200}


def test_without_a_token_the_start_line_and_check_warn_of_a_proxy(serve: Serve) -> None:
    service = serve(Server.VERVE)
    (line,) = service.events("access.rule")
    assert "a proxy on this host opens them" in line["message"]
    done = service.command("check")
    assert done.returncode == 0, done.stdout
    (said,) = [line for line in done.stdout.splitlines() if "access" in line]
    assert said.startswith("warn")
    assert "VERVE_ADMIN_TOKEN" in said


@pytest.mark.parametrize(
    ("environment", "mark", "words"),
    [
        ({"VERVE_ADMIN_TOKEN": "s3cret"}, "ok", "require the token"),
        ({"VERVE_ADMIN_TOKEN": "s3cret", "VERVE_ADMIN": "open"}, "ok", "require the token"),
        ({"VERVE_ADMIN": "open"}, "warn", "open to everyone"),
    ],
)
def test_check_sends_the_token_and_says_who_may_look(
    serve: Serve, environment: dict[str, str], mark: str, words: str
) -> None:
    service = serve(environment=environment)
    done = service.command("check")
    assert done.returncode == 0, done.stdout
    (said,) = [line for line in done.stdout.splitlines() if "access" in line]
    assert said.startswith(mark)
    assert words in said
    assert "s3cret" not in done.stdout + done.stderr


def test_an_open_service(serve: Serve) -> None:
    service = serve(environment={"VERVE_ADMIN": "open"})
    for path in GUARDED:
        assert ask(service, "GET", path, [("via", "1.1 x")], host="verve.example").status == 200
    (line,) = service.events("access.rule")
    assert "everyone" in line["message"]
