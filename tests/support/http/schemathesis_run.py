"""A run of Schemathesis, all checks, against a service with a token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.caller import FULL
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.service import Service

TOKEN = "a-token-of-the-tests-0123456789abcdef"  # noqa: S105 - of the tests alone
EXCLUDED = {"/api/verve/stream"}
"""Paths that are not asked: the stream does not end, and has tests of its own."""
EXAMPLES = 100 if FULL else 30
"""Maximum number of cases per operation and phase."""


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a run."""

    status: int
    output: str


def run(
    service: Service,
    directory: Path,
    *options: str,
    parameters: Mapping[str, str] | None = None,
) -> Run:
    """Run every phase on the document of the service.

    `parameters` are fixed values. The cases are the same each time, except in full runs, whose
    output names the seed.
    """
    config = directory / "schemathesis.toml"
    lines = [f'[auth.openapi.token]\nbearer = "{TOKEN}"\n', "[parameters]"]
    lines += [f'"{name}" = "{value}"' for name, value in (parameters or {}).items()]
    config.write_text("\n".join(lines), encoding="utf-8")
    fixed = ["--generation-database", "none"]
    if not FULL:
        fixed = ["--seed", "17", "--generation-deterministic"]
    # From a file: the address of the document is left out of a run that loads it from there.
    document = directory / "openapi.json"
    document.write_text(service.get("/openapi.json").text, encoding="utf-8")
    paths = json.loads(document.read_text(encoding="utf-8"))["paths"]
    excluded = [word for path in EXCLUDED & paths.keys() for word in ("--exclude-path", path)]
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    command += [str(document), "--url", service.url(), "--checks", "all", "--continue-on-failure"]
    command += ["--max-examples", str(EXAMPLES), "--no-color"]
    done = subprocess.run(
        [*command, *fixed, *excluded, *options],
        cwd=directory,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.support.http.schemathesis_hooks",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return Run(done.returncode, done.stdout + done.stderr)
