from __future__ import annotations

import subprocess
import sys
from importlib import metadata

from tests.support.paths import ROOT

FILE = "LICENSES-THIRD-PARTY.txt"


def test_the_licences_are_those_of_what_is_linked() -> None:
    command = [sys.executable, "scripts/licences.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_wheel_has_them() -> None:
    (inside,) = (one for one in metadata.files("verve-counter") or () if one.name == FILE)
    assert inside.read_text(encoding="utf-8") == (ROOT / FILE).read_text(encoding="utf-8")
    assert "uplot (the live page)" in inside.read_text(encoding="utf-8")
