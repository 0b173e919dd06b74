from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support import rig
from verve.sinks import LogSink, Scope, Sink, of_scope, open_sink

if TYPE_CHECKING:
    from pathlib import Path


def test_each_sink_states_its_scope(tmp_path: Path) -> None:
    made = rig.settings(tmp_path, sinks="log,kafka", kafka_brokers="127.0.0.1:1")
    sinks: list[Sink] = [LogSink(), open_sink(made, "kafka")]
    assert tuple(sink.name for sink in sinks) == made.sinks
    for scope in Scope:
        assert of_scope(made, scope) == tuple(s.name for s in sinks if s.scope is scope)
    assert [sink.scope for sink in sinks] == [Scope.HOST, Scope.CLUSTER]


def test_only_sinks_of_the_settings_are_named(tmp_path: Path) -> None:
    made = rig.settings(tmp_path)
    assert of_scope(made, Scope.HOST) == ("log",)
    assert of_scope(made, Scope.CLUSTER) == ()
