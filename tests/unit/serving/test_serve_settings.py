"""Settings are read once, by the process that starts the service; its workers never read them."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.network.certificates import certificate
from tests.support.network.ports import free_port
from tests.support.redis.server import RedisServer
from tests.support.service import Server
from verve import segment_identity

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.service import Service

SECRET = "s3cret-of-the-file"  # noqa: S105 - of a test
SPAWNING = """
import multiprocessing, sys
if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    from verve.commands.cli import main
    main(sys.argv[4:], prog_name="verve")
"""


@pytest.fixture(params=["fork", "spawn"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """What starts `verve serve`, with workers as of Linux or as of macOS and Python 3.14."""
    if request.param == "fork":
        return []
    script = tmp_path / "spawning.py"
    script.write_text(SPAWNING)
    return [sys.executable, str(script)]


def _guarded(service: Service) -> bool:
    """Whether a worker asks for the secret, and takes it."""
    bearer = {"authorization": f"Bearer {SECRET}"}
    path = "/api/verve/current"
    statuses = [service.get(path).status_code, service.get(path, headers=bearer).status_code]
    assert statuses[1] == 200
    return statuses[0] == 401


def _kill_one(service: Service) -> None:
    before = service.workers()
    os.kill(before[0], signal.SIGKILL)
    service.wait_until(
        lambda: len(now := service.workers()) == len(before) and before[0] not in now,
        15,
        "whole again",
    )


def test_files_that_change_reach_no_worker(
    serve: Serve, tmp_path: Path, command: list[str]
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    authority = certificate(files, "authority")
    (files / "token").write_text(SECRET)
    (files / "verve.toml").write_text(f"""
cluster = "of the file"
window = 3600
callbacks = "public"
callback_ca = "{authority}"
admin_token_file = "{files / "token"}"
""")
    service = serve(
        Server.VERVE,
        workers=2,
        window=3600,
        command=command,
        arguments=["--config", str(files / "verve.toml"), "--cluster", "", "--callbacks", "public"],
        environment={"VERVE_WINDOW": ""},
        token=SECRET,
    )
    assert _guarded(service)
    # The flag that is empty takes the place of the file's.
    assert segment_identity(service.segment)["cluster"] == ""
    shutil.rmtree(files)
    files.mkdir()
    (files / "verve.toml").write_text("windw = ")
    _kill_one(service)
    _kill_one(service)
    service.wait_ready()
    assert _guarded(service)
    assert service.get("/api/verve/accept?id=7&endpoint=https%3A%2F%2F127.0.0.1").status_code == 400
    for process in service.processes():
        for name in ("cmdline", "environ"):
            assert SECRET.encode() not in Path(f"/proc/{process}/{name}").read_bytes()
    assert service.events("worker.refused") == []
    assert service.stop() == 0


def test_a_reload_keeps_the_settings(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "verve.toml"
    file.write_text('max_body = "1KiB"')
    service = serve(
        Server.VERVE,
        arguments=["--config", str(file), "--respawn-interval", "0.1"],
    )
    before = service.workers()
    file.write_text('max_body = "1MiB"')
    service.signal(signal.SIGHUP)
    service.wait_until(lambda: len(now := service.workers()) == 1 and now != before, 15, "reloaded")
    service.wait_ready()
    answer = service.post(content=b"1\n" * 1024, headers={"content-type": "text/plain"})
    assert answer.status_code == 413


def test_a_secret_from_a_pipe(serve: Serve, tmp_path: Path) -> None:
    """As of `--admin-token-file <(pass verve)`: it can be read once only."""
    pipe = tmp_path / "token"
    os.mkfifo(pipe)
    service = serve(
        Server.VERVE,
        start=False,
        arguments=["--admin-token-file", str(pipe)],
        token=SECRET,
    )
    service.start(ready=False)
    pipe.write_text(SECRET)
    service.wait_ready()
    assert _guarded(service)


def test_pem_files_that_are_gone_keep_no_worker_from_starting(
    serve: Serve, tmp_path: Path, cluster: str
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    theirs = certificate(files, "theirs")
    authority = files / "authority.pem"
    shutil.copy(theirs, authority)
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(theirs), "--tls-key-file", str(theirs)]
    tls += ["--tls-ca-cert-file", str(theirs), "--tls-auth-clients", "no"]
    with RedisServer(tmp_path / "redis", *tls):
        service = serve(
            Server.VERVE,
            workers=2,
            environment={
                "VERVE_REDIS_URL": f"rediss://127.0.0.1:{port}",
                "VERVE_REDIS_TLS_CA": str(authority),
                "VERVE_CLUSTER": cluster,
                "VERVE_SINKS": "log,kafka",
                "VERVE_KAFKA_BROKERS": "127.0.0.1:1",
                "VERVE_KAFKA_TLS": "on",
                "VERVE_KAFKA_TLS_CA": str(authority),
            },
        )
        authority.unlink()
        _kill_one(service)
        assert service.get("/api/verve/accept?id=7").text == "ok"
        assert service.events("worker.refused") == []
        # They are read anew for each connection, so that one that is back is used.
        shutil.copy(theirs, authority)
        service.wait_until(lambda: service.metrics()["verve_redis_up"] == 1, 15, "up again")
