"""How commands speak: results on stdout as text or JSON, progress and notes on stderr, so that a pipe stays clean."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from fleetmeter_schemas.timestamps import to_rfc3339
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

WIDTH_OFF_A_TERMINAL: Final = 160

console = Console(width=None if sys.stdout.isatty() else WIDTH_OFF_A_TERMINAL, highlight=False, markup=False)
notes = Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH_OFF_A_TERMINAL, highlight=False, markup=False)
"""Both print text as it is: `[...]` in a path, an account or a hint is no markup. For colour give a rich `Text`."""


def print_json(value: Any) -> None:
    """One JSON document on stdout, there at once for whoever reads a pipe, also if the command goes on. Integers of any
    size are written exactly; times in RFC 3339."""
    sys.stdout.write(json.dumps(value, default=_plain, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal | Path):
        return str(value)
    if isinstance(value, datetime):
        return to_rfc3339(value if value.tzinfo else value.replace(tzinfo=UTC))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None) -> None:
    """A table for people: numbers to the right with thousands separated, unknown as a dash. Text is shown as it is;
    for colour give a rich `Text`."""
    listed = [list(row) for row in rows]
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], int | float | Decimal) for row in listed)
        table.add_column(column.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in listed:
        table.add_row(*(cell if isinstance(cell, Text) else Text(show(cell)) for cell in row))
    console.print(table)


def section(title: str, body: RenderableType) -> Iterator[RenderableType]:
    """A part of a screen, under its title."""
    yield Padding(Text(title, "bold"), (1, 0, 0, 0))
    yield body


def show(cell: Any) -> str:
    """A value as people read it."""
    match cell:
        case None | "":
            return "-"
        case bool():
            return "yes" if cell else "no"
        case int():
            return f"{cell:,}"
        case float() | Decimal():
            return f"{cell:,.3f}".rstrip("0").rstrip(".")
        case datetime():
            return f"{cell:%Y-%m-%d %H:%M:%S}"
        case bytes():
            return cell.decode(errors="replace")
        case _:
            return str(cell)


def counted(number: int, noun: str) -> str:
    """`1 account`, `1,200 accounts`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def progress(*, quiet: bool = False) -> Progress:
    """A progress display on stderr, for anything that may take longer than two seconds. Silent off a terminal."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeElapsedColumn(),
        console=notes,
        transient=True,
        disable=quiet or not notes.is_terminal,
    )
