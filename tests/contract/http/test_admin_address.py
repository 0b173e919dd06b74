"""The admin address: guarded pages are there, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.network.ports import free_port
from tests.support.proxies.nginx import Nginx
from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve

GUARDED = ["/", "/metrics", "/api/verve/current", "/api/verve/windows"]
EVERYONE = [f"{ACCEPT}?id=7", "/livez", "/readyz", "/readyz?verbose"]


def _get(base: str, path: str) -> tuple[int, str]:
    answer = httpx.get(f"{base}{path}", trust_env=False)
    return answer.status_code, answer.text


@pytest.mark.parametrize(
    "server",
    [Server.GRANIAN, Server.GRANIAN_ASGI, Server.UVICORN, Server.VERVE, Server.NATIVE],
)
def test_guarded_pages_are_at_the_admin_address_only(
    server: Server, serve: Serve, tmp_path: Path
) -> None:
    """Behind an nginx that only passes on, nothing that is guarded can be reached."""
    admin = f"127.0.0.1:{free_port()}"
    service = serve(server, workers=2, environment={"VERVE_ADMIN_LISTEN": admin})
    with Nginx(tmp_path / "nginx", service.url()) as nginx:
        for base in (service.url(), f"http://127.0.0.1:{nginx.port}"):
            assert {_get(base, path)[0] for path in EVERYONE} == {200}
            missing = _get(base, "/nothing")
            assert missing[0] == 404
            assert {_get(base, path) for path in GUARDED} == {missing}
            batch = httpx.post(f"{base}{ACCEPT}", json=[1, 2], trust_env=False)
            assert batch.json()["accepted"] == 2
    assert {service.look(path).status_code for path in GUARDED} == {200}
    assert service.look("/readyz").text == "ready"
    # The guard holds there, too.
    rebound = {"host": "rebound.example"}
    url = f"http://{admin}/metrics"
    assert httpx.get(url, headers=rebound, trust_env=False).status_code == 401
    if server in {Server.VERVE, Server.NATIVE}:
        done = service.command("check")
        assert done.returncode == 0, done.stdout
        assert service.stop() == 0


def test_an_admin_address_that_is_taken(serve: Serve) -> None:
    service = serve(Server.VERVE)
    other = serve(
        Server.VERVE,
        start=False,
        environment={"VERVE_ADMIN_LISTEN": f"127.0.0.1:{service.port}"},
    ).start(ready=False)
    assert other.wait_end() == 1
    assert "listens there" in other.output()


@pytest.mark.parametrize("server", [Server.GRANIAN, Server.GRANIAN_ASGI])
def test_the_native_listener_needs_verve_serve(server: Server, serve: Serve) -> None:
    service = serve(server, start=False, environment={"VERVE_LISTENER": "native"})
    service.start(ready=False)
    assert service.wait_end() != 0
    assert "hint: start the service by `verve serve`" in service.output()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--ssl-certificate", "a.pem", "--ssl-keyfile", "b.pem"], "it speaks no TLS"),
        (["--http", "2"], "it speaks HTTP/1 only"),
        (["--access-log"], "it writes no access log"),
        (["--uds", "/tmp/verve.sock"], "it serves no Unix socket"),  # noqa: S108 - it is not made
        (["--interface", "asgi"], "it needs `rsgi`"),
    ],
)
def test_what_the_native_listener_cannot_do(
    arguments: list[str], why: str, serve: Serve, tmp_path: Path
) -> None:
    for name in ("a.pem", "b.pem"):
        (tmp_path / name).write_text("", encoding="ascii")
    placed = [str(tmp_path / name) if name.endswith(".pem") else name for name in arguments]
    service = serve(Server.NATIVE, start=False, arguments=placed).start(ready=False)
    assert service.wait_end() != 0
    assert why in service.output()
    assert "VERVE_LISTENER=granian" in service.output()
