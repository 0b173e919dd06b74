"""`verve serve` on damaged files of a service that was killed: it goes on, or says why not."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections import Counter as Tally
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.support.crashes.damage import some_damage
from tests.support.crashes.damaged_segment import extents
from tests.support.service import Server, Service, ServiceError
from tests.support.timing import sleep_into_window
from verve.ledger import ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

COUNT = 60
WINDOW = 2
IDS = 30
WORKERS = 2
TEXT = {"content-type": "text/plain"}


class Killed:
    """A service that was killed, and the files that it left behind."""

    def __init__(self, directory: Path) -> None:
        self.service = Service(
            directory, Server.VERVE, workers=WORKERS, window=WINDOW, max_ids=1_000
        )
        self._state, self._segment = directory / "killed-state", directory / "killed-segment"
        with self.service as service:
            self.starts = [_count(service) for _ in range(3)]
            service.wait_minute(self.starts[-1])
            service.kill()
            shutil.copytree(service.state_directory, self._state)
            _copy(service.segment, self._segment)

    def restore(self) -> Service:
        """The service with the files of then, and without output."""
        shutil.rmtree(self.service.state_directory)
        shutil.copytree(self._state, self.service.state_directory)
        _copy(self._segment, self.service.segment)
        self.service.output_path.write_text("")
        return self.service


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--sparse=always", source, target], check=True)


def _count(service: Service) -> int:
    """Count `IDS` ids in a new window; its start."""
    sleep_into_window(WINDOW, 0.1)
    answer = service.post(content="\n".join(map(str, range(IDS))), headers=TEXT)
    assert answer.json()["accepted"] == IDS, answer.text
    [window] = answer.json()["windows"]
    return moment(window["window_start"])


def moment(text: str) -> int:
    """Seconds since the epoch."""
    return int(datetime.fromisoformat(text).timestamp())


def _damage(service: Service, chance: random.Random) -> str:
    """Damage one of its files; what was done."""
    path = service.state_directory / ledger.FILE_NAME
    kind = chance.choice(["segment", "ledger", "log"])
    if kind == "segment":
        # Where it has storage.
        start, content = chance.choice(extents(service.segment))
        damage = some_damage(len(content), chance)
        damage = damage._replace(at=start + damage.at)
        damage.apply_to(service.segment)
    else:
        path = path if kind == "ledger" else path.with_name(f"{path.name}-wal")
        damage = some_damage(path.stat().st_size, chance)
        damage.apply_to(path)
    return f"{kind}, {damage}"


def _outcome(service: Service, starts: Collection[int]) -> str:
    """Start it, and count a window; whether the history has that right, and the earlier ones."""
    service.start(ready=False)
    try:
        service.wait_ready()
    except ServiceError:
        if service.process is None or service.process.poll() is None:
            raise
        assert "hint" in service.output(), service.output()
        assert "Traceback" not in service.output(), service.output()
        return "refused"
    start = _count(service)
    service.wait_minute(start)
    counted = {moment(one["window_start"]): one["unique"] for one in service.windows()}
    assert len(service.events("worker.respawned")) <= WORKERS
    assert service.stop() == 0, service.output()
    assert "Traceback" not in service.output(), service.output()
    of_these = {one: unique for one, unique in counted.items() if one in {start, *starts}}
    if set(of_these.values()) != {IDS} or start not in of_these:
        return "wrong"
    return "right" if len(of_these) == 1 + len(starts) else "fewer"


@pytest.mark.timeout(900)  # at full counts
def test_a_service_serves_or_says_why_not(
    tmp_path: Path, scale: Callable[[int], int], record_property: Callable[[str, object], None]
) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    killed = Killed(tmp_path)
    outcomes: Tally[str] = Tally()
    for number in range(scale(COUNT)):
        service = killed.restore()
        what = _damage(service, chance)
        try:
            outcome = _outcome(service, killed.starts)
        except Exception as error:
            raise AssertionError(f"seed {seed}, number {number}: {what}: {error}") from error
        finally:
            service.close()
        # A segment has no checksums.
        assert outcome != "wrong" or what.startswith("segment"), f"seed {seed}: {what}"
        outcomes[outcome] += 1
    record_property("outcomes", dict(outcomes))
