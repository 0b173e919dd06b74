"""The Dockerfile and the compose file, as their own tools judge them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

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


def test_grafana_gets_its_source_and_its_dashboard(topology: dict[str, Any]) -> None:
    """Grafana itself is not started by any test: what it reads must fit together."""
    grafana = topology["services"]["grafana"]
    files = dict(_mounted(volume) for volume in grafana["volumes"])
    provisioning = PurePosixPath("/etc/grafana/provisioning")
    [source] = _provisioned(files, provisioning / "datasources")["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    at = urlsplit(source["url"])
    # By a name of the network of compose; the port inside is the one that is published, too.
    assert at.hostname in grafana["depends_on"]
    assert f":{at.port}:{at.port}" in _text(topology["services"][at.hostname]["ports"])
    [provider] = _provisioned(files, provisioning / "dashboards")["providers"]
    assert provider["type"] == "file"
    [dashboard] = [path for path in files if path.suffix == ".json"]
    assert dashboard.parent == PurePosixPath(provider["options"]["path"])
    assert files[dashboard] == DEPLOY / "monitoring" / "dashboard.json"
    home = "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"
    assert grafana["environment"][home] == str(dashboard)


def test_each_image_has_a_version(topology: dict[str, Any]) -> None:
    for name, service in topology["services"].items():
        if "build" not in service:
            assert re.search(r":v?\d+\.\d+[\w.-]*$", service["image"]), name


def _mounted(volume: Any) -> tuple[PurePosixPath, Path]:  # noqa: ANN401 - both forms of compose
    """The place of a file in the container, and its source."""
    if isinstance(volume, dict):
        return PurePosixPath(volume["target"]), Path(volume["source"])
    source, target, *_ = volume.split(":")
    return PurePosixPath(target), Path(source)


def _provisioned(files: dict[PurePosixPath, Path], folder: PurePosixPath) -> dict[str, Any]:
    """The one file that Grafana reads from a folder."""
    [path] = [source for target, source in files.items() if target.parent == folder]
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert found["apiVersion"] == 1
    return found


def _text(ports: list[Any]) -> str:
    """The published ports as the file writes them, whatever compose makes of them."""
    return " ".join(
        f"{one['host_ip']}:{one['published']}:{one['target']}" if isinstance(one, dict) else one
        for one in ports
    )
