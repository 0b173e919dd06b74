"""The page of metrics: its reference in the docs, its library, and figures of processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from verve.http import proc
from verve.http.metric import Kind
from verve.http.metrics import METRICS

_LATE = """
import sys
import verve.app, verve.commands.cli, verve.serving.serve, verve.startup.startup
from verve.http import routes
assert "/metrics" in routes.ROUTES
assert "prometheus_client" not in sys.modules
"""


def test_names_say_type_and_unit() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert metric.name.startswith("verve_")
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert metric.name.endswith("_info") == (metric.kind is Kind.INFO)
        assert metric.help.endswith(".")


def test_no_start_imports_the_library() -> None:
    subprocess.run([sys.executable, "-c", _LATE], check=True, timeout=60)


def test_figures_of_a_process() -> None:
    code = "print('up', flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as child:
        assert child.stdout is not None
        # Before, the child may still be between its fork and Python.
        assert child.stdout.readline() == b"up\n"
        found = proc.read([os.getpid(), child.pid])
        child.terminate()
    ours, its = found[os.getpid()], found[child.pid]
    assert ours.cpu_seconds > 0
    assert min(ours.resident_bytes, its.resident_bytes) > 1_000_000
    assert ours.open_descriptors is not None
    assert its.open_descriptors is not None
    assert ours.started <= its.started + 0.02
    # The kernel counts from the boot, in hundredths, and tells the time of the boot in seconds.
    assert abs(its.started - time.time()) < 60


def test_open_descriptors_are_counted() -> None:
    def count() -> int:
        found = proc.read([os.getpid()])[os.getpid()].open_descriptors
        assert found is not None
        return found

    before = count()
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(3)]
    more = count()
    for one in held:
        os.close(one)
    assert (more, count()) == (before + 3, before)


def test_a_process_that_is_gone_has_no_figures() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert proc.read([child.pid, os.getpid()]).keys() == {os.getpid()}
