"""The start of a worker beside others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import rig
from verve.service.termination import Termination
from verve.startup.configuration import Configuration
from verve.startup.startup import start

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("keeps", [True, False])
def test_a_start_leaves_to_the_leader_whether_arenas_are_kept(tmp_path: Path, keeps: bool) -> None:
    """Workers with other settings start beside a leader, as in a rolling change of them."""
    archive = {} if keeps else {"archive": str(tmp_path / "ids")}
    settings = rig.settings(tmp_path, window="86400", **archive)
    with rig.counter_of(settings) as counter:
        assert counter.lease.acquire()
        if keeps:
            counter.retention.enable()
            counter.add(1)
        before = counter.retention.settled()
        service = start(Configuration(settings, None), Termination())
        try:
            assert service.leader.state().term is None
            # 1, as a window, stands for none that is settled.
            assert (counter.retention.settled(), before != 0) == (before, keeps)
        finally:
            service.close()
