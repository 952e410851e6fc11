"""Whether an insert waits for the disk, table by table: what is in force, and how to change it.

Without it, a machine that loses power loses what the operating system had not written yet (half a minute, as Linux is
set up): not a clean end of what was counted, but any parts of it. A worker would go on from the newest position that is
there, and a commit before it may be missing for good. With it, an insert that was answered is on the disk.

The tables beside the ledger are in it because their rows are written before the commit that counts on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fleetmeter_sql.client import SqlClient, in_database
from fleetmeter_sql.table_options import TableOptions

FSYNC_SETTINGS: Final[Mapping[str, int]] = {
    # The part's files, before the insert is answered.
    "fsync_after_insert": 1,
    # And the directory that names them: the rename that makes the part visible.
    "fsync_part_directory": 1,
    # A merge deletes the parts that it read some minutes later; by then its own must be on the disk.
    "min_rows_to_fsync_after_merge": 1,
}
FETCH_SETTING: Final = "min_compressed_bytes_to_fsync_after_fetch"
"""On replicas besides: a part that was fetched from another one counts for the quorum."""
DURABLE_TABLES: Final = (
    "ledger",
    "quarantine",
    "usage_facts",
    "usage_estimates",
    "usage_adjustments",
    "usage_subjects",
    "position_changes",
    "partition_growth",
    "billing_accounts",
    "billing_subscriptions",
    "billing_rate_cards",
    "billing_credit_entries",
    "billing_closes",
    "billing_frozen_segments",
    "billing_frozen_usage",
    "billing_frozen_facts",
    "billing_frozen_adjustments",
    "billing_frozen_subjects",
    "billing_unbilled",
    "billing_invoices",
    "billing_invoice_lines",
)
"""Tables whose rows a later step takes for granted. Watermarks are none of them: they rise again by themselves."""
ALWAYS_DURABLE_TABLES: Final = ("dedup_ids", "dedup_snapshots")
"""Whatever the options say: what these hold is deleted from the ledger."""


@dataclass(frozen=True, slots=True)
class TableDurability:
    """What is in force for one table: by the table's own settings, else by the server's."""

    table: str
    engine: str
    settings: Mapping[str, int]

    @property
    def lacking(self) -> list[str]:
        """The settings that would have to be on, and are not."""
        wanted = [*FSYNC_SETTINGS, *([FETCH_SETTING] if self.engine.startswith("Replicated") else [])]
        # 1 is on; a larger number spares merges of fewer rows, and parts of fewer bytes.
        return [name for name in wanted if self.settings.get(name) != 1]


def read_durability(client: SqlClient, database: str) -> list[TableDurability]:
    """What is in force for each durable table of the database that exists, those that are always durable last."""
    in_database(database)
    names = [*FSYNC_SETTINGS, FETCH_SETTING]
    of_server = {
        name: int(value)
        for name, value in client.query(
            "SELECT name, value FROM system.merge_tree_settings WHERE has({names:Array(String)}, name)",
            parameters={"names": names},
        ).result_rows
    }
    tables = {
        name: (engine, full)
        for name, engine, full in client.query(
            "SELECT name, engine, engine_full FROM system.tables WHERE database = {database:String}",
            parameters={"database": database},
        ).result_rows
    }
    return [
        TableDurability(name, tables[name][0], of_server | _own(tables[name][1], names))
        for name in (*DURABLE_TABLES, *ALWAYS_DURABLE_TABLES)
        if name in tables
    ]


def set_durability(client: SqlClient, database: str, options: TableOptions) -> list[str]:
    """Turn waiting for the disk on or off, where it is not as `options.fsync` says; returns the tables it changed.

    On replicas a table's settings belong to each server: with `options.cluster` all of them are told, else only the one
    that is asked. Raises what the client raises; run it again then.
    """
    changed = []
    for found in read_durability(client, database):
        fsync = options.fsync or found.table in ALWAYS_DURABLE_TABLES
        if not (found.lacking if fsync else any(found.settings.values())):
            continue
        names = [*FSYNC_SETTINGS, *([FETCH_SETTING] if found.engine.startswith("Replicated") else [])]
        values = ", ".join(f"{name} = {int(fsync)}" for name in names)
        statement = options.render(f"ALTER TABLE {found.table} MODIFY SETTING {values}")
        client.command(statement, settings=in_database(database), use_database=False)
        changed.append(found.table)
    return changed


def _own(engine_full: str, names: list[str]) -> dict[str, int]:
    """The settings that stand in a table's definition."""
    _, _, settings = engine_full.partition(" SETTINGS ")
    given = dict(part.split(" = ", 1) for part in settings.split(", ") if " = " in part)
    # As whoever set them wrote them: 1, '1' or true.
    plain = {name: value.strip("'") for name, value in given.items()}
    return {name: int({"true": "1", "false": "0"}.get(plain[name], plain[name])) for name in names if name in plain}
