"""`verve check --ready` against every server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import verve
from tests.support.network.certificates import certificate
from tests.support.network.ports import free_port
from tests.support.redis.server import RedisServer
from tests.support.service import Server

if TYPE_CHECKING:
    from tests.conftest import Serve
    from tests.support.service import Service

_PACKAGES = str(Path(verve.__file__).parents[1])


def test_a_service_is_ready(service: Service) -> None:
    done = service.command("check", "--ready")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"ok   service  ready: `{service.url('/readyz')}`\n"
    for url in (service.url(), f"{service.url()}/"):
        assert service.command("check", "--ready", f"--url={url}").returncode == 0


def test_the_settings_file_names_the_port(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "verve.toml"
    file.write_text(f"port = {service.port}\n")
    environment = {"VERVE_PORT": "", "VERVE_CONFIG": str(file)}
    done = service.command("check", "--ready", environment=environment)
    assert done.stdout == f"ok   service  ready: `{service.url('/readyz')}`\n"
    done = service.command("check", "--config", str(file), "--ready", "--port", str(free_port()))
    assert (done.returncode, done.stdout[:4]) == (1, "FAIL")


@pytest.mark.parametrize("server", [Server.VERVE, Server.UVICORN, Server.NATIVE])
def test_a_service_that_does_not_answer(serve: Serve, server: Server) -> None:
    service = serve(server)
    service.kill()
    done = service.command("check", "--ready", "--timeout", "5")
    assert done.returncode == 1
    assert done.stdout.startswith("FAIL service  no answer: Connection refused")


def _await_degraded(service: Service) -> None:
    def degraded() -> bool:
        done = service.command("check", "--ready")
        assert done.returncode == 0, done.stdout
        return "degraded" in done.stdout

    service.wait_until(degraded, 60, "degraded")
    assert service.command("check").returncode == 1


@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE])
def test_an_outage_of_redis_is_no_failure(serve: Serve, server: Server, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as redis:
        environment = {"VERVE_REDIS_URL": redis.url, "VERVE_CLUSTER": "outage"}
        service = serve(server, window=1, environment=environment)
        redis.kill()
        _await_degraded(service)
        service.kill()


@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE])
def test_an_outage_of_kafka_is_no_failure(serve: Serve, server: Server) -> None:
    environment = {"VERVE_KAFKA_BROKERS": f"127.0.0.1:{free_port()}"}
    _await_degraded(serve(server, window=1, environment=environment))


def test_a_unix_socket(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "s"
    service = serve(Server.VERVE, start=False, arguments=[f"--uds={path}"])
    done = service.command("check", "--ready", "--uds", str(path))
    assert done.stdout == f"FAIL service  no answer: No such file or directory: `unix:{path}`\n"
    service.start(ready=False)
    variable = {"GRANIAN_UDS": str(path)}

    def ready() -> bool:
        found = [
            service.command("check", "--ready", f"--uds={path}").stdout,
            service.command("check", "--ready", environment=variable).stdout,
        ]
        return found == [f"ok   service  ready: `unix:{path}`\n"] * 2

    service.wait_until(ready, 30, "ready")
    service.stop()
    assert service.command("check", "--ready", environment=variable).returncode == 1


@pytest.mark.parametrize("server", [Server.VERVE, Server.GRANIAN_ASGI, Server.UVICORN])
def test_the_admin_address(serve: Serve, server: Server) -> None:
    admin = f"127.0.0.1:{free_port()}"
    service = serve(server, environment={"VERVE_ADMIN_LISTEN": admin})
    done = service.command("check", "--ready", "--at-admin")
    assert done.stdout == f"ok   service  ready: `http://{admin}/readyz`\n"


_MODULES = """
import sys
from verve.commands.entry import main
try:
    main()
finally:
    known = {*sys.stdlib_module_names, "verve", "__main__"}
    print(*sorted({name.partition(".")[0] for name in sys.modules} - known), file=sys.stderr)
"""


def test_over_tls_with_the_standard_library_alone(serve: Serve, tmp_path: Path) -> None:
    trusted = certificate(tmp_path, "service")
    flags = ["--ssl-certificate", str(trusted), "--ssl-keyfile", str(tmp_path / "service.key")]
    service = serve(Server.VERVE, start=False, arguments=flags)
    service.start(ready=False)
    url = f"https://127.0.0.1:{service.port}"

    def asked(*trust: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-S", "-c", _MODULES, "check", "--ready", f"--url={url}"],
            env={"SSL_CERT_FILE": trust[0] if trust else "/dev/null", "PYTHONPATH": _PACKAGES},
            capture_output=True,
            text=True,
            check=False,
        )

    service.wait_until(lambda: asked(str(trusted)).returncode == 0, 30, "ready over TLS")
    done = asked(str(trusted))
    assert (done.stdout, done.stderr.strip()) == (f"ok   service  ready: `{url}/readyz`\n", "")
    refused = asked()
    assert refused.returncode == 1
    assert refused.stdout.startswith("FAIL service  no answer: ")
    assert "certificate verify failed" in refused.stdout
