from __future__ import annotations

import subprocess
import sys

import pytest

from verve import platforms

SENTENCE = "Verve runs on Linux, and for development on macOS, but not on `win32`."


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_a_supported_platform(platform: str) -> None:
    platforms.check(platform)


@pytest.mark.parametrize("platform", ["win32", "cygwin", "emscripten"])
def test_another_platform_is_refused_with_one_sentence(platform: str) -> None:
    with pytest.raises(ImportError) as caught:
        platforms.check(platform)
    assert str(caught.value) == SENTENCE.replace("win32", platform)


@pytest.mark.parametrize("run", ["import verve", "from verve.commands.entry import main; main()"])
def test_neither_the_package_nor_the_command_starts_there(run: str) -> None:
    code = f"import os, sys; sys.platform = 'win32'; {run}"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"ImportError: {SENTENCE}"
