"""Settings of ClickHouse that the ledger pins for each statement, whatever the server's or the user's defaults are.

Each of them was seen to lose, split or double rows when left to chance; `canary` proves that they work where we run.
"""

from __future__ import annotations

from typing import Final

_ROWS_OF_ONE_BLOCK: Final = 16_000_000
"""More than any commit has, so that nothing cuts it into two blocks, hence two parts, hence two commits."""

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
    ),
    "throw",
)
"""Whatever limits a profile sets, reaching one is an error and never a shorter answer."""

_QUORUM: Final[dict[str, str | int]] = {
    # No effect on a single server. On replicas, "done" must mean that most of them have it: what only one has is gone
    # with its disk, and a successor would count it again.
    "insert_quorum": "auto",
    # One after the other, or sequential reads don't exist.
    "insert_quorum_parallel": 0,
    # Shorter than an insert may take, so that the server says that the quorum was not reached and why.
    "insert_quorum_timeout": 30_000,
}

COMMIT_SETTINGS: Final[dict[str, str | int]] = {
    # Queued inserts are acknowledged, merged with others and written later: neither a token nor a read-back holds.
    "async_insert": 0,
    # The token is half of the compare-and-swap: on for plain inserts and, since it is one, for INSERT SELECT.
    "insert_deduplicate": 1,
    "deduplicate_insert": "enable",
    "deduplicate_insert_select": "force_enable",
    # One thread and one block make one part, which appears in one rename.
    "max_insert_threads": 1,
    "use_strict_insert_block_limits": 0,
    "min_insert_block_size_rows": _ROWS_OF_ONE_BLOCK,
    "min_insert_block_size_bytes": 0,
    "max_insert_block_size": _ROWS_OF_ONE_BLOCK,
    "max_insert_block_size_bytes": 0,
    # A flush has one row a key already: looking for rows to merge within it takes longer than all the rest.
    "optimize_on_insert": 0,
    # A profile's limit or offset would cut rows off the SELECT without a word.
    "limit": 0,
    "offset": 0,
    # 'break' would end a slow or large insert early and call it done, or let the guard see half of the markers.
    **_THROW,
    # The guard must see the table, not an answer remembered from before, nor a replica that lags behind.
    "use_query_cache": 0,
    "select_sequential_consistency": 1,
    **_QUORUM,
}

SIDE_ROW_SETTINGS: Final[dict[str, str | int]] = {
    "async_insert": 0,
    "limit": 0,
    "offset": 0,
    **_THROW,
    # The commit that follows takes them for granted.
    **_QUORUM,
}

READ_SETTINGS: Final[dict[str, str | int]] = {
    "use_query_cache": 0,
    "limit": 0,
    "offset": 0,
    **_THROW,
    # No effect on a single server; on replicas a read must not be older than the newest quorum insert.
    "select_sequential_consistency": 1,
    # 64-bit numbers as JSON numbers: Python reads them exactly.
    "output_format_json_quote_64bit_integers": 0,
    # Blobs are bytes, not text.
    "output_format_arrow_string_as_string": 0,
    # What was deleted is not to be read, even before a merge has removed it.
    "apply_deleted_mask": 1,
}

DELETE_SETTINGS: Final[dict[str, str | int]] = {
    # Return when every part is masked, on this server or on all replicas, and not when it was merely noted.
    "lightweight_deletes_sync": 2,
    "mutations_sync": 2,
    # A mask beside the part, not a patch that readers would have to apply.
    "lightweight_delete_mode": "alter_update",
    **_THROW,
}
