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
from fleetmeter_jobs.ledger.pinned import READ_SETTINGS

_PREFIX: Final = "ledger_canary_"
_LEFTOVER_S: Final = 3600
"""Age at which the scratch table of a canary that was killed is swept up by the next one."""
_WINDOW: Final = re.compile(r"(?:non_)?replicated_deduplication_window = (\d+)")


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
        ((engine,),) = self.http.rows(
            "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {table:String}",
            parameters={"table": self.ledger},
            settings=READ_SETTINGS,
        )
        match = _WINDOW.search(engine)
        return int(match[1]) if match else 0

    def _number(self, statement: str) -> int:
        ((number,),) = self.http.rows(statement, parameters={"table": self.ledger}, settings=READ_SETTINGS)
        return int(number)


@contextmanager
def clickhouse_scratch(http: ClickHouseHttp, ledger: str = "ledger") -> Iterator[ClickHouseScratch]:
    """An empty table defined as `ledger` is, dropped at the end; sweeps up what killed canaries have left."""
    leftovers = http.rows(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, {prefix:String}) "
        "AND metadata_modification_time < now() - {age:UInt32}",
        parameters={"prefix": _PREFIX, "age": _LEFTOVER_S},
        settings=READ_SETTINGS,
    )
    for (name,) in leftovers:
        http.execute(f"DROP TABLE IF EXISTS {name}")
    scratch = f"{_PREFIX}{secrets.token_hex(8)}"
    http.execute(f"CREATE TABLE {scratch} AS {ledger}")
    try:
        yield ClickHouseScratch(http, scratch)
    finally:
        http.execute(f"DROP TABLE IF EXISTS {scratch}")
