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
_TREE = re.compile(r"\b(?:crate|self)::(\w+|\{)")
_PIECE = re.compile(r"::|[{},;]|\w+")


def rust_code(source: str) -> str:
    """`source` without its comments, strings and characters."""
    return _NO_CODE.sub(" ", source)


def _branches(tree: str) -> Iterator[tuple[str, str]]:
    """First and last name of each path in `{a, b::{c, d as e}, f}...`: (a, a), (b, c), (b, e)."""
    depth, first, last, open_paths = 0, "", "", 0
    for piece in _PIECE.findall(tree):
        if piece == "{":
            depth += 1
            open_paths += 1
            last = ""
        elif piece in {"}", ",", ";"}:
            if last:
                yield first, last
            last = ""
            depth -= piece == "}"
            if depth <= 1:
                first = ""
            if depth == 0:
                return
        elif piece not in {"::", "as"}:
            first = first or piece
            last = piece


def rust_names(code: str) -> set[str]:
    """The names behind `crate::` in `code`."""
    names: set[str] = set()
    for found in _TREE.finditer(code):
        if found.group().startswith("self"):
            continue
        if found[1] == "{":
            names |= {first for first, _ in _branches(code[found.end() - 1 :])}
        else:
            names.add(found[1])
    return names


def rust_exports(library: str) -> dict[str, str]:
    """Of what `lib.rs` re-exports, the module that each name stands in."""
    return {
        last: first
        for tree in re.findall(
            r"\bpub use (?:self|crate)::(\{.*?\});", rust_code(library), re.DOTALL
        )
        for first, last in _branches(tree)
    }


def rust_imports(root: Path) -> dict[str, set[str]]:
    """The modules under `root`, a crate's `src`, and the modules of the crate that each imports."""
    exports = rust_exports((root / "lib.rs").read_text())
    imports: dict[str, set[str]] = {}
    for path in sorted(root.rglob("*.rs")):
        module = path.relative_to(root).with_suffix("").parts[0]
        names = rust_names(rust_code(path.read_text()))
        imports.setdefault(module, set()).update(exports.get(name, name) for name in names)
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
