from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.paths import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = ROOT / "python/verve"
# What SQLite has learnt since 3.24, in the order of its releases up to 3.46.
TOO_NEW = re.compile(
    r"\bON CONFLICT DO UPDATE\b|\bRETURNING\b|\bUPDATE\b[^;()]*\bSET\b[^;()]*\bFROM\b"
    r"|\bNULLS (FIRST|LAST)\b|\bFILTER\s*\(|\bGENERATED\b|\bDROP COLUMN\b|\bMATERIALIZED\b"
    r"|\b(RIGHT|FULL)( OUTER)? JOIN\b|\bIS (NOT )?DISTINCT FROM\b|->>?|\bSTRICT\b"
    r"|\b(iif|unixepoch|concat|concat_ws|octet_length|timediff|string_agg|sqrt|ceil|floor)\s*\("
    r"|\bOVER\s*\(",
    re.IGNORECASE,
)


def statements(path: Path) -> list[str]:
    """The texts in a file that look like SQL, each as a whole."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        constants = [part.value for part in parts if isinstance(part, ast.Constant)]
        found.append("".join(text for text in constants if isinstance(text, str)))
    return [
        text
        for text in found
        if re.search(r"\b(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM|CREATE|ALTER)\b", text)
    ]


def test_no_statement_needs_a_sqlite_later_than_3_24() -> None:
    told = {path: statements(path) for path in PACKAGE.rglob("*.py")}
    assert sum(map(len, told.values())) > 15
    too_new = [(path.name, text) for path, ones in told.items() for text in ones]
    assert [one for one in too_new if TOO_NEW.search(one[1])] == []


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO a VALUES (1) ON CONFLICT DO UPDATE SET b = 1",
        "INSERT INTO a VALUES (1) RETURNING 1",
        "UPDATE a SET b = c.d FROM c WHERE a.e = c.e",
        "ALTER TABLE a DROP COLUMN b",
        "SELECT a->>'b' FROM c",
    ],
)
def test_that_would_be_found(tmp_path: Path, text: str) -> None:
    (tmp_path / "module.py").write_text(f'execute({text!r}, f"{{1}} {text}")\n')
    found = statements(tmp_path / "module.py")
    assert len(found) >= 2
    assert all(TOO_NEW.search(one) for one in found)
