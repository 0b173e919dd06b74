"""The image of Verve, built from `deploy/Dockerfile` without any registry of images.

Both bases are Debian's packages. The base of the build has the wheel that is tested, so nothing is
compiled.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.container.engine import CACHE, ContainerError, podman
from tests.support.paths import ROOT

SUITE = "bookworm"
BASE = f"localhost/debian-python:{SUITE}"
_CARRIER = "localhost/verve-wheels"
_IMAGE = "localhost/verve"
_PACKAGES = "python3,python3-venv,ca-certificates"


@dataclass(frozen=True, slots=True)
class Image:
    """An image that was built, in bytes and seconds."""

    name: str
    size: int
    base_size: int
    build_seconds: float


def build() -> Image:
    """Build the image. Debian's packages are fetched once."""
    if BASE not in podman("images", "--format", "{{.Repository}}:{{.Tag}}"):
        podman("import", str(_base_archive()), BASE)
    with TemporaryDirectory() as directory:
        _gather_wheels(Path(directory))
        build_image(Path(directory), Path(directory) / "Dockerfile", _CARRIER)
    began = time.monotonic()
    bases = ("--build-arg", f"BUILD={_CARRIER}", "--build-arg", f"BASE={BASE}")
    offline = ("--build-arg", "PIP_NO_INDEX=1")
    build_image(ROOT, ROOT / "deploy" / "Dockerfile", _IMAGE, *bases, *offline)
    seconds = time.monotonic() - began
    return Image(_IMAGE, _size(_IMAGE), _size(BASE), seconds)


def _base_archive() -> Path:
    """Debian with Python, as an archive."""
    archive = CACHE / f"debian-{SUITE}.tar"
    if archive.exists():
        return archive
    CACHE.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=CACHE) as directory:
        root, partial = Path(directory) / "root", Path(directory) / "partial.tar"
        _run("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", SUITE, str(root))
        left_out = [f"--exclude=./{one}/*" for one in ("var/cache/apt", "var/lib/apt/lists")]
        _run("tar", "--create", "--file", str(partial), *left_out, "--directory", str(root), ".")
        partial.rename(archive)
    return archive


def _gather_wheels(directory: Path) -> None:
    """The wheel that is tested, and all that it needs under the Python of the base."""
    (wheel,) = (ROOT / "target" / "wheels").glob("verve_counter-*.whl")
    wheels = directory / "wheels"
    wheels.mkdir()
    wanted = ["--python-version", "3.11", "--only-binary", ":all:", "--quiet"]
    pip = [sys.executable, "-m", "pip", "download", "--dest", str(wheels), *wanted]
    _run(*pip, f"{wheel}[redis,kafka]")
    shutil.copy(wheel, wheels)
    (directory / "Dockerfile").write_text(f"FROM {BASE}\nCOPY wheels /wheels\n")


def build_image(context: Path, file: Path, name: str, *options: str) -> None:
    """Build one image from a Dockerfile."""
    podman(
        *("build", "--isolation", "chroot", "--format", "docker", "--layers=false"),
        *("--file", str(file), "--tag", name, *options, str(context)),
    )


def _size(name: str) -> int:
    (found,) = json.loads(podman("image", "inspect", name))
    return int(found["Size"])


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        raise ContainerError(f"{' '.join(command)} failed:\n{(done.stdout + done.stderr)[-2_000:]}")
