"""`verve serve` as its users run it: real processes, real kills."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.network.ports import free_port
from tests.support.service import ACCEPT, Server
from verve.ledger.lock_holder import holders, parent_and_state

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Serve
    from tests.support.service import Service


def _alive(pid: int) -> bool:
    found = parent_and_state(pid)
    return found is not None and found[1] not in {"Z", "X"}


def test_it_serves_and_stops(serve: Serve) -> None:
    service = serve(Server.VERVE, workers=2, window=1, environment={"VERVE_PROT": "9000"})
    assert service.get(f"{ACCEPT}?id=7").text == "ok"
    service.wait_until(lambda: any(m.unique == 1 for m in service.minutes()), 5, "counted")
    processes = service.processes()
    assert service.stop() == 0
    assert not any(_alive(pid) for pid in processes)
    (line,) = service.events("service.starting")
    assert (line["workers"], line["window"], line["port"]) == (2, 1, service.port)
    assert line["segment"] == str(service.segment)
    assert len(service.events("service.stopped")) == 1
    odd = [line["warning"] for line in service.events("setting.odd") if "PROT" in line["warning"]]
    assert odd == ["unknown setting in the environment: `VERVE_PROT`, did you mean `VERVE_PORT`?"]
    # All of its lines are ours, those of Granian too.
    assert all(text.startswith("{") for text in service.output().splitlines())


def test_it_survives_many_kills(serve: Serve) -> None:
    service = serve(Server.VERVE, workers=3, window=1)
    randomness = random.Random(7)
    for number in range(15):
        workers = service.wait_until(service.workers, 10, "serving")
        for victim in randomness.sample(workers, min(len(workers), 1 + number % 2)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        time.sleep(randomness.choice([0, 0.05, 0.2]))
    service.wait_until(lambda: len(service.workers()) == 3, 15, "whole again")
    service.wait_ready()
    assert service.get(f"{ACCEPT}?id=7").text == "ok"
    starts = [minute.window_start for minute in service.minutes()]
    assert sorted(set(starts)) == [*range(min(starts), max(starts) + 1)]
    assert service.stop() == 0


def test_no_orphan_goes_on_serving(serve: Serve) -> None:
    service = serve(Server.VERVE, workers=2)
    processes = service.processes()
    with httpx.Client() as client:
        # A connection that is kept alive does not hold them.
        client.get(service.url("/livez"))
        os.kill(service.pid, signal.SIGKILL)
        start = time.monotonic()
        service.wait_until(lambda: not any(map(_alive, processes)), 20, "gone")
    assert time.monotonic() - start < 15
    with pytest.raises(httpx.TransportError):
        service.get("/livez")


def _stop_inside_a_commit(service: Service, ledger: Path) -> int:
    """Stop the workers as soon as one writes to the ledger: its commit ends after that."""
    log = ledger.with_name(f"{ledger.name}-wal")
    for _ in range(30):
        workers = service.workers()
        time.sleep(service.window - time.time() % service.window)
        before = log.stat().st_mtime_ns
        end = time.monotonic() + 0.5
        while log.stat().st_mtime_ns == before and time.monotonic() < end:
            pass
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(0.01)
        inside = holders(ledger)
        for pid in workers:
            if pid not in inside:
                os.kill(pid, signal.SIGCONT)
        if inside:
            return min(inside)
    raise service.error("nobody was caught inside a commit")


def test_one_that_is_stopped_inside_a_commit_is_killed(serve: Serve) -> None:
    service = serve(Server.VERVE, workers=2, window=1)
    path = service.state_directory / "ledger.sqlite3"

    stopped = _stop_inside_a_commit(service, path)
    service.wait_until(lambda: not _alive(stopped), 10, "killed")
    service.wait_until(lambda: service.events("ledger.recovered"), 10, "recovered")
    assert [line["pid"] for line in service.events("ledger.holder_killed")] == [stopped]
    service.wait_until(lambda: len(service.workers()) == 2, 10, "whole again")
    logged = [minute.window_start for minute in service.minutes()]
    assert logged == [*range(logged[0], logged[0] + len(logged))]


def _serve_more(*arguments: str, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "verve", "serve", *arguments],
        env={**{k: v for k, v in os.environ.items() if not k.startswith("VERVE_")}, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


def test_a_second_service_is_told_which_one_runs(serve: Serve) -> None:
    service = serve(Server.VERVE)
    code, said = _serve_more("--state-dir", str(service.state_directory), "--port", "1")
    assert code == 1
    assert f"another `verve serve` (process {service.pid})" in said
    assert f"`{service.state_directory}`\n  hint: " in said


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        code, said = _serve_more("--state-dir", str(tmp_path), "--port", str(port))
    assert code == 1
    assert f"another process listens there: `127.0.0.1:{port}`" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--windw", "2"], "unknown flag `--windw`\n  hint: did you mean `--window`?"),
        (["--blocking-thread", "2"], "did you mean `--blocking-threads`?"),
        (["--window", "x"], "the setting `window` (flag) is no length of time: `x`"),
        (["--loop", "nonsense"], "'nonsense' is not one of"),
    ],
)
def test_what_it_does_not_understand(tmp_path: Path, arguments: list[str], said: str) -> None:
    files = ["--state-dir", str(tmp_path), "--segment", str(tmp_path / "segment")]
    code, output = _serve_more(*files, *arguments)
    assert code != 0
    assert said in output
    assert "Traceback" not in output


def test_a_state_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, said = _serve_more("--state-dir", str(tmp_path / "file" / "state"))
    assert code == 1
    assert "the state directory cannot be used: Not a directory" in said


def test_workers_that_cannot_start_end_it(tmp_path: Path) -> None:
    segment = tmp_path / "segment"
    code = f"""
import os
from verve.serving import restart_policy, serve
# However slow the machine is.
restart_policy.SOON = 60
# The parent finds a segment, its workers do not.
def spoil(*_):
    os.unlink({str(segment)!r})
    os.symlink("/dev/zero", {str(segment)!r})
serve._log_start = spoil
from verve.commands.cli import main
main(prog_name="verve")
"""
    done = subprocess.run(
        [
            *(sys.executable, "-c", code, "serve", "--state-dir", str(tmp_path / "state")),
            *("--segment", str(segment), "--port", str(free_port()), "--workers", "2"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Verve cannot start" in done.stderr
    assert "Workers end while they start, giving up: status 1" in done.stderr


def test_settings_reach_the_workers(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "verve.toml"
    file.write_text('max_body = "1KiB"\n')
    service = serve(
        Server.VERVE,
        workers=2,
        environment={"VERVE_WINDOW": "60", "VERVE_PORT": "tcp://10.0.0.1:1"},
        arguments=["--window", "2s", "--config", str(file), "--interface", "asgi"],
    )
    assert service.get("/api/verve/current").json()["window_seconds"] == 2
    answer = service.post(content=b"1\n" * 1024, headers={"content-type": "text/plain"})
    assert answer.status_code == 413


def test_check_windows_and_segment(serve: Serve) -> None:
    service = serve(Server.VERVE, window=1)
    for id in range(3):
        service.get(f"{ACCEPT}?id={id}")

    def stored() -> bool:
        return sum(int(window["requests"]) for window in service.windows()) == 3

    service.wait_until(stored, 10, "stored")
    flags = ["--state-dir", str(service.state_directory), "--segment", str(service.segment)]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "verve", *arguments, *flags],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    port = ["--port", str(service.port), "--window", "1"]
    checked = run("check", *port)
    assert checked.returncode == 0, checked.stdout
    assert [line.split()[:2] for line in checked.stdout.splitlines()] == [
        *(["ok", "service"], ["warn", "access"]),
        *(["ok", part] for part in ("state", "segment", "ledger", "log")),
    ]
    listed = [json.loads(line) for line in run("windows", "--json").stdout.splitlines()]
    assert sum(window["requests"] for window in listed) == 3
    shown = run("segment", "show").stdout
    assert f"path                   {service.segment}" in shown
    assert f"leader                 process {service.leader()}" in shown
    # A window may end between the two.
    service.wait_until(
        lambda: (
            service.get(f"{ACCEPT}?id=-5").text == "ok"
            and run("segment", "show", "--ids").stdout.splitlines() == ["-5"]
        ),
        20,
        "seen",
    )
    service.stop()
    checked = run("check", *port)
    assert checked.returncode == 1
    marks = [line.split()[0] for line in checked.stdout.splitlines()]
    assert marks == ["FAIL", "ok", "FAIL", "ok", "ok"]


def test_without_a_folder_for_temporary_files_it_says_so(tmp_path: Path) -> None:
    script = (
        "import tempfile; tempfile.tempdir = '/proc/nowhere'\n"
        "from verve.commands.cli import main\n"
        "main(prog_name='verve')\n"
    )
    state, segment = tmp_path / "state", tmp_path / "segment"
    arguments = ["--state-dir", str(state), "--segment", str(segment), "--port", str(free_port())]
    done = subprocess.run(
        [sys.executable, "-c", script, "serve", "--listener", "native", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "the variable `TMPDIR` names one" in done.stderr
    assert "Traceback" not in done.stderr
