"""Imports go one way, files stay small, and `unsafe` stays where it is.

Ids flow `segment -> table -> window -> counter -> (fast path | app) -> leader -> ledger -> sinks`.
Each stage is built on the ones before it in the tables below, and none may know what is built on
it. Two arrows look turned round, and are not: the table and the window know nothing of the segment,
which lends them storage and so knows their shapes; and a stage that hands its result on (app to
leader, leader to ledger, ledger to sinks) knows whom it hands it to, never who gave it.
"""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.unit.imports import python_imports, rust_code, rust_imports

ROOT = Path(__file__).parents[2]
LONGEST = 400


class Stage(NamedTuple):
    """Some modules, and the stages that they may import; one another they may."""

    modules: set[str]
    built_on: set[str]


CORE = {
    "primitives": Stage({"mix", "platform", "primitive", "shard"}, set()),
    "table": Stage({"bucket", "extent", "freezing", "line", "moving", "table"}, {"primitives"}),
    "error": Stage({"error"}, {"table"}),
    "window": Stage({"announcements", "ring", "turn", "window"}, {"primitives", "table"}),
    "segment": Stage(
        {"building", "clock", "damage", "description", "layout", "live", "locks", "mapping", "segment"},
        {"error", "primitives", "table", "window"},
    ),
    "grammar": Stage({"address", "batch", "endpoint", "id", "query", "refusal"}, set()),
    "counter": Stage(
        {
            "acknowledging",
            "adding",
            "arena",
            "cluster",
            "counter",
            "figures",
            "lease",
            "outgoing",
            "publishing",
            "reading",
            "reference",
            "retention",
            "scans",
            "seat",
            "slab",
            "upkeep",
            "worker",
        },
        {"error", "grammar", "primitives", "segment", "table", "window"},
    ),
    "answer": Stage({"answer"}, {"counter", "error", "grammar", "primitives"}),
    "contents": Stage({"lib"}, set()),
}

CALLBACKS = {
    "cells": Stage({"slab", "word"}, set()),
    "rules": Stage({"guard", "limits", "signature"}, set()),
    "wire": Stage({"failure", "resolver", "transport", "tunnel"}, {"rules"}),
    "judgement": Stage({"destination", "report", "retry"}, {"rules", "wire"}),
    "sender": Stage({"means", "sender"}, {"cells", "judgement", "rules", "wire"}),
    "front": Stage({"front", "probe"}, {"cells", "judgement", "rules", "sender", "wire"}),
    "contents": Stage({"lib"}, set()),
}

PROTOCOL = {
    "flaws": Stage({"flaw"}, set()),
    "state": Stage({"cluster", "host", "redis", "scenario"}, {"flaws"}),
    "rules": Stage({"closing", "publishing"}, {"flaws", "state"}),
    "model": Stage({"checking", "model"}, {"flaws", "rules", "state"}),
    "contents": Stage({"lib"}, set()),
}

BINDING = {
    "values": Stage({"answers", "clock", "errors", "ids", "record", "segment"}, set()),
    "counter": Stage({"accepting", "counter", "store", "worker"}, {"values"}),
    "callbacks": Stage({"callbacks"}, {"counter", "values"}),
    "fast path": Stage({"fast_path"}, {"callbacks", "counter", "values"}),
    "contents": Stage({"lib"}, {"callbacks", "counter", "fast path", "values"}),
}

PACKAGE = {
    "binding": Stage({"_verve"}, set()),
    "names": Stage({"", "printable"}, {"binding"}),
    "settings": Stage(
        {
            "config",
            "config.choices",
            "config.defaults",
            "config.limits",
            "config.loading",
            "config.masking",
            "config.machine",
            "config.moments",
            "config.parsers",
            "config.row",
            "config.settings",
            "config.table",
        },
        {"binding", "names"},
    ),
    "window": Stage({"window"}, {"binding"}),
    "log": Stage(
        {
            "backoff",
            "deferred",
            "events",
            "fields",
            "log",
            "losses",
            "notices",
            "output",
            "skipped",
            "told",
        },
        {"names", "settings", "window"},
    ),
    "ring": Stage({"ring"}, {"binding", "log", "window"}),
    "membership": Stage({"membership"}, {"binding", "log", "settings"}),
    "stores": Stage(
        {
            "stores",
            "stores.address",
            "stores.base",
            "stores.client",
            "stores.errors",
            "stores.opening",
            "stores.redis_keys",
            "stores.redis_sets",
            "stores.rights",
        },
        {"binding", "log", "settings"},
    ),
    "sinks": Stage(
        {
            "sinks",
            "sinks.base",
            "sinks.kafka",
            "sinks.kafka_message",
            "sinks.kafka_settings",
            "sinks.kafka_wire",
            "sinks.log",
        },
        {"binding", "log", "settings", "window"},
    ),
    "cluster": Stage(
        {
            "cluster",
            "cluster.changes",
            "cluster.clock",
            "cluster.closing",
            "cluster.counted",
            "cluster.hosts",
            "cluster.ids",
            "cluster.keys",
            "cluster.life",
            "cluster.loss",
            "cluster.loop",
            "cluster.markers",
            "cluster.parts",
            "cluster.ports",
            "cluster.publisher",
            "cluster.reconciler",
            "cluster.scripts",
            "cluster.shipper",
            "cluster.spill",
            "cluster.spill_file",
            "cluster.state",
            "cluster.tallied",
            "cluster.tasks",
            "cluster.waits",
            "cluster.windows",
        },
        {"binding", "log", "membership", "ring", "settings", "sinks", "stores", "window"},
    ),
    "ledger": Stage(
        {
            "publishing.ledger",
            "publishing.ledger_errors",
            "publishing.ledger_expiry",
            "publishing.ledger_file",
        },
        {"binding", "log", "settings", "window"},
    ),
    "leader": Stage(
        {
            "attach",
            "joining",
            "publishing",
            "publishing.courier",
            "publishing.deposed",
            "publishing.drain",
            "publishing.feed",
            "publishing.leader",
            "publishing.outbox",
            "publishing.standing",
            "retiring",
        },
        {"binding", "cluster", "ledger", "log", "ring", "settings", "sinks", "stores", "window"},
    ),
    "callbacks": Stage({"callbacks"}, {"binding", "log", "settings", "window"}),
    "app": Stage(
        {
            "app",
            "fast_path",
            "http",
            "http.accept",
            "http.access",
            "http.api",
            "http.asgi",
            "http.bodies",
            "http.cluster_metrics",
            "http.disk",
            "http.exchange",
            "http.facts",
            "http.health",
            "http.metric",
            "http.metrics",
            "http.routes",
            "http.rsgi",
            "scheduling",
            "termination",
            "worker",
        },
        {
            "binding",
            "callbacks",
            "cluster",
            "leader",
            "ledger",
            "log",
            "membership",
            "settings",
            "sinks",
            "stores",
            "window",
        },
    ),
    "commands": Stage(
        {
            "__main__",
            "commands",
            "commands.application",
            "commands.callback_view",
            "commands.check",
            "commands.cli",
            "commands.cluster_view",
            "commands.count_file",
            "commands.granian_options",
            "commands.listening",
            "commands.segment_files",
            "commands.segment_view",
            "commands.serve",
            "commands.streams",
            "commands.supervisor",
            "commands.timers",
            "commands.worker_sockets",
        },
        {
            "app",
            "binding",
            "callbacks",
            "cluster",
            "leader",
            "ledger",
            "log",
            "membership",
            "names",
            "settings",
            "sinks",
            "stores",
            "window",
        },
    ),
}

UNSAFE = {
    "rust/core/src/locks.rs",  # knows when the file of a fork's parent must not be closed
    "rust/core/src/mapping.rs",  # reaches the shared mapping through raw addresses
    "rust/core/src/platform.rs",  # system calls
    "rust/core/src/line.rs",  # vector loads and prefetches
}


def violations(imports: dict[str, set[str]], stages: dict[str, Stage]) -> list[str]:
    """What in `imports` the table `stages` does not allow."""
    stage_of = {module: name for name, stage in stages.items() for module in stage.modules}
    found = [f"`{module}` has no stage" for module in sorted(imports.keys() - stage_of.keys())]
    for module, names in sorted(imports.items()):
        stage = stage_of.get(module)
        found += [
            f"`{module}` ({stage}) imports `{name}` ({stage_of[name]})"
            for name in sorted(names & stage_of.keys())
            if stage and stage_of[name] not in {stage, *stages[stage].built_on}
        ]
        found += [
            f"`{module}` imports `{name}`, unknown" for name in sorted(names - stage_of.keys())
        ]
    return found


def ring(imports: dict[str, set[str]]) -> list[str]:
    """The modules of a ring in `imports`, if there is one."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def package_imports() -> dict[str, set[str]]:
    """The imports of the Python package, with names inside the package."""
    inside = python_imports(ROOT / "python/verve")
    return {
        module.removeprefix("verve").removeprefix("."): {
            name.removeprefix("verve").removeprefix(".") for name in names
        }
        for module, names in inside.items()
    }


@pytest.mark.parametrize(
    "stages",
    [CORE, CALLBACKS, PROTOCOL, BINDING, PACKAGE],
    ids=["core", "callbacks", "protocol", "binding", "package"],
)
def test_the_tables_themselves_point_one_way(stages: dict[str, Stage]) -> None:
    before: set[str] = set()
    for name, stage in stages.items():
        assert stage.built_on <= before, f"{name} is built on a later stage"
        before.add(name)


def test_no_import_in_the_core_points_back() -> None:
    imports = rust_imports(ROOT / "rust/core/src")
    # The table of contents names every module.
    assert violations(imports | {"lib": set()}, CORE) == []


def test_no_import_among_the_callbacks_points_back() -> None:
    imports = rust_imports(ROOT / "rust/callbacks/src")
    assert violations(imports | {"lib": set()}, CALLBACKS) == []


def test_no_import_in_the_model_points_back() -> None:
    imports = rust_imports(ROOT / "rust/protocol/src")
    assert violations(imports | {"lib": set()}, PROTOCOL) == []


def test_the_model_of_the_protocol_stands_alone() -> None:
    manifests = [*(ROOT / "rust").glob("*/Cargo.toml"), *(ROOT / "bench").glob("*/Cargo.toml")]
    for manifest in manifests:
        text = manifest.read_text()
        if manifest.parent.name == "protocol":
            assert not re.search(r"^verve-", text, re.MULTILINE)
        else:
            assert "verve-protocol" not in text, manifest


def test_no_import_in_the_binding_points_back() -> None:
    assert violations(rust_imports(ROOT / "rust/python/src"), BINDING) == []


def test_no_import_in_the_package_points_back() -> None:
    imports = package_imports()
    assert violations(imports, PACKAGE) == []
    # In Rust a type may be spread over files that know one another; in Python that ends in errors.
    assert ring(imports) == []


@pytest.mark.parametrize(
    ("crate", "above"),
    [("core", "pyo3|verve_python|verve_callbacks"), ("callbacks", "pyo3|verve_python")],
)
def test_the_lower_crates_know_none_above_them(crate: str, above: str) -> None:
    manifest = (ROOT / f"rust/{crate}/Cargo.toml").read_text()
    sources = "".join(path.read_text() for path in (ROOT / f"rust/{crate}/src").rglob("*.rs"))
    assert not re.search(rf"^({above.replace('_', '-')})\b", manifest, re.MULTILINE)
    assert not re.search(rf"\b({above})\b", rust_code(sources))


def test_no_file_is_longer_than_one_idea_takes() -> None:
    files = [*(ROOT / "python/verve").rglob("*.py*"), *(ROOT / "rust").glob("*/src/**/*.rs")]
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines())
        for path in files
        if path.suffix != ".pyc"
    }
    assert len(lengths) > 10
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST} == {}


def test_unsafe_stands_in_the_named_files_only() -> None:
    files = [*(ROOT / "rust").glob("*/src/**/*.rs"), *(ROOT / "bench/load/src").rglob("*.rs")]
    with_unsafe = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if re.search(r"\bunsafe\b(?!_)", rust_code(path.read_text()))
    }
    assert with_unsafe == UNSAFE


# The checker itself, on trees that are wrong on purpose.

QUOTED = r"""
//! See [`crate::counter`]; it isn't "imported.
const ADDRESS: &str = "http://crate::counter/\"unsafe";
const RAW: &str = r#"crate::counter " unsafe"#;
const QUOTES: [char; 3] = ['"', '\'', '\u{22}'];
fn first<'a>(text: &'a str) -> &'a str { text } /* crate::counter
unsafe */
"""


def write(root: Path, files: dict[str, str]) -> Path:
    """Write `files` under `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    "back",
    [
        "use crate::counter::Counter;",
        "use crate::{counter, mix};",
        "use crate::{mix::{self, Mix}, counter::Counter};",
        "fn ids(counter: &crate::counter::Counter) {}",
        "use crate::Counter;",
        "mod tests {\n    use crate::Counter;\n}",
    ],
)
def test_a_rust_import_that_points_back_is_found(tmp_path: Path, back: str) -> None:
    files = {
        "lib.rs": "pub use self::{mix::Mix, counter::{\n    Batch,\n    Counter,\n}};",
        "counter.rs": "use crate::table::Table;",
        "mix.rs": QUOTED,
        "table.rs": "use crate::mix::Mix;",
    }
    imports = rust_imports(write(tmp_path, files))
    assert imports == {"lib": set(), "counter": {"table"}, "mix": set(), "table": {"mix"}}
    assert violations(imports, CORE) == []

    imports = rust_imports(write(tmp_path, {"table.rs": back}))
    assert "`table` (table) imports `counter` (counter)" in violations(imports, CORE)


@pytest.mark.parametrize(
    "back",
    [
        "from .leader import Leader",
        "from . import leader",
        "from verve.publishing.leader import Leader",
        "import verve.publishing.leader",
        "def later():\n    from . import leader",
        "if TYPE_CHECKING:\n    from .leader import Leader",
    ],
)
def test_a_python_import_that_points_back_is_found(tmp_path: Path, back: str) -> None:
    files = {
        "__init__.py": "from ._verve import Counter",
        "_verve.pyi": "",
        "publishing/leader.py": "from . import ledger\nfrom verve.sinks.base import Sink",
        "publishing/ledger.py": "import sqlite3\nfrom verve._verve import VerveError",
        "sinks/__init__.py": "from .base import Sink",
        "sinks/base.py": "from .._verve import VerveError",
    }
    root = write(tmp_path / "verve", files)
    assert python_imports(root) == {
        "verve": {"verve._verve"},
        "verve._verve": set(),
        "verve.publishing.leader": {"verve.publishing.ledger", "verve.sinks.base"},
        "verve.publishing.ledger": {"verve._verve"},
        "verve.sinks": {"verve.sinks.base"},
        "verve.sinks.base": {"verve._verve"},
    }

    write(root, {"publishing/ledger.py": back})
    stages = {
        name: Stage({f"verve.{one}" for one in modules}, on)
        for name, (modules, on) in PACKAGE.items()
    }
    found = violations(python_imports(root), stages)
    assert "`verve.publishing.ledger` (ledger) imports `verve.publishing.leader` (leader)" in found


def test_comments_and_strings_are_no_code() -> None:
    code = rust_code(QUOTED)
    assert "counter" not in code
    assert "unsafe" not in code
    assert "fn first<'a>(text: &'a str) -> &'a str { text }" in code


def test_a_ring_is_found() -> None:
    assert ring({"api": {"routes"}, "routes": set()}) == []
    assert set(ring({"api": {"routes"}, "routes": {"api"}, "app": {"api"}})) == {"api", "routes"}


def test_a_module_without_a_stage_is_found() -> None:
    found = violations({"newcomer": {"elsewhere"}}, {"app": Stage({"api"}, set())})
    assert found == ["`newcomer` has no stage", "`newcomer` imports `elsewhere`, unknown"]
