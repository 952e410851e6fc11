"""Which accounts a statement reads: those it is told, if they are few; else all, and others are left out afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

BY_ACCOUNT: Final = "(empty({accounts:Array(String)}) OR has({accounts:Array(String)}, account_id))"
"""A condition of SQL; `accounts` is bound to what `few` gives."""
_FEW: Final = 200
"""How many accounts go into a statement by name."""


def few(accounts: Sequence[str]) -> list[str]:
    """Whom ClickHouse is told to look for: nobody of a long list, which is looked through afterwards."""
    return list(accounts) if len(accounts) <= _FEW else []


def rows_of(accounts: Sequence[str], rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    """The rows of these accounts, if any are named, out of what ClickHouse gave; a row begins with its account."""
    if len(accounts) <= _FEW:
        return rows
    among = frozenset(accounts)
    return [row for row in rows if row[0] in among]
