"""podman, as root, with a store of its own below `.cache`: nothing of the user's is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.support.paths import ROOT

CACHE = ROOT / ".cache" / "container"
_PROGRAMS = {
    "podman": "podman",
    "runc": "runc",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    # For the networks of the compose file, and its containers with a process 1 of podman's.
    "netavark": "netavark",
    "aardvark-dns": "aardvark-dns",
    "catatonit": "catatonit",
    "iptables": "iptables",
}
_SETTINGS = """\
[network]
network_backend = "netavark"
network_config_dir = "{networks}"
[containers]
# podman's own defaults are above what a machine may permit.
default_ulimits = ["nofile=10000:10000", "nproc=4000:4000"]
"""


class ContainerError(AssertionError):
    """podman failed; the message contains its output."""


def path_of(name: str) -> str | None:
    """The path of a program that Debian puts where only root's PATH leads, or podman's."""
    places = ("/usr/sbin", "/sbin", "/usr/lib/podman", "/usr/libexec/podman")
    return shutil.which(name, path=":".join((os.environ["PATH"], *places)))


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
    done = subprocess.run(
        [*command(), *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode:
        raise ContainerError(f"podman {' '.join(arguments)} failed:\n{done.stdout[-4_000:]}")
    return done.stdout


def command() -> list[str]:
    """The program and its options."""
    driver = _driver()
    store = ["--root", str(CACHE / f"store-{driver}"), "--runroot", str(CACHE / "run")]
    runtime = ["--runtime", path_of("runc") or "runc", "--cgroup-manager", "cgroupfs"]
    # Health checks are run by the tests: without systemd, podman only warns that it runs none.
    return ["podman", *store, "--storage-driver", driver, *runtime, "--log-level", "fatal"]


@cache
def environment() -> dict[str, str]:
    """The variables for podman, with the path of its settings."""
    CACHE.mkdir(parents=True, exist_ok=True)
    file = CACHE / "containers.conf"
    file.write_text(_SETTINGS.format(networks=CACHE / "networks"))
    return {**os.environ, "CONTAINERS_CONF": str(file)}


@cache
def _driver() -> str:
    """How layers are kept: stacked where the kernel can do that below `.cache`, else copied."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        lower, upper, work, merged = (Path(name) / one for one in ("l", "u", "w", "m"))
        for one in (lower, upper, work, merged):
            one.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            return "vfs"
        subprocess.run(["umount", str(merged)], check=True)
    return "overlay"
