"""The Dockerfile and the compose file, as their own tools judge them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.container import composition
from tests.support.paths import ROOT

DEPLOY = ROOT / "deploy"


def _require(condition: object, why: str) -> None:
    """Skip the test if what it needs is missing; in CI it fails."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@pytest.fixture(scope="module")
def topology() -> dict[str, Any]:
    """The compose file as compose reads it."""
    compose = composition.program()
    _require(compose, "docker compose is missing; hint: on Debian: apt-get install docker-compose")
    read = [*(compose or ()), "--file", str(composition.COMPOSE), "config"]
    done = subprocess.run(read, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Debian's compose prints YAML only, and brings a reader for it to its own Python.
    program = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)"
    for python in (sys.executable, "/usr/bin/python3"):
        found = subprocess.run(
            [python, "-c", program], input=done.stdout, capture_output=True, text=True, check=False
        )
        if found.returncode == 0:
            return dict(json.loads(found.stdout))
    pytest.fail(found.stderr)


def test_the_dockerfile_is_clean() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    _require(hadolint.exists(), "hadolint is missing; hint: scripts/setup dev installs it")
    done = subprocess.run(
        [hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_compose_has_the_whole_topology(topology: dict[str, Any]) -> None:
    services = topology["services"]
    parts = {"haproxy", "redis", "kafka", "receiver", "prometheus", "grafana"}
    assert parts < services.keys()
    hosts = [services["verve-1"], services["verve-2"]]
    for host in hosts:
        assert host["read_only"] is True
        assert host["environment"]["VERVE_REDIS_URL"] == "redis://redis:6379"
        assert host["environment"]["VERVE_CLUSTER"]
    assert hosts[0]["hostname"] != hosts[1]["hostname"]


def test_what_compose_mounts_exists(topology: dict[str, Any]) -> None:
    mounted = []
    for service in topology["services"].values():
        for volume in service.get("volumes", ()):
            source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
            if source.startswith("/"):
                mounted.append(Path(source))
    assert len(mounted) >= 6
    assert [path for path in mounted if not path.is_file()] == []


def test_nothing_is_published_beyond_this_machine(topology: dict[str, Any]) -> None:
    for service in topology["services"].values():
        for port in service.get("ports", ()):
            shown = port["host_ip"] if isinstance(port, dict) else port
            assert shown.startswith("127.0.0.1"), port
