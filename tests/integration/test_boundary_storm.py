"""All clients send the same ids right before and right after each boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.support import records
from tests.support.service import Server
from tests.support.service_observer import Observer
from tests.support.witnesses import assert_exact, settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Serve, StartLoad

pytestmark = pytest.mark.alone(reason="sends within milliseconds of each boundary")

FAR = "1000000000"
"""The first id of those that come once."""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("server", [Server.VERVE, Server.NATIVE])
def test_each_id_is_in_the_windows_that_its_answers_name(
    server: Server, serve: Serve, start_load: StartLoad, scale: Callable[[int], int]
) -> None:
    boundaries = scale(100)
    service = serve(server, workers=4, window=1)
    around = ("--around-boundary", "50", "--boundaries", str(boundaries))
    with Observer(service) as observer:
        loads = [
            # The ids of a boundary come from every client, on both sides of it,
            start_load(service, *around, "--connections", "64", "--ids", "same:8"),
            # and these come once, so that nobody else can put right where one of them was placed.
            start_load(service, *around, "--connections", "32", "--ids", "distinct", "--base", FAR),
        ]
        results = [load.wait(boundaries + 30) for load in loads]
        sent = records.load(*(load.out for load in loads))
        counted = observer.finish(sent.windows()[-1])

    assert [result.faults for result in results] == [{}, {}]
    placed = sent.placed()
    for start, ids in counted.items():
        assert np.array_equal(ids, placed.get(start, [])), f"other ids in the window {start}"
    assert_exact(settled(service, sent.windows()[-1]), sent)
    # The storm did hit both sides: the same ids were new before the boundary and new after it.
    storm = results[0].records.placed()
    both = [start for start in storm if np.intersect1d(storm[start], storm.get(start + 1, [])).size]
    assert len(both) >= boundaries // 2, f"only {len(both)} of {boundaries} were hit"
