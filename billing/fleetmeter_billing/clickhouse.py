"""What billing needs of a ClickHouse client, and the settings that its statements pin.

`clickhouse_connect.get_client(...)` is such a client. It may send a statement again by itself; so each insert has a
token under which ClickHouse takes it once, whoever sends it again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final, Protocol

from fleetmeter_sql.client import SqlClient

_ROWS_OF_ONE_BLOCK: Final = 16_000_000
"""More than any statement here writes, so that nothing cuts it into two blocks, hence two parts."""

_THROW: Final[dict[str, str | int]] = dict.fromkeys(
    (
        "timeout_overflow_mode",
        "timeout_overflow_mode_leaf",
        "read_overflow_mode",
        "read_overflow_mode_leaf",
        "result_overflow_mode",
        "group_by_overflow_mode",
        "sort_overflow_mode",
        "distinct_overflow_mode",
        "join_overflow_mode",
        # Else what is "not among those frozen" would be what was frozen, too, and be billed again.
        "set_overflow_mode",
        "transfer_overflow_mode",
    ),
    "throw",
)
"""Whatever limits a profile sets, reaching one is an error and never a smaller bill."""

READ_SETTINGS: Final[dict[str, str | int]] = {
    "use_query_cache": 0,
    "limit": 0,
    "offset": 0,
    **_THROW,
    # The newest number of an empty log is 0; NULL would be the number before no row, which nobody could ever add.
    "aggregate_functions_null_for_empty": 0,
    "select_sequential_consistency": 1,
    "apply_deleted_mask": 1,
}
"""The whole answer, of what is there now."""

INSERT_SETTINGS: Final[dict[str, str | int]] = {
    **READ_SETTINGS,
    "async_insert": 0,
    # Under its token a statement's rows get in once.
    "insert_deduplicate": 1,
    "deduplicate_insert": "enable",
    "deduplicate_insert_select": "enable_even_for_bad_queries",
    # One block makes one part, which appears in one rename.
    "max_insert_threads": 1,
    "use_strict_insert_block_limits": 0,
    "min_insert_block_size_rows": _ROWS_OF_ONE_BLOCK,
    "min_insert_block_size_bytes": 0,
    "max_insert_block_size": _ROWS_OF_ONE_BLOCK,
    "max_insert_block_size_bytes": 0,
    # "Done" means that most replicas have it. No effect on a single server.
    "insert_quorum": "auto",
    "insert_quorum_parallel": 0,
}
"""One part, all or nothing, once under its token (give `insert_deduplication_token` besides)."""

DELETE_SETTINGS: Final[dict[str, str | int]] = {
    "lightweight_deletes_sync": 2,
    "mutations_sync": 2,
    "lightweight_delete_mode": "alter_update",
    **_THROW,
}
"""Return when the rows are gone for every reader."""


class BillingClient(SqlClient, Protocol):
    """A clickhouse_connect client whose default database is the one that fleetmeter keeps its tables in."""

    def raw_insert(
        self,
        table: str | None = None,
        column_names: Any = None,
        insert_block: Any = None,
        settings: Any = None,
        fmt: str | None = None,
        compression: str | None = None,
    ) -> object: ...


def insert_settings(token: str) -> dict[str, str | int]:
    """The settings of an insert that happens once under this name."""
    return {**INSERT_SETTINGS, "insert_deduplication_token": token}


def in_utc(moment: datetime) -> datetime:
    """A time as the client gave it: those of columns in UTC come without a zone, depending on its settings."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
