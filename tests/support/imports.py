"""The modules that each source file imports: of Rust by paths, of Python by syntax tree."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_NO_CODE = re.compile(
    r"""
    //[^\n]* | /\*.*?\*/                # comments
    | b?r(\#*)".*?"\1                   # raw strings
    | b?"(?:[^"\\]|\\.)*"               # strings
    | b?'(?:[^'\\\n]|\\[^u\n]|\\u\{\w+\}|\\x\w\w)'  # characters; a lifetime has no second quote
    """,
    re.DOTALL | re.VERBOSE,
)
_PATH = re.compile(r"\bcrate::((?:\w+::)*)(?:(\w+)|\{)")
_PIECE = re.compile(r"::|[{},;]|\w+")


def rust_code(source: str) -> str:
    """`source` without its comments, strings and characters."""
    return _NO_CODE.sub(" ", source)


def _group(pieces: Iterator[str], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Each path of `a, b::{c, d as e}, f}...`, up to the end: (a,), (b, c), (b, d), (f,)."""
    path = prefix
    for piece in pieces:
        if piece == "{":
            yield from _group(pieces, path)
            path = prefix
        elif piece in {"}", ",", ";"}:
            if path != prefix:
                yield path
            path = prefix
            if piece != ",":
                return
        elif piece == "as":
            next(pieces)
        elif piece != "::":
            path = (*path, piece)


def rust_paths(code: str) -> set[tuple[str, ...]]:
    """The paths behind `crate::` in `code`."""
    paths: set[tuple[str, ...]] = set()
    for found in _PATH.finditer(code):
        prefix = tuple(found[1].split("::")[:-1])
        if found[2]:
            paths.add((*prefix, found[2]))
        else:
            paths |= set(_group(iter(_PIECE.findall(code[found.end() :])), prefix))
    return paths


def _rust_module(root: Path, path: Path) -> tuple[str, ...]:
    parts = path.relative_to(root).with_suffix("").parts
    return parts[:-1] if parts[-1] == "mod" else parts


def rust_exports(library: str) -> dict[str, tuple[str, ...]]:
    """Of what `lib.rs` re-exports, the path of each name."""
    trees = re.findall(r"\bpub use (?:self|crate)::\{(.*?\});", rust_code(library), re.DOTALL)
    return {path[-1]: path for tree in trees for path in _group(iter(_PIECE.findall(tree)))}


def rust_imports(root: Path) -> dict[str, set[str]]:
    """The modules under `root`, a crate's `src`, and the modules of the crate that each imports.

    A module is named by its path, such as `table::bucket`; the contents of a folder by the folder.
    """
    exports = rust_exports((root / "lib.rs").read_text())
    files = {_rust_module(root, path): path for path in sorted(root.rglob("*.rs"))}

    def module_of(path: tuple[str, ...]) -> str:
        whole = exports.get(path[0], path) if path[:1] not in files else path
        ends = (whole[:end] for end in range(len(whole), 0, -1))
        return "::".join(next((end for end in ends if end in files), whole[:1]))

    imports = {
        "::".join(module): {module_of(path) for path in rust_paths(rust_code(file.read_text()))}
        for module, file in files.items()
        # The table of contents names every module.
        if module != ("lib",)
    }
    return without_self(imports)


def _python_module(root: Path, path: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def python_names(source: str, package: str) -> Iterator[tuple[str, str]]:
    """What `source` imports, as (module, name); relative imports start at `package`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            module = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            yield from ((module, alias.name) for alias in node.names)


def python_imports(root: Path) -> dict[str, set[str]]:
    """The modules of the package whose folder is `root`, and those of the package each imports.

    Imports inside functions and for types only count too.
    """
    files = {
        _python_module(root.parent, path): path
        for path in sorted(root.rglob("*.py*"))
        if path.suffix in {".py", ".pyi"}
    }
    imports: dict[str, set[str]] = {}
    for name, path in files.items():
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        imports[name] = {
            module if f"{module}.{member}" not in files else f"{module}.{member}"
            for module, member in python_names(path.read_text(), package)
            if module.split(".")[0] == root.name
        }
    return without_self(imports)


def without_self(imports: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """`imports` without those of a module of itself."""
    return {module: names - {module} for module, names in imports.items()}
