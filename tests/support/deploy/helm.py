"""The Helm chart, rendered by a real Helm: its objects as Kubernetes would get them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT

CHART = ROOT / "deploy" / "helm" / "verve"
VALUES = ROOT / "deploy" / "helm" / "ci"
SETS = sorted(path.stem for path in VALUES.glob("*.yaml"))
"""The names of the chart's sets of values."""
Object = dict[str, Any]


@cache
def helm() -> str:
    """The program: the one that scripts/setup built, else one in `PATH`.

    A machine without it skips the test.
    """
    text = (ROOT / "scripts" / "setup").read_text(encoding="utf-8")
    (version,) = re.findall(r"^helm_version=(\S+)$", text, re.MULTILINE)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    built = caches / "verve" / f"helm-{version}" / "helm"
    found = str(built) if built.is_file() else shutil.which("helm")
    if found is None:
        pytest.skip("helm is missing; hint: install Go, and scripts/setup dev builds it")
    return found


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Helm."""
    return subprocess.run([helm(), *arguments], capture_output=True, text=True, check=False)


def values_of(name: str) -> Path:
    """The file of a set of values."""
    return VALUES / f"{name}.yaml"


def template(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Render the chart as the release `shop` of the namespace `counting`."""
    return run("template", "shop", CHART, "--namespace", "counting", *arguments)


def render(*arguments: str | Path) -> list[Object]:
    """The objects that the chart gives."""
    done = template(*arguments)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one is not None]


@cache
def rendered(name: str) -> tuple[Object, ...]:
    """The objects of a set of values."""
    return tuple(render("--values", values_of(name)))


def one(objects: tuple[Object, ...] | list[Object], kind: str, name: str = "shop-verve") -> Object:
    """The object of a kind and a name."""
    (found,) = [o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name)]
    return found
