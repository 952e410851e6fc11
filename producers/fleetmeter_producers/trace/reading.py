"""Reading a trace: a CSV file with the columns TIMESTAMP, ContextTokens and GeneratedTokens, one row a request.

That is the form of Azure's public LLM inference traces. The columns may stand in any order, and others beside them.
TIMESTAMP is `2023-11-16 18:15:46.6805900`, with a T instead of the space and with a zone if the file has them; without
a zone it is UTC. What is finer than microseconds is cut off.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from fleetmeter_schemas.fields import QUANTITY_CAP
from fleetmeter_schemas.timestamps import parse_rfc3339

from fleetmeter_producers.errors import TraceError

COLUMNS: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_TIMESTAMP: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?", flags=re.ASCII
)
_WHOLE: Final = re.compile(r"\d+", flags=re.ASCII)
_BOM: Final = b"\xef\xbb\xbf"


class TraceRequest(NamedTuple):
    """One row: its time, in microseconds since the epoch, and its tokens."""

    time_us: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class TraceScan:
    """A whole trace that was read and found good. `digest` is the SHA-256 of the file's bytes."""

    digest: bytes
    requests: int
    input_tokens: int
    output_tokens: int
    first_us: int
    last_us: int


def scan_trace(path: Path) -> TraceScan:
    """Read a whole trace; raises `TraceError` for the first row that can't be replayed, and for a file without any."""
    digest = hashlib.sha256()
    requests = input_tokens = output_tokens = 0
    times: list[int] = []
    for request in read_requests(path, digest):
        requests += 1
        input_tokens += request.input_tokens
        output_tokens += request.output_tokens
        times = [min(times[0], request.time_us), max(times[1], request.time_us)] if times else [request.time_us] * 2
    if not requests:
        raise TraceError(f"{path} has a header and no rows; there is nothing to replay")
    return TraceScan(digest.digest(), requests, input_tokens, output_tokens, *times)


def read_requests(path: Path, digest: hashlib._Hash | None = None) -> Iterator[TraceRequest]:
    """The requests of a trace, row by row, in the file's order; the file's bytes go through `digest` on the way."""
    try:
        with path.open("rb") as file:
            yield from _rows(path, file, digest)
    except OSError as error:
        raise TraceError(f"{path} can't be read: {error.strerror or error}") from error


def _rows(path: Path, file: BinaryIO, digest: hashlib._Hash | None) -> Iterator[TraceRequest]:
    rows = csv.reader(_lines(path, file, digest), strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        places = [_place(path, header, column) for column in COLUMNS]
        for row in rows:
            if not row:
                continue  # a blank line
            where = f"{path}, line {rows.line_num}"
            if len(row) != len(header):
                raise TraceError(f"{where}: has {len(row)} columns, the header has {len(header)}")
            time, context, generated = (row[place].strip() for place in places)
            yield TraceRequest(
                _time(where, time), _tokens(where, COLUMNS[1], context), _tokens(where, COLUMNS[2], generated)
            )
    except csv.Error as error:
        raise TraceError(f"{path}, line {rows.line_num}: is not CSV: {error}") from error


def _lines(path: Path, file: BinaryIO, digest: hashlib._Hash | None) -> Iterator[str]:
    for number, line in enumerate(file, start=1):
        if digest is not None:
            digest.update(line)
        try:
            yield (line.removeprefix(_BOM) if number == 1 else line).decode()
        except UnicodeDecodeError as error:
            raise TraceError(f"{path}, line {number}: is not UTF-8 at byte {error.start + 1} of the line") from error


def _place(path: Path, header: list[str], column: str) -> int:
    if header.count(column) != 1:
        problem = "twice" if column in header else "not"
        raise TraceError(
            f"{path}, line 1: column {column} is {problem} in the header ({', '.join(header) or 'empty'}); "
            f"a trace has the columns {', '.join(COLUMNS)}"
        )
    return header.index(column)


def _time(where: str, text: str) -> int:
    match = _TIMESTAMP.fullmatch(text)
    problem = "it must look like 2023-11-16 18:15:46.6805900"
    if match is not None:
        day, time, fraction, zone = match.groups()
        try:
            return parse_rfc3339(f"{day}T{time}{fraction or ''}{zone or 'Z'}")
        except ValueError as error:
            problem = str(error)
    raise TraceError(f"{where}, column {COLUMNS[0]}: {text!r} is not a time: {problem}")


def _tokens(where: str, column: str, text: str) -> int:
    if _WHOLE.fullmatch(text) is None:
        raise TraceError(f"{where}, column {column}: {text!r} is not a whole number of at least 0")
    # The length first: Python takes its time with numbers of thousands of digits, and refuses the longest.
    if len(text) > 20 or int(text) > QUANTITY_CAP:
        raise TraceError(f"{where}, column {column}: {text[:40]} is above the cap of a quantity, {QUANTITY_CAP}")
    return int(text)
