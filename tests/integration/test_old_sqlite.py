from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.paths import suites

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.full, pytest.mark.timeout(580)]

# Its source is in a crate. RHEL 9 has 3.34, Debian 11 too, Ubuntu 20.04 has 3.31.
CRATE, SQLITE = "0.20.1", "3.33.0"
MANIFEST = f"""
[package]
name = "old"
version = "0.1.0"
edition = "2021"
[dependencies]
libsqlite3-sys = {{ version = "={CRATE}", features = ["bundled"] }}
[workspace]
"""
SUITES = suites(
    "unit/ledger/test_ledger.py",
    "unit/ledger/test_expiry.py",
    "unit/ledger/test_versions.py",
    "unit/publishing/test_outbox.py",
    "unit/publishing/test_ledger_writer.py",
    "unit/startup/test_migration.py",
    "unit/http/test_api.py",
)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which Python finds an SQLite of that version."""
    here = tmp_path_factory.mktemp("sqlite")
    (here / "src").mkdir()
    (here / "src" / "main.rs").write_text("fn main() {}\n")
    (here / "Cargo.toml").write_text(MANIFEST)
    subprocess.run(["cargo", "vendor", "--quiet"], cwd=here, check=True, capture_output=True)
    source = here / "vendor/libsqlite3-sys/sqlite3/sqlite3.c"
    # As systems build it: without `usleep` a lock would not be waited for.
    options = ["-O1", "-shared", "-fPIC", "-DHAVE_USLEEP=1", "-DSQLITE_ENABLE_DESERIALIZE"]
    made = ["-o", str(here / "libsqlite3.so.0"), "-lpthread", "-ldl", "-lm"]
    subprocess.run(["cc", *options, str(source), *made], check=True)
    return {**os.environ, "LD_LIBRARY_PATH": str(here)}


def test_the_ledger_works_with_an_old_sqlite(old: dict[str, str], tmp_path: Path) -> None:
    asked = [sys.executable, "-c", "import sqlite3; print(sqlite3.sqlite_version)"]
    found = subprocess.run(asked, env=old, capture_output=True, text=True, check=True)
    if found.stdout.strip() != SQLITE:
        pytest.skip(f"this Python has an SQLite of its own: {found.stdout.strip()}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUITES]
    done = subprocess.run(
        [*command, f"--basetemp={tmp_path / 'inner'}"],
        env=old,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8_000:]
