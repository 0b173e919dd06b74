"""The image in a real container, at its limits and beyond its ends. Only in `make test-full`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest

from tests.support.container.container import USER, Container
from tests.support.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.container.image import Image

pytestmark = [
    pytest.mark.full,
    pytest.mark.alone("a container has limits of its own, and its build takes the disk"),
    pytest.mark.timeout(1_200),
]
MIB = 1 << 20
SHM = 64 * MIB
MEMORY = 300 * MIB
ADDED = 90 * MIB
"""What the image may add to its base."""


def _kept(tmp_path: Path) -> tuple[str, ...]:
    """Options that put the segment into the shared memory of the host."""
    directory = tmp_path / "segment"
    directory.mkdir()
    os.chown(directory, USER, USER)
    return "--volume", f"{directory}:/segment", "--env", "VERVE_SEGMENT=/segment/verve"


def test_it_is_small_and_says_whose_code_it_contains(
    verve_image: Image, record_property: Callable[[str, object], None]
) -> None:
    record_property("image bytes", verve_image.size)
    record_property("base bytes", verve_image.base_size)
    record_property("build seconds", verve_image.build_seconds)
    assert verve_image.size - verve_image.base_size < ADDED
    with Container(verve_image) as container:
        container.wait_ready()
        licences = container.run("cat", "/usr/share/doc/verve/LICENSES-THIRD-PARTY.txt")
        assert "uplot (the live page)" in licences
        assert "tokio" in licences


def test_it_turns_healthy_without_rights(verve_image: Image) -> None:
    with Container(verve_image) as container:
        container.wait_ready()
        assert container.state()["Health"]["Status"] == "healthy"
        assert container.run("id", "-u") == str(USER)
        assert "Read-only" in container.run("touch", "/opt/verve/x", check=False)
        assert "Read-only" in container.run("touch", "/tmp/x", check=False)  # noqa: S108
        line = container.starting()
        holds = line["max_ids_per_window"]
        assert line["message"].endswith(f"; a window holds at least {holds} ids")
        # Two windows of 40 bytes per id: see `docs/scale.md`.
        assert holds == pytest.approx(SHM / 2 / 40, rel=0.01)
        container.run("verve", "drain")
        container.wait_until(lambda: container.health() == 1, "unhealthy")
        container.run("verve", "drain", "--undo")
        container.wait_ready()


def test_it_counts_exactly_under_load(
    verve_image: Image,
    load_binary: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    with Container(verve_image, window=2) as container:
        container.wait_ready()
        with Load(load_binary, container, tmp_path / "load", "--ids", "uniform:200000") as load:
            end = time.monotonic() + 20
            container.wait_until(lambda: time.monotonic() > end, "over")
            result = load.stop()
        assert not result.faults
        placed = {start: ids.size for start, ids in result.records.placed().items()}
        assert len(placed) >= 10
        container.wait_until(lambda: max(placed) in container.counts(), "published")
        counted = container.counts()
        assert {start: counted[start] for start in placed} == placed
        record_property("memory peak under load", container.memory_peak())


@pytest.mark.parametrize(
    ("shm", "environment", "reason"),
    [
        pytest.param("64m", {}, "table full", id="capacity-of-64-MiB"),
        pytest.param(
            "64m", {"VERVE_MAX_IDS_PER_WINDOW": "8000000"}, "no space", id="shared-memory-is-full"
        ),
        pytest.param("1g", {}, "table full", id="capacity-of-the-memory-limit"),
    ],
)
def test_at_its_limit_it_rejects_and_loses_nothing(
    verve_image: Image,
    record_property: Callable[[str, object], None],
    shm: str,
    environment: dict[str, str],
    reason: str,
) -> None:
    with Container(verve_image, shm=shm, environment=environment) as container:
        container.wait_ready()
        counted, batch = 0, 50_000
        headers = {"content-type": "application/octet-stream"}
        with httpx.Client(timeout=60, headers=headers) as client:
            for first in range(0, 20_000_000, batch):
                ids = np.arange(first, first + batch, dtype="<i8").tobytes()
                answer = client.post(container.url("/api/verve/accept"), content=ids)
                if answer.status_code != 200:
                    break
                counted += answer.json()["new"]
            else:
                pytest.fail("it took more ids than the container has memory")
        assert answer.status_code == 503
        assert answer.text == "failed"
        assert answer.headers["verve-error"] == reason
        counted += int(answer.headers["verve-recorded"])
        record_property("ids", counted)
        record_property("memory peak", container.memory_peak())
        assert container.unique() == counted
        if reason == "table full":  # as many as the service has promised, or more
            assert counted >= container.starting()["max_ids_per_window"]
        assert container.memory_peak() <= MEMORY
        state = container.state()
        assert (state["Status"], state["OOMKilled"]) == ("running", False)
        assert "worker.respawned" not in {one["event"] for one in container.lines()}
        container.accept(1)  # a duplicate needs no room
        assert container.health() == 0  # as ready as before: a restart would bring no room
        assert container.stop() < 19


def test_the_kernel_kills_what_takes_the_memory_and_the_count_goes_on(verve_image: Image) -> None:
    with Container(verve_image) as container:
        container.wait_ready()
        for id in range(100):
            container.accept(id)
        greedy = "taken = [b'x' * (1 << 20) for _ in range(1000)]"
        told = container.run("sh", "-c", f'python -c "{greedy}"; echo status $?')
        assert "status 137" in told
        container.wait_ready()
        container.accept(100)
        assert container.unique() == 101


def test_a_stop_is_clean_and_the_segment_of_the_host_keeps_the_minute(
    verve_image: Image, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with Container(verve_image, *_kept(tmp_path)) as container:
        container.wait_ready()
        for id in range(100):
            container.accept(id)
        record_property("stop seconds", took := container.stop())
        assert took < 19
        assert container.state()["ExitCode"] == 0
        assert container.lines()[-1]["event"] == "service.stopped"
        container.start()
        container.accept(100)
        assert container.unique() == 101
        container.signal("KILL")
        assert container.state()["ExitCode"] == 137
        container.start()
        container.accept(101)
        assert container.unique() == 102


def test_without_it_closed_windows_are_kept(verve_image: Image) -> None:
    with Container(verve_image, window=5) as container:
        container.wait_ready()
        container.accept(1)
        container.wait_until(lambda: 1 in container.counts().values(), "published")
        closed = {start: count for start, count in container.counts().items() if count}
        container.signal("KILL")
        container.start()
        found = container.counts()
        assert {start: found[start] for start in closed} == closed


def test_without_it_the_open_window_is_lost_as_the_guide_says(verve_image: Image) -> None:
    with Container(verve_image) as container:
        container.wait_ready()
        container.accept(1)
        assert container.unique() == 1
        container.stop()
        container.start()
        assert container.unique() == 0


def test_process_1_reaps_what_it_inherits(verve_image: Image) -> None:
    with Container(verve_image) as container:
        container.wait_ready()
        for _ in range(20):
            container.run("sh", "-c", "sleep 0.2 >/dev/null 2>&1 &")
        children = "/proc/1/task/1/children"
        # Two workers are its children; a process that was not reaped would stay one.
        container.wait_until(lambda: len(container.run("cat", children).split()) == 2, "reaped")
        container.accept(7)
        assert container.unique() == 1
