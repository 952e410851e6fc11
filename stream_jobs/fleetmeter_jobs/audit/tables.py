"""Are the tables those of this build, made so that what is committed stays: tokens, replicas, waiting for the disk?"""

from __future__ import annotations

import re
from typing import Final

from fleetmeter_sql import SqlError, pending_migrations, read_durability
from fleetmeter_sql.client import SqlClient
from fleetmeter_sql.durability import ALWAYS_DURABLE_TABLES

from fleetmeter_jobs.audit.findings import Checked, Finding
from fleetmeter_jobs.ledger.canary import LEAST_WINDOW
from fleetmeter_jobs.settings import Settings

_WINDOW: Final = re.compile(r"\b(?:non_)?replicated_deduplication_window = (\d+)")
_ENGINE: Final = "SELECT engine, engine_full FROM system.tables WHERE database = {database:String} AND name = 'ledger'"


def check_tables(client: SqlClient, settings: Settings) -> Checked:
    """Look at the definitions that are in force. Raises what ClickHouse raises when it is away."""
    database = settings.clickhouse_database
    try:
        lacking = pending_migrations(client, database)
    except SqlError as error:
        return Checked("tables", f"database {database}", (Finding(f"{error}."),))
    found = [
        Finding(f"{database} lacks the migration {migration}.", "Run `fleetmeter migrate`.") for migration in lacking
    ]
    rows = client.query(_ENGINE, parameters={"database": database}).result_rows
    if not rows:
        return Checked("tables", f"database {database}", tuple(found))
    engine, full = rows[0]
    window = _WINDOW.search(full)
    remembered = int(window[1]) if window else 0
    if remembered < LEAST_WINDOW:
        sentence = f"The ledger remembers {remembered} tokens of inserts, {LEAST_WINDOW} are needed."
        found.append(
            Finding(sentence, "Workers refuse it: set the table's deduplication window as the migration has it.")
        )
    is_replicated = engine.startswith("Replicated")
    if is_replicated != bool(settings.clickhouse_replicated_path):
        found.append(
            Finding(
                f"The ledger's engine is {engine}, which is not what FLEETMETER_CLICKHOUSE_REPLICATED_PATH says.",
                "Workers refuse it: give them the settings with which the tables were made.",
            )
        )
    durable, findings = _durability(client, settings)
    tokens = f"{remembered:,} tokens"
    return Checked("tables", f"{engine}, {tokens}, {durable}", (*found, *findings))


def _durability(client: SqlClient, settings: Settings) -> tuple[str, list[Finding]]:
    tables = read_durability(client, settings.clickhouse_database)
    lacking = {table.table: table.lacking for table in tables if table.lacking}
    if not lacking:
        return f"fsync in {len(tables)} tables", []
    wanted = {
        name: what for name, what in lacking.items() if settings.clickhouse_fsync or name in ALWAYS_DURABLE_TABLES
    }
    unwanted = lacking.keys() - wanted.keys()
    findings = []
    if wanted:
        missing = ", ".join(sorted({setting for what in wanted.values() for setting in what}))
        sentence = (
            f"Inserts into {', '.join(wanted)} don't wait for the disk ({missing}): a power failure may lose them."
        )
        findings.append(Finding(sentence, "Run `fleetmeter migrate`."))
    if unwanted:
        names = ", ".join(sorted(unwanted))
        sentence = f"Inserts into {names} don't wait for the disk, as FLEETMETER_CLICKHOUSE_FSYNC asks."
        advice = "A power failure may lose commits, not only the newest ones; `fleetmeter audit` finds that afterwards."
        findings.append(Finding(sentence, advice, is_problem=False))
    return f"fsync lacks in {len(lacking)} of {len(tables)} tables", findings
