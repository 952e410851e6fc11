"""Splitting a .sql file: a semicolon ends a statement only where SQL says so."""

from __future__ import annotations

import pytest
from fleetmeter_sql.errors import SqlFileError
from fleetmeter_sql.statements import split_statements


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  \n -- nothing; here\n/* nor; here */ ;; ;", []),
        ("SELECT 1;", ["SELECT 1"]),
        ("SELECT 1 ;SELECT 2;\n", ["SELECT 1", "SELECT 2"]),
        ("-- first; one\nSELECT 1;\n-- second\nSELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT 'a;b';", ["SELECT 'a;b'"]),
        ("SELECT 'it''s; so';", ["SELECT 'it''s; so'"]),
        (r"SELECT 'a\';b';", [r"SELECT 'a\';b'"]),
        (r"SELECT 'a\\'; SELECT 2;", [r"SELECT 'a\\'", "SELECT 2"]),
        ('SELECT 1 AS "a;b", 2 AS `c;d`;', ['SELECT 1 AS "a;b", 2 AS `c;d`']),
        ("SELECT 1 -- why; not\n + 2;", ["SELECT 1 -- why; not\n + 2"]),
        ("SELECT 1 /* a;\n'b */ + 2;", ["SELECT 1 /* a;\n'b */ + 2"]),
        ("SELECT 8 - 4 / 2;", ["SELECT 8 - 4 / 2"]),
        ("SELECT '-- no comment'; SELECT 2;", ["SELECT '-- no comment'", "SELECT 2"]),
    ],
)
def test_statements(text: str, expected: list[str]) -> None:
    assert split_statements(text, "x.sql") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1;\n\nSELECT 'a;", "x.sql, line 3: ' is never closed"),
        ("SELECT `a;", "x.sql, line 1: ` is never closed"),
        ("SELECT 1\n/* a;", r"x.sql, line 2: /\* is never closed"),
        ("SELECT 1;\nSELECT 2 -- cut off;", "x.sql, line 2: the last statement does not end with a semicolon"),
    ],
)
def test_files_that_were_cut_off(text: str, message: str) -> None:
    with pytest.raises(SqlFileError, match=message):
        split_statements(text, "x.sql")
