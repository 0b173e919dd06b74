"""All clients send the same ids right before and right after each boundary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.observer import Observer
from tests.service import Server
from tests.witnesses import assert_exact, settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Serve, StartLoad


@pytest.mark.timeout(240)
def test_each_id_is_in_the_windows_that_its_answers_name(
    serve: Serve, start_load: StartLoad, scale: Callable[[int], int]
) -> None:
    boundaries = scale(100)
    service = serve(Server.VERVE, workers=4, window=1)
    with Observer(service) as observer:
        load = start_load(
            service,
            *("--connections", "96"),
            *("--around-boundary", "50"),
            *("--boundaries", str(boundaries)),
            # So few that every client sends all of them on both sides.
            *("--ids", "same:8"),
        )
        result = load.wait(boundaries + 30)
        sent = result.records
        counted = observer.finish(sent.windows()[-1])

    assert result.faults == {}
    placed = sent.placed()
    assert placed.keys() <= counted.keys()
    for start, ids in counted.items():
        assert np.array_equal(ids, placed.get(start, [])), f"other ids in the window {start}"
    assert_exact(settled(service, sent.windows()[-1]), sent)
    # The storm did hit both sides: the same ids were new before the boundary and new after it.
    both = [
        start
        for start in placed
        if start + 1 in placed and np.intersect1d(placed[start], placed[start + 1]).size
    ]
    assert len(both) >= boundaries * 9 // 10, f"only {len(both)} of {boundaries} were hit"
