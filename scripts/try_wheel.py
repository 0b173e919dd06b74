"""Install a wheel in an empty environment of each supported Python, and use it there.

    python scripts/try_wheel.py WHEEL [VERSION...]

Each environment gets the wheel and what it requires, nothing else. It counts with the library,
serves, answers an accept over HTTP, and runs `verve check`. A Python that this machine lacks is
named as not tested.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
READY_SECONDS = 300
"""Under an emulator, on a busy machine, a start takes a minute."""
STOP_SECONDS = 120
COUNT = """
import sys, verve
with verve.Counter(sys.argv[1], max_ids=100_000) as counter:
    new = counter.add_many([n % 10_000 for n in range(50_000)]) + counter.add(10_000)
    assert (new, counter.count()) == (10_001, 10_001), (new, counter.count())
    assert counter.seal().unique == 10_001
"""


def find_python(version: str) -> Path | None:
    """An interpreter of the version: in PATH, or one of pyenv; None if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python"))]
    for candidate in filter(None, candidates):
        # A shim of pyenv is in PATH also for versions that it refuses to run.
        asked = [str(candidate), "-c", "import ensurepip, sys, venv; print(sys.executable)"]
        found = subprocess.run(asked, check=False, capture_output=True, text=True)
        if found.returncode == 0:
            return Path(found.stdout.strip())
    return None


def free_port() -> int:
    """A port of the loopback that nobody uses right now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def serving(verve: str, arguments: list[str], directory: Path) -> Iterator[None]:
    """A running `verve serve`, which ends well when the block ends."""
    output = directory / "output.log"
    with output.open("wb") as log:
        service = subprocess.Popen(
            [verve, "serve", *arguments], cwd=directory, stdout=log, stderr=log
        )
        try:
            yield
            service.send_signal(signal.SIGTERM)
            code = service.wait(STOP_SECONDS)
        except BaseException:
            print(output.read_text(errors="replace"), file=sys.stderr)
            raise
        finally:
            service.kill()
            service.wait()
    if code:
        raise RuntimeError(f"`verve serve` ended with {code}")


def wait_until_ready(verve: str, arguments: list[str], directory: Path) -> None:
    """Ask until the service is ready."""
    deadline = time.monotonic() + READY_SECONDS
    asked = [verve, "check", "--ready", *arguments]
    while subprocess.run(asked, cwd=directory, check=False, capture_output=True).returncode:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the service is not ready after {READY_SECONDS} s")
        time.sleep(0.2)


def try_wheel(python: Path, wheel: Path, directory: Path) -> None:
    """Use the wheel with one Python. Raises what goes wrong."""
    environment = directory / "environment"
    subprocess.run([str(python), "-m", "venv", str(environment)], check=True)
    own, verve = str(environment / "bin/python"), str(environment / "bin/verve")
    quiet = ["--quiet", "--disable-pip-version-check"]
    subprocess.run([own, "-m", "pip", "install", *quiet, str(wheel)], check=True)
    counted = directory / "counted"
    subprocess.run([own, "-I", "-c", COUNT, str(counted)], check=True, cwd=directory)

    port = free_port()
    files = ["--state-dir", str(directory / "state"), "--segment", str(directory / "segment")]
    at = ["--port", str(port)]
    with serving(verve, [*at, *files, "--workers", "2"], directory):
        wait_until_ready(verve, at, directory)
        address = f"http://127.0.0.1:{port}/api/verve/accept?id=7"
        with urllib.request.urlopen(address, timeout=10) as answer:
            if (said := answer.read()) != b"ok":
                raise RuntimeError(f"the accept was answered with `{said!r}`")
        subprocess.run([verve, "check", *at, *files], check=True, cwd=directory)


def main() -> None:
    """Try each version; fail if one failed, or none was there."""
    wheel = Path(sys.argv[1]).resolve()
    failed, passed = [], []
    for version in sys.argv[2:] or VERSIONS:
        if (python := find_python(version)) is None:
            print(f"not tested: Python {version} is not on this machine", flush=True)
            continue
        # The environment of this program must not decide for the one that is tried.
        virtual = [name for name in os.environ if name.startswith(("VERVE_", "PYTHON"))]
        for name in virtual:
            del os.environ[name]
        try:
            with tempfile.TemporaryDirectory() as directory:
                try_wheel(python, wheel, Path(directory))
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            failed.append(version)
            print(f"FAILED: Python {version} ({python}): {error}", flush=True)
        else:
            passed.append(version)
            print(f"ok: Python {version} ({python})", flush=True)
    if failed or not passed:
        sys.exit(1)


if __name__ == "__main__":
    main()
