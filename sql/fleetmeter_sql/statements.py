"""Splits a .sql file into its statements: ClickHouse's HTTP interface takes one at a time.

A semicolon ends a statement, unless it stands in a string, a quoted name or a comment (`--` to the end of the line, or
`/* */`). Comments inside a statement stay with it, so that they show up in ClickHouse's query log; those before a
statement, and an empty rest of a file, do not count.
"""

from __future__ import annotations

import re

from fleetmeter_sql.errors import SqlFileError

_TOKEN = re.compile(
    r"""
      (?P<comment> --[^\n]* | /\*.*?\*/ )
    | (?P<quoted>  '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` )
    | (?P<end>     ; )
    | (?P<space>   \s+ )
    | (?P<open>    ['"`] | /\* )
    | (?P<other>   [^\s;'"`/-]+ | [/-] )
    """,
    re.VERBOSE | re.DOTALL,
)


def split_statements(text: str, where: str) -> list[str]:
    """The statements of `text`, in order, without the semicolons.

    `where` names the file in errors. Raises SqlFileError for a string, quoted name or comment that is never closed, and
    for a last statement without its semicolon (a file that was cut off looks like that).
    """
    statements: list[str] = []
    start: int | None = None
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "open":
            line = text.count("\n", 0, token.start()) + 1
            raise SqlFileError(f"{where}, line {line}: {token.group()} is never closed")
        if kind == "end":
            if start is not None:
                statements.append(text[start : token.start()].rstrip())
            start = None
        elif start is None and kind not in {"comment", "space"}:
            start = token.start()
    if start is not None:
        line = text.count("\n", 0, start) + 1
        raise SqlFileError(f"{where}, line {line}: the last statement does not end with a semicolon")
    return statements
