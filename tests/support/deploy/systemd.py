"""A systemd of its own, which runs the unit of `deploy/systemd` as it stands.

with Systemd(tmp_path, {"VERVE_WINDOW": "86400"}) as systemd:
    systemd.control("start", "verve")

It is process 1 of its own namespaces: nothing of it reaches the machine. In there the unit finds
what its guide asks for: the command in /opt/verve, the user `verve`, and /etc/verve/verve.env.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

UNIT = ROOT / "deploy" / "systemd" / "verve.service"
VERVE = "/opt/verve/bin/verve"
MANAGER = Path("/lib/systemd/systemd")
MISSING = "systemd is missing; hint: on Debian and Ubuntu: sudo apt-get install systemd"
START_SECONDS = 30.0
"""Time limit of a start, on a machine that has much else to do."""
_numbers = itertools.count()
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
_TARGETS = ("basic", "network-online", "shutdown", "start", "sysinit")

# Runs as process 1, and becomes systemd. The mounts hold in its namespace only. `/run` keeps what
# other mounts may hide: `/opt` and `/var/lib` may contain this Python or these packages.
_BOOT = f"""
set -e
mount --make-rprivate /
mount -t proc proc /proc
umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/etc /run/out /run/packages /run/python /run/systemd /run/units
mount --bind "$PYTHON_PREFIX" /run/python
mount --bind "$PACKAGES" /run/packages
cp -r "$UNITS"/. /run/units
cp -a /etc/. /run/etc
mkdir /run/etc/verve
cp "$SETTINGS" /run/etc/verve/verve.env
echo 'verve:x:990:990::/nonexistent:/usr/sbin/nologin' >>/run/etc/passwd
echo 'verve:x:990:' >>/run/etc/group
mount --bind /run/etc /etc
mount -t tmpfs tmpfs /var/lib
mount -t tmpfs tmpfs /opt
mkdir -p /opt/python /opt/verve/bin /opt/verve/lib/{_PYTHON}/site-packages
mount --bind /run/python /opt/python
mount --bind /run/packages /opt/verve/lib/{_PYTHON}/site-packages
printf 'home = /opt/python/bin\\n' >/opt/verve/pyvenv.cfg
ln -s /opt/python/bin/{_PYTHON} /opt/verve/bin/python
cat >{VERVE} <<'PROGRAM'
#!/opt/verve/bin/python
from verve.commands.entry import main
raise SystemExit(main())
PROGRAM
chmod +x {VERVE}
# As at a boot: systemd mounts credentials for its services in another namespace.
mount --make-rshared /
ip link set lo up
export container=test SYSTEMD_UNIT_PATH=/run/units SYSTEMD_LOG_TARGET=console
exec {MANAGER} --unit=start.target --show-status=false
"""
# A moved Python finds its library by this variable only.
_LIBRARIES = "LD_LIBRARY_PATH=/opt/python/lib"
_ASK = """
import sys, urllib.error, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=10) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
except OSError as error:
    print(0, error)
"""


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `systemd-analyze`; a machine without it skips the test."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip(MISSING)
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False
    )


class Systemd:
    """One systemd, for as long as the block lasts; a machine that cannot run it skips the test."""

    def __init__(self, directory: Path, settings: Mapping[str, str], drop_in: str = "") -> None:
        """`settings` go to /etc/verve/verve.env; `drop_in` are lines of `[Service]`."""
        self._directory = directory
        self._settings = settings
        self._drop_in = drop_in
        self._groups = _control_groups()
        self._group = self._groups / f"verve-test-{os.getpid()}-{next(_numbers)}"
        self._first = 0

    def __enter__(self) -> Self:
        units = self._directory / "units"
        (units / "verve.service.d").mkdir(parents=True)
        shutil.copy(UNIT, units)
        # There is no journal in here.
        log = "append:/run/out/log"
        own = f"[Service]\nStandardOutput={log}\nStandardError={log}\nEnvironment={_LIBRARIES}\n"
        (units / "verve.service.d" / "test.conf").write_text(own + self._drop_in, encoding="utf-8")
        for name in _TARGETS:
            (units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
        settings = self._directory / "verve.env"
        settings.write_text("".join(f"{name}={self._settings[name]}\n" for name in self._settings))
        self._group.mkdir()
        # The group is left once the namespace has it as its root: systemd wants it for itself.
        enter = 'echo $$ >"$0/cgroup.procs"; exec "$@"'
        spaces = ["unshare", "-m", "-p", "-u", "-i", "-C", "-n", "--fork", "--kill-child"]
        environment = {
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
            "PACKAGES": sysconfig.get_path("purelib"),
            "PYTHON_PREFIX": sys.base_prefix,
            "SETTINGS": str(settings),
            "UNITS": str(units),
        }
        with (self._directory / "console.log").open("wb") as output:
            self._process = subprocess.Popen(
                ["sh", "-c", enter, self._group, *spaces, "sh", "-c", _BOOT],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.wait_until(self._has_started, "started")
        with contextlib.suppress(OSError):
            (self._groups / "cgroup.procs").write_text(str(self._process.pid))
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # and with it process 1, and with that all of its namespace
        self._process.wait()
        groups = [self._group, *(path for path in self._group.rglob("*") if path.is_dir())]
        for group in sorted(groups, reverse=True):
            self.wait_until(partial(_is_removed, group), f"removed: {group}")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in there, as root."""
        return subprocess.run(
            ["nsenter", "-t", str(self._first), "-a", *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    def control(self, *arguments: str) -> str:
        """Run `systemctl`, which must succeed."""
        done = self.run("systemctl", *arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr}\n{self.log()[-4_000:]}"
        return done.stdout

    def shown(self, name: str) -> str:
        """A property of the unit."""
        return self.control("show", "verve", f"--property={name}", "--value").strip()

    def verve(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command `verve` as the guide says: as the service's user, with its files."""
        files = ("--state-dir", "/var/lib/verve", "--segment", "/run/verve/segment")
        user = ("runuser", "-u", "verve", "--", "env", "-C", "/", _LIBRARIES)
        return self.run(*user, VERVE, *arguments, *files)

    def get(self, path: str) -> tuple[int, str]:
        """GET from the service: its status, and its text; 0 without an answer."""
        port = self._settings.get("VERVE_PORT", "8000")
        network = ("nsenter", "-t", str(self._first), "-n")
        done = subprocess.run(
            [*network, sys.executable, "-c", _ASK, f"http://127.0.0.1:{port}{path}"],
            capture_output=True,
            text=True,
            check=True,
        )
        status, _, text = done.stdout.partition(" ")
        return int(status), text.strip()

    def wait_ready(self) -> None:
        """Wait until the service is ready."""
        self.wait_until(lambda: self.get("/readyz") == (200, "ready"), "ready")

    def wait_until(self, met: Callable[[], bool], what: str) -> None:
        """Call `met` until it is true."""
        end = time.monotonic() + START_SECONDS
        while not met():
            console = (self._directory / "console.log").read_text(errors="replace")
            assert time.monotonic() < end, f"not {what}: {console[-2_000:]}\n{self.log()[-4_000:]}"
            time.sleep(0.05)

    def log(self) -> str:
        """What the service has written."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self._first}/root/run/out/log").read_text(errors="replace")
        return ""

    def events(self) -> list[dict[str, Any]]:
        """The service's log, which `VERVE_LOG_FORMAT=json` makes readable."""
        # The commands of the unit write there too.
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def status(self, pid: int) -> dict[str, str]:
        """`/proc/<pid>/status` of a process in there."""
        text = self.run("cat", f"/proc/{pid}/status").stdout
        return {name: value.strip() for name, _, value in map(_parts, text.splitlines())}

    def _has_started(self) -> bool:
        if self._process.poll() is not None:
            said = (self._directory / "console.log").read_text(errors="replace").strip()
            _is_removed(self._group)
            pytest.skip(f"systemd does not run in a namespace of this machine: {said[-200:]}")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with contextlib.suppress(OSError, ValueError):
            self._first = int(children.read_text(encoding="ascii"))
            return self.run("systemctl", "is-active", "start.target").stdout.strip() == "active"
        return False


def _control_groups() -> Path:
    """The mount of control groups, version 2; a machine without it skips the test."""
    if os.geteuid() != 0:
        pytest.skip("systemd runs in a namespace for root only")
    if not MANAGER.exists() or shutil.which("systemctl") is None:
        pytest.skip(MISSING)
    if absent := [name for name in ("ip", "nsenter", "runuser", "unshare") if not _found(name)]:
        pytest.skip(f"missing: {', '.join(absent)}")
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, place, kind, options, *_ = line.split(" ")
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(place)
    pytest.skip("no control groups of version 2 are mounted that could be changed")


def _found(program: str) -> bool:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is not None


def _is_removed(group: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        try:
            group.rmdir()
        except OSError:
            return False  # its processes have not ended yet
    return True


def _parts(line: str) -> tuple[str, str, str]:
    return line.partition(":")
