"""Scratch tables for the canary: the ledger's own definition under another name, gone when the canary is."""

# ruff: noqa: S608  (the table's name is made here, of hexadecimal digits)

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fleetmeter_jobs.ledger.clickhouse_http import ClickHouseHttp
from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.errors import StoreRefusedError
from fleetmeter_jobs.ledger.pinned import READ_SETTINGS

_PREFIX: Final = "ledger_canary_"
_LEFTOVER_S: Final = 3600
"""Age at which the scratch table of a canary that was killed is swept up by the next one."""
_KEEPER_PATH: Final = re.compile(r"Replicated\w*MergeTree\('([^']*)")
_WINDOW: Final = re.compile(r"\b(?:non_)?replicated_deduplication_window = (\d+)")


class ClickHouseScratch(ClickHouseStore):
    """A `ScratchStore` in ClickHouse."""

    def parts_made(self) -> int:
        """See `ScratchStore.parts_made`. Each insert makes parts of one block, listed for minutes after a merge."""
        return self._number(
            "SELECT count() FROM system.parts "
            "WHERE database = currentDatabase() AND table = {table:String} AND min_block_number = max_block_number"
        )

    def usage_events(self) -> int:
        """See `ScratchStore.usage_events`."""
        return self._number(f"SELECT sum(requests) FROM {self.ledger}")

    def window(self) -> int:
        """See `ScratchStore.window`: 0 where the table does not say."""
        match = _WINDOW.search(_engine_of(self.http, self.ledger))
        return int(match[1]) if match else 0

    def _number(self, statement: str) -> int:
        ((number,),) = self.http.rows(statement, parameters={"table": self.ledger}, settings=READ_SETTINGS)
        return int(number)


@contextmanager
def clickhouse_scratch(
    http: ClickHouseHttp, ledger: str = "ledger", *, replicated: bool = False
) -> Iterator[ClickHouseScratch]:
    """An empty table defined as `ledger` is, dropped at the end; sweeps up what killed canaries have left.

    Raises StoreRefusedError if the ledger is replicated and `replicated` says that it is not, or the other way round:
    what a worker may conclude from an answer depends on it.
    """
    leftovers = http.rows(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, {prefix:String}) "
        "AND metadata_modification_time < now() - {age:UInt32}",
        parameters={"prefix": _PREFIX, "age": _LEFTOVER_S},
        settings=READ_SETTINGS,
    )
    for (name,) in leftovers:
        http.execute(f"DROP TABLE IF EXISTS {name}")
    scratch = f"{_PREFIX}{secrets.token_hex(8)}"
    http.execute(scratch_definition(scratch, ledger, _engine_of(http, ledger), replicated=replicated))
    try:
        yield ClickHouseScratch(http, scratch)
    finally:
        http.execute(f"DROP TABLE IF EXISTS {scratch} SYNC")


def scratch_definition(scratch: str, ledger: str, engine: str, *, replicated: bool) -> str:
    """The statement that makes the scratch table; `engine` is the ledger's in system.tables, empty if there is none.

    A replicated table has its path in Keeper in its definition, where the server has written it out; the scratch table
    needs one of its own. Raises StoreRefusedError as `clickhouse_scratch` does.
    """
    if engine and engine.startswith("Replicated") != replicated:
        is_it = "is replicated" if not replicated else "is not replicated"
        raise StoreRefusedError(
            "replicas",
            f"the table {ledger} {is_it}, and FLEETMETER_CLICKHOUSE_REPLICATED_PATH "
            f"{'is not set' if not replicated else 'is set'}: give workers the settings with which `fleetmeter "
            "migrate` made the tables",
        )
    path = _KEEPER_PATH.match(engine)
    if path is None:
        return f"CREATE TABLE {scratch} AS {ledger}"
    return f"CREATE TABLE {scratch} AS {ledger} ENGINE = {engine[: path.end(1)]}/{scratch}{engine[path.end(1) :]}"


def _engine_of(http: ClickHouseHttp, table: str) -> str:
    rows = http.rows(
        "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
        parameters={"table": table},
        settings=READ_SETTINGS,
    )
    return str(rows[0][0]) if rows else ""
