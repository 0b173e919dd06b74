"""Folders are the stages: imports among them go one way, files stay small, `unsafe` is confined.

Ids flow through the folders in the order of `CORE` and `PACKAGE`, samples in that of `BENCH`. No
list of modules is kept here: a module belongs to the stage of its folder, and a folder that is not
in the order is only held to have no import that leads back to it.
"""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

import pytest

from tests.support.imports import python_imports, rust_code, rust_imports
from tests.support.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

LONGEST = 400

CORE = ("table", "window", "segment", "counter", "replication")
PACKAGE = (
    "config",
    "log",
    "windows",
    "cluster",
    "archive",
    "publishing",
    "service",
    "http",
    "commands",
)
BENCH = ("harness", "contenders", "scenarios", "report")

UNSAFE = {
    "rust/core/src/forks.rs",  # registers fork handlers, which close descriptors of the parent
    "rust/core/src/platform.rs",  # byte locks of open files, which no crate has on all systems
    "rust/core/src/segment/mapping.rs",  # reaches the shared mapping through raw addresses
    "rust/core/src/table/simd.rs",  # vector loads and prefetches
    "rust/python/src/listener.rs",  # takes over the descriptor of a socket that Python gives away
}


def stages(imports: Mapping[str, set[str]], folder: str, dot: str) -> dict[str, set[str]]:
    """What stands in `folder`, files and folders, and what of it each imports."""
    found: dict[str, set[str]] = {}
    prefix = f"{folder}{dot}" if folder else ""

    def stage(module: str) -> str | None:
        if not module.startswith(prefix) or module == folder:
            return None
        return module.removeprefix(prefix).split(dot)[0]

    for module, names in imports.items():
        if own := stage(module):
            others = {other for name in names if (other := stage(name)) and other != own}
            found.setdefault(own, set()).update(others)
    return found


def folders(imports: Mapping[str, set[str]], dot: str) -> Iterator[str]:
    """The folders that modules stand in, the root as the empty name."""
    yield from sorted({module.rpartition(dot)[0] for module in imports} | {""})


def cycle(imports: Mapping[str, set[str]]) -> list[str]:
    """The stages of a cycle in `imports`, if there is one."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def violations(
    imports: Mapping[str, set[str]], order: Sequence[str], dot: str, *, files: bool = True
) -> list[str]:
    """The imports that point back: against `order`, or around a cycle.

    `files`: whether the files of a folder without folders in it may have no cycle either.
    """
    found = []
    for folder in folders(imports, dot):
        inside = stages(imports, folder, dot)
        has_folders = folder == "" or any(
            f"{folder}{dot}{name}" == other.rpartition(dot)[0]
            for name in inside
            for other in imports
        )
        if (files or has_folders) and (around := cycle(inside)):
            found.append(f"in `{folder or 'the root'}`: " + " <- ".join(around))
    top = stages(imports, "", dot)
    missing = [name for name in order if name not in top]
    found += [f"`{name}` is in the order, and no folder" for name in missing]
    found += [
        f"`{name}` imports `{later}`, which comes after it"
        for place, name in enumerate(order)
        for later in order[place + 1 :]
        if later in top.get(name, set())
    ]
    return found


def package_imports(root: Path = ROOT / "python/verve") -> dict[str, set[str]]:
    """The imports of a Python package, by default of `verve`, with names inside the package."""
    inside = python_imports(root)
    prefix = f"{root.name}."
    short = {module: module.removeprefix(prefix) for module in inside}
    short[root.name] = "names"
    return {short[module]: {short[name] for name in names} for module, names in inside.items()}


def bench_imports() -> dict[str, set[str]]:
    """The imports of the benchmark."""
    return package_imports(ROOT / "bench")


def core_imports() -> dict[str, set[str]]:
    """The imports of the core crate."""
    return rust_imports(ROOT / "rust/core/src")


def test_imports_in_the_core_go_one_way() -> None:
    # In Rust a type may be spread over the files of a folder, which know one another.
    assert violations(core_imports(), CORE, "::", files=False) == []


@pytest.mark.parametrize("crate", ["callbacks", "fuzz", "protocol", "python"])
def test_imports_in_the_other_crates_go_one_way(crate: str) -> None:
    imports = rust_imports(ROOT / f"rust/{crate}/src")
    assert len(imports) > 5
    assert violations(imports, (), "::") == []


def test_imports_in_the_package_go_one_way() -> None:
    assert violations(package_imports(), PACKAGE, ".") == []


def test_imports_in_the_benchmark_go_one_way() -> None:
    assert violations(bench_imports(), BENCH, ".") == []


def test_the_model_of_the_protocol_stands_alone() -> None:
    manifests = [*(ROOT / "rust").glob("*/Cargo.toml"), *(ROOT / "bench").glob("*/Cargo.toml")]
    for manifest in manifests:
        text = manifest.read_text()
        if manifest.parent.name == "protocol":
            assert not re.search(r"^verve-", text, re.MULTILINE)
        else:
            assert "verve-protocol" not in text, manifest


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
    files = [
        # The stub is one file, since the compiled module is one.
        *(ROOT / "python/verve").rglob("*.py"),
        *(ROOT / "bench").rglob("*.py*"),
        *(ROOT / "rust").glob("*/src/**/*.rs"),
        *(ROOT / "bench").glob("*/src/**/*.rs"),
    ]
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


def unknown_paths(text: str, files: Sequence[str]) -> list[str]:
    """The paths in the code spans of `text`, whole or by their end, that are not among `files`."""
    folders = {name.rpartition("/")[0] for name in files}
    known = [f"/{name}" for name in files] + [f"/{name}/" for name in folders]
    paths = re.findall(r"`([\w./-]+/|[\w./-]+\.(?:rs|py|pyi|md|toml|svg|bash|json))`", text)
    return [
        path
        for path in paths
        if not path.startswith("target/") and not any(name.endswith(f"/{path}") for name in known)
    ]


def named_paths(page: Path) -> str:
    """The text of a page; of a picture, its names of files as code spans."""
    text = page.read_text()
    if page.suffix != ".svg":
        return text
    names = " ".join(re.findall(r'class="file">([^<]*)<', text)).split()
    return " ".join(f"`{name}`" for name in names)


@pytest.mark.parametrize(
    "page",
    [
        "CONTRIBUTING.md",
        "docs/architecture.md",
        "docs/glossary.md",
        "docs/route-accept.svg",
        "docs/route-callback.svg",
        "docs/route-redis.svg",
        "docs/route-window.svg",
    ],
)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    files = [
        path.relative_to(ROOT).as_posix()
        for folder in ("bench", "docs", "examples", "python", "rust", "scripts", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    ]
    text = named_paths(ROOT / page)
    assert unknown_paths(text, [*files, *(path.name for path in ROOT.iterdir())]) == []


def test_every_test_of_a_fault_is_there() -> None:
    text = (ROOT / "docs/found.md").read_text()
    named = set(re.findall(r"((?:tests|rust)/[\w./-]+\.(?:py|rs))(?:::(\w+))?", text))
    assert len(named) > 50
    gone = [
        f"{path}::{test}"
        for path, test in sorted(named)
        if not (ROOT / path).is_file() or test not in (ROOT / path).read_text()
    ]
    assert gone == []


def test_a_file_that_is_not_there_is_found() -> None:
    files = ["rust/core/src/table/growth.rs", "docs/glossary.md"]
    assert unknown_paths("`table/growth.rs`, `growth.rs`, `docs/`, `1/2`", files) == []
    assert unknown_paths("`able/growth.rs`, `gone.rs`, `ocs/`", files) == [
        "able/growth.rs",
        "gone.rs",
        "ocs/",
    ]


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
    ("module", "elsewhere"),
    [
        ("counter::insertion", "table::insertion"),
        ("window::rollover", "table::rollover"),
        ("replication::retention", "segment::retention"),
    ],
)
def test_a_rust_file_in_the_wrong_folder_is_found(module: str, elsewhere: str) -> None:
    moved = relocated(core_imports(), module, elsewhere)
    assert violations(moved, CORE, "::", files=False) != []


@pytest.mark.parametrize(
    ("module", "elsewhere"),
    [
        ("publishing.leader", "ledger.leader"),
        ("http.routes", "request.routes"),
        ("cluster.coordinator.coordinator", "cluster.protocol.coordinator"),
        ("sinks.kafka", "windows.kafka"),
        ("log.event_log", "config.event_log"),
    ],
)
def test_a_python_file_in_the_wrong_folder_is_found(module: str, elsewhere: str) -> None:
    assert violations(relocated(package_imports(), module, elsewhere), PACKAGE, ".") != []


@pytest.mark.parametrize(
    ("module", "elsewhere"),
    [
        ("contenders.callback_sender", "harness.callback_sender"),
        ("scenarios.tables", "contenders.tables"),
        ("report.page", "harness.page"),
        ("harness.server_process", "scenarios.server_process"),
    ],
)
def test_a_file_of_the_benchmark_in_the_wrong_folder_is_found(module: str, elsewhere: str) -> None:
    assert violations(relocated(bench_imports(), module, elsewhere), BENCH, ".") != []


def relocated(imports: Mapping[str, set[str]], module: str, elsewhere: str) -> dict[str, set[str]]:
    """The imports if `module` stood `elsewhere`."""
    assert module in imports

    def name(of: str) -> str:
        return elsewhere if of == module else of

    return {name(one): {name(other) for other in others} for one, others in imports.items()}


def test_rust_paths_are_read_whole(tmp_path: Path) -> None:
    files = {
        "lib.rs": "pub use self::{mix::Mix, counter::{\n  reading::Batch,\n  handle::Counter,\n}};",
        "counter/mod.rs": "pub mod handle;\npub mod reading;",
        "counter/handle.rs": "use crate::table::{self, bucket::{Bucket as B, Slot}};",
        "counter/reading.rs": "use crate::{mix::Mix, Counter};\nfn f(it: &crate::table::Table) {}",
        "mix.rs": QUOTED,
        "table/mod.rs": "pub use crate::table::bucket::Bucket;",
        "table/bucket.rs": "",
    }
    assert rust_imports(write(tmp_path, files)) == {
        "counter": set(),
        "counter::handle": {"table", "table::bucket"},
        "counter::reading": {"mix", "counter::handle", "table"},
        "mix": set(),
        "table": {"table::bucket"},
        "table::bucket": set(),
    }


@pytest.mark.parametrize(
    "back",
    [
        "from verve.publishing.leader import Leader",
        "from verve.publishing import leader",
        "import verve.publishing.leader",
        "from ..publishing import leader",
        "def later():\n    from verve.publishing import leader",
        "if TYPE_CHECKING:\n    from verve.publishing.leader import Leader",
    ],
)
def test_a_python_import_that_points_back_is_found(tmp_path: Path, back: str) -> None:
    files = {
        "__init__.py": "from ._verve import Counter",
        "_verve.pyi": "",
        "publishing/__init__.py": "",
        "publishing/leader.py": "from verve import ledger\nfrom verve.ledger.ledger import Ledger",
        "ledger/__init__.py": "",
        "ledger/ledger.py": "import sqlite3\nfrom verve._verve import VerveError",
    }
    root = write(tmp_path / "verve", files)

    def found() -> list[str]:
        inside = python_imports(root)
        names = {module: module.removeprefix("verve.") for module in inside}
        imports = {names[one]: {names[other] for other in others} for one, others in inside.items()}
        return violations(imports, ("ledger", "publishing"), ".")

    assert found() == []
    write(root, {"ledger/ledger.py": back})
    assert "`ledger` imports `publishing`, which comes after it" in found()


def test_comments_and_strings_are_no_code() -> None:
    code = rust_code(QUOTED)
    assert "counter" not in code
    assert "unsafe" not in code
    assert "fn first<'a>(text: &'a str) -> &'a str { text }" in code


def test_a_cycle_is_found() -> None:
    assert cycle({"api": {"routes"}, "routes": set()}) == []
    assert set(cycle({"api": {"routes"}, "routes": {"api"}, "app": {"api"}})) == {"api", "routes"}
    twisted = {"a.one": {"b.one"}, "b.one": set(), "b.two": {"a.one"}}
    assert cycle(twisted) == []
    assert violations(twisted, (), ".") != []
