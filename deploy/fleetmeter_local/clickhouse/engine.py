"""The chDB engine: one per process and data folder, one connection a request.

What chDB 4.4 does, measured: a connection costs 0.5 ms and has its own settings and database; queries of different
connections run in parallel, of one connection one after another, and mix up their parameters; the engine lives as long
as one connection is open; a folder is locked against a second process by the kernel, so that a kill -9 leaves no stale
lock.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chdb

from fleetmeter_local.clickhouse.answers import engine_error
from fleetmeter_local.clickhouse.bodies import Body
from fleetmeter_local.clickhouse.request import Job
from fleetmeter_local.clickhouse.statement import Statement
from fleetmeter_local.errors import LocalError

_NOT_IN_FOLDERS = re.compile(r"[?*{}]")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the engine gave for a statement.

    Attributes:
        data: the result, in `format`; a view into the engine's memory, which `owner` keeps alive.
        summary: counts for X-ClickHouse-Summary.
    """

    data: memoryview
    owner: object
    format: str
    summary: dict[str, str]


class Engine:
    """ClickHouse over one folder. Its methods may be called by many threads at once."""

    def __init__(self, path: Path) -> None:
        """Opens the folder, and makes it if it is not there.

        Raises LocalError if another process has it open, or if its name cannot be handed to the engine.
        """
        if odd := _NOT_IN_FOLDERS.search(str(path)):
            raise LocalError(
                f"The ClickHouse folder {path} has a {odd[0]} in its name, which chDB takes for options or a pattern: "
                "move it."
            )
        self._path = str(path)
        try:
            self._keeper = chdb.connect(self._path)
        except RuntimeError as error:
            raise LocalError(
                f"chDB cannot open {path}: {error}. If another process has it open, stop that one first.",
                domain="clickhouse",
            ) from error
        self.version = self._text("SELECT version()")
        self.timezone = self._text("SELECT timezone()")
        self.host_name = self._text("SELECT hostName()")
        self.content_types = dict(
            line.split("\t") for line in self._text("SELECT lower(name), content_type FROM system.formats").splitlines()
        )
        self.table_functions = self._text("SELECT name FROM system.table_functions").splitlines()

    def run(self, job: Job, statement: Statement, data: Body | None) -> Answer:
        """Runs one statement on a connection of its own.

        Args:
            job: settings, parameters, database.
            statement: what to run.
            data: for an INSERT with data, the file that holds it (and nothing else).

        Raises ClickHouseError.
        """
        text = statement.text if data is None else reading_from(statement, data.path)
        try:
            with contextlib.closing(chdb.connect(self._path)) as connection:
                _prepare(connection, job)
                result = connection.query(text, job.default_format, params=dict(job.parameters))
        except RuntimeError as error:
            raise engine_error(str(error)) from error
        return _answer(result, statement.format if data is None and statement.format else job.default_format)

    def cancel(self, job: Job) -> None:
        """Asks the engine to stop the queries that were started under the job's id.

        Best effort: it does not wait, and one that the engine does not know yet goes on. Raises ClickHouseError.
        """
        try:
            with contextlib.closing(chdb.connect(self._path)) as connection:
                connection.query(f"KILL QUERY WHERE Settings['log_comment'] = {_quote(job.comment)} ASYNC")
        except RuntimeError as error:
            raise engine_error(str(error)) from error

    def close(self) -> None:
        """Closes the engine once every running query has ended; the folder may be opened again."""
        self._keeper.close()

    def _text(self, query: str) -> str:
        return bytes(self._keeper.query(query, "TabSeparated").bytes()).decode().rstrip("\n")


def reading_from(statement: Statement, path: Path) -> bytes:
    """The text of an INSERT that reads its data, in the statement's format, from a file.

    `INSERT INTO t (a, b) FORMAT CSV` reads `FROM INFILE`, which parses as a server parses a body (defaults of columns,
    settings of formats, deduplication tokens). `INSERT INTO t SELECT ... FROM input('structure') FORMAT Arrow` reads
    from `file(path, format, 'structure')`, so that its WHERE, and with it a guard, is evaluated as in a server.
    """
    literal = b"'" + str(path).encode().replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"
    text, named = statement.text, (statement.format or "Values").encode()
    if statement.input_call is not None:
        start, end, inner_start, inner_end = statement.input_call
        call = b"file(%s, '%s', %s)" % (literal, named, text[inner_start:inner_end])
        return text[:start] + call + text[end:]
    if statement.source_at is None:  # INSERT ... SELECT that does not look at the data; a server ignores it too
        return text
    at = statement.source_at
    return b"%s FROM INFILE %s %s FORMAT %s" % (text[:at], literal, text[at:], named)


def _prepare(connection: Any, job: Job) -> None:
    settings = {**job.settings, "log_comment": job.comment}
    assignments = ", ".join(f"{name} = {_quote(value)}" for name, value in settings.items())
    connection.query(f"SET {assignments}")
    if job.database != "default":
        connection.query("USE `" + job.database.replace("\\", "\\\\").replace("`", "\\`") + "`")
    # Last, since it forbids what comes before.
    if job.readonly != "0":
        connection.query(f"SET readonly = {_quote(job.readonly)}")


def _quote(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _answer(result: Any, format_name: str) -> Answer:
    summary = {
        "read_rows": result.storage_rows_read(),
        "read_bytes": result.storage_bytes_read(),
        "written_rows": result.rows_written(),
        "written_bytes": result.bytes_written(),
        "total_rows_to_read": 0,
        "result_rows": result.rows_read(),
        "result_bytes": result.size(),
        "elapsed_ns": int(result.elapsed() * 1e9),
    }
    view: memoryview = result.get_memview().view() if result.size() else memoryview(b"")
    return Answer(view, result, format_name, {name: str(value) for name, value in summary.items()})
