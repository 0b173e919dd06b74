"""podman, as root, with a store of its own below `.cache`: nothing of the user's is touched."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from tests.support.paths import ROOT

CACHE = ROOT / ".cache" / "container"
_STORE = CACHE / "store"
_PROGRAMS = {"podman": "podman", "runc": "runc", "buildah": "buildah", "debootstrap": "debootstrap"}


class ContainerError(AssertionError):
    """podman failed; the message contains its output."""


def path_of(name: str) -> str | None:
    """The path of a program that Debian puts where only root's PATH leads."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def require() -> None:
    """Skip the test where no container can run; in CI it fails."""
    missing = [name for name in _PROGRAMS if path_of(name) is None]
    why = None
    if os.geteuid() != 0:
        why = "containers are tested as root"
    elif missing:
        packages = " ".join(_PROGRAMS[name] for name in missing)
        why = f"{', '.join(missing)} is missing; hint: on Debian: sudo apt-get install {packages}"
    if why is None:
        return
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def podman(*arguments: str, check: bool = True, timeout: float = 600) -> str:
    """Run podman and return what it printed, errors included."""
    runtime = path_of("runc") or "runc"
    command = ["podman", "--root", str(_STORE), "--runroot", str(CACHE / "run")]
    command += ["--storage-driver", "vfs", "--runtime", runtime, "--cgroup-manager", "cgroupfs"]
    # Health checks are run by the tests: without systemd, podman only warns that it runs none.
    command += ["--log-level", "fatal"]
    done = subprocess.run(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        raise ContainerError(f"podman {' '.join(arguments)} failed:\n{done.stdout[-4_000:]}")
    return done.stdout
