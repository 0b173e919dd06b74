"""Verve works with the lowest versions that `pyproject.toml` lets pip install."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import lowest
from tests.support.paths import ROOT, suites
from tests.support.service import ACCEPT, Server

if TYPE_CHECKING:
    from tests.conftest import Serve

SUITES = suites(
    "unit/archive/format/test_id_file.py",
    "unit/archive/store/test_stores.py",
    "unit/commands/test_cli.py",
    "unit/serving/test_serve.py",
    "unit/serving/test_supervisor.py",
    "unit/sinks/test_kafka_sink.py",
    "contract/http/test_fast_path.py",
    "contract/http/test_health.py",
    "contract/stores/test_client.py",
    "contract/stores/test_stores.py",
    "contract/http/test_sinks.py",
)
COMMANDS = (
    ["config"],
    ["windows", "--limit", "3", "--json"],
    ["windows", "--since", "1h"],
    ["segment", "--help"],
    ["callback", "failed"],
    ["check", "--timeout", "1"],
    ["serve", "--help"],
)


@pytest.fixture(scope="module")
def pinned() -> dict[str, str]:
    """An environment in which Python finds the lowest versions first."""
    return {**os.environ, "PYTHONPATH": str(lowest.beside())}


def test_each_has_a_lowest_version() -> None:
    assert lowest.lowest().keys() == {
        "aiokafka",
        "click",
        "granian",
        "httpx",
        "numpy",
        "obstore",
        "prometheus-client",
        "pyarrow",
        "redis",
    }
    assert "pytest" in {text.partition(">")[0] for text in lowest.for_tests()}


def test_what_is_imported_is_the_lowest(pinned: dict[str, str]) -> None:
    program = (
        "from importlib.metadata import version; import sys; print(*map(version, sys.argv[1:]))"
    )
    names = lowest.lowest()
    done = _run(pinned, "-c", program, *names)
    assert [_three(found) for found in done.stdout.split()] == list(map(_three, names.values()))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_commands(pinned: dict[str, str], tmp_path: Path, command: list[str]) -> None:
    files = {"VERVE_STATE_DIR": str(tmp_path), "VERVE_SEGMENT": str(tmp_path / "segment")}
    done = _run(pinned | files | {"VERVE_PORT": "1"}, "-m", "verve", *command)
    assert done.returncode == (command[0] == "check"), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout or command[0] in {"windows", "callback"}


def test_a_service(pinned: dict[str, str], serve: Serve) -> None:
    environment = {"PYTHONPATH": pinned["PYTHONPATH"]}
    service = serve(Server.VERVE, workers=2, window=1, environment=environment)
    assert service.get(f"{ACCEPT}?id=7").text == "ok"
    assert service.metrics()["verve_fast_path"] == 2
    batch = service.post(ACCEPT, content=b"[1, 2, 7]", headers={"content-type": "application/json"})
    assert batch.json()["accepted"] == 3
    service.wait_until(lambda: sum(m.unique for m in service.minutes()) >= 3, 10, "published")
    assert service.stop() == 0
    assert "Traceback" not in service.output()


@pytest.mark.full
@pytest.mark.timeout(590)
def test_the_suites_in_an_environment_of_their_own(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    (wheel,) = (target / "wheels").glob("*.whl")
    # All at once: what they need themselves must fit together, too.
    lowest.pip(python, f"{wheel}[all]", *lowest.pins(), *lowest.for_tests())
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITES],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "VERVE_FULL"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8_000:]


def _run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )


def _three(version: str) -> list[str]:
    return [*version.split("."), "0", "0"][:3]
