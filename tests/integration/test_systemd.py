from __future__ import annotations

import configparser
import json
import re
import sys
from pathlib import Path

import pytest

from tests.support.deploy.systemd import UNIT, VERVE, Systemd, analyze
from tests.support.paths import ROOT
from verve.commands import drain
from verve.config import load
from verve.serving import timers

SETTINGS = {"VERVE_WINDOW": "86400", "VERVE_WORKERS": "2", "VERVE_LOG_FORMAT": "json"}


def _unit() -> configparser.SectionProxy:
    # Of a setting that comes twice, such as `Environment`, the last one is read.
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    return parser["Service"]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The unit, with a command that this machine has: systemd looks whether it exists."""
    command = Path(sys.executable).with_name("verve")
    path = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    assert VERVE in text
    path.write_text(text.replace(VERVE, str(command)), encoding="utf-8")
    return path


def test_systemd_understands_all_of_the_unit(installed: Path) -> None:
    done = analyze("verify", "--man=no", installed)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_exposure_is_below_2(installed: Path) -> None:
    # In tenths.
    done = analyze("security", "--offline=true", "--no-pager", "--threshold=19", installed)
    assert done.returncode == 0, done.stdout


def test_a_stop_has_time_for_a_drain_and_the_kill_timeout() -> None:
    settings = load({}, {"VERVE_REDIS_URL": "redis://127.0.0.1"})
    longest = drain.DEFAULT_TIMEOUT + timers.kill_timeout(settings)
    assert int(_unit()["TimeoutStopSec"]) > longest


@pytest.mark.parametrize("listener", ["granian", "native"])
def test_the_service_works_in_the_sandbox_of_its_unit(tmp_path: Path, listener: str) -> None:
    with Systemd(tmp_path, {**SETTINGS, "VERVE_LISTENER": listener}) as systemd:
        systemd.control("start", "verve")
        systemd.wait_ready()
        _check_sandbox(systemd)
        assert systemd.get("/api/verve/accept?id=7") == (200, "ok")

        # All processes at once: systemd starts the service again, and its minute goes on.
        systemd.control("kill", "--signal=KILL", "verve")
        systemd.wait_until(lambda: systemd.shown("NRestarts") == "1", "started again")
        systemd.wait_ready()
        assert systemd.get("/api/verve/accept?id=8") == (200, "ok")
        assert _unique(systemd) == 2

        main = systemd.shown("MainPID")
        before = _workers(systemd)
        systemd.control("reload", "verve")
        systemd.wait_until(lambda: not before & _workers(systemd), "reloaded")
        assert systemd.shown("MainPID") == main

        found = systemd.verve("check")
        assert found.returncode == 0, found.stdout
        done = systemd.verve("drain", "--wait")
        assert done.returncode == 0, done.stderr
        assert systemd.get("/readyz")[0] == 503
        systemd.control("stop", "verve")
        assert systemd.shown("Result") == "success"

        # The directory of the segment outlives the service.
        assert systemd.run("ls", "/run/verve/segment").returncode == 0
        systemd.control("start", "verve")
        systemd.wait_ready()
        assert _unique(systemd) == 2
        systemd.control("stop", "verve")
        assert [one for one in systemd.events() if one["level"] in {"WARNING", "ERROR"}] == []


def test_the_drop_ins_of_the_guide_work(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "guides" / "systemd.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```ini\n\[Service\]\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    settings = {**SETTINGS, "VERVE_PORT": "80", "VERVE_ADMIN_TOKEN_FILE": "/etc/verve/token"}
    settings |= {"VERVE_ARCHIVE": "/srv/verve/ids", "VERVE_WINDOW": "2"}
    with Systemd(tmp_path, settings, "".join(blocks)) as systemd:
        for install in (
            "echo secret >/run/token; install -m 640 -g verve /run/token /etc/verve/token",
            "mount -t tmpfs tmpfs /srv && install -d -o verve -g verve -m 700 /srv/verve/ids",
        ):
            assert systemd.run("sh", "-c", install).returncode == 0
        systemd.control("start", "verve")
        systemd.wait_ready()
        # The token holds for the loopback too.
        assert systemd.get("/api/verve/current")[0] == 401
        files = "find", "/srv/verve/ids", "-name", "*.parquet"
        systemd.wait_until(lambda: systemd.run(*files).stdout != "", "archived")
        find = "grep -la '[v]erve.archive.writer' /proc/[0-9]*/cmdline"
        (writer,) = systemd.run("sh", "-c", find).stdout.split()
        # Its policy is the idle one: the unit lets it step back.
        stat = writer.replace("cmdline", "stat")
        assert systemd.run("cut", "-d ", "-f41", stat).stdout == "5\n"
        systemd.control("stop", "verve")
        assert systemd.shown("Result") == "success"
        events = [one["event"] for one in systemd.events()]
        assert events.count("service.draining") == 1, systemd.log()


def _check_sandbox(systemd: Systemd) -> None:
    """Each worker runs as the unit says."""
    for pid in _workers(systemd):
        status = systemd.status(pid)
        assert status["Seccomp"] == "2"
        assert status["NoNewPrivs"] == "1"
        assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
        assert set(status["Uid"].split()) == {"990"}
    owner = systemd.run("stat", "-c", "%U %a", "/run/verve", "/run/verve/segment", "/var/lib/verve")
    assert owner.stdout.split("\n")[:3] == ["verve 700", "verve 600", "verve 700"]
    assert systemd.shown("MemoryMax") == str(2**30)
    assert systemd.shown("LimitNOFILE") == "65536"


def _workers(systemd: Systemd) -> set[int]:
    """The processes of the service that have the segment mapped, except its parent."""
    main = systemd.shown("MainPID")
    text = systemd.run("grep", "-l", "/run/verve/segment$", "-r", "/proc", "--include=maps").stdout
    found = {match[1] for match in re.finditer(r"^/proc/([0-9]+)/maps$", text, re.MULTILINE)}
    return {int(pid) for pid in found if pid != main}


def _unique(systemd: Systemd) -> int:
    return int(json.loads(systemd.get("/api/verve/current")[1])["unique"])
