"""`fleetmeter migrate`: brings a ClickHouse database to this version's schema."""

from __future__ import annotations

from typing import Annotated

import typer
from fleetmeter_sql.migrate import load_migrations, migrate, pending_migrations

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.clickhouse import connect, table_options
from fleetmeter_jobs.cli.exits import Exit
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json

app = command_app()

Check = Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if migrations are pending.")]


@app.command("migrate")
def migrate_command(
    check: Check = False, as_json: Json = False, data_dir: DataDir = None, setting: Given = None
) -> None:
    """Create or upgrade the ClickHouse tables. Running it again changes nothing; a newer database is refused.

    The settings clickhouse_fsync, clickhouse_replicated_path and clickhouse_cluster say how tables are made; whether
    inserts wait for the disk can be changed later by running it again.

    Example: fleetmeter migrate -s clickhouse_url=http://localhost:8123 -s clickhouse_database=fleetmeter
    """
    settings = settings_of_stack(data_dir, setting)
    database = settings.clickhouse_database
    with connect(settings) as client:
        options = table_options(settings)
        found = pending_migrations(client, database) if check else migrate(client, database, options=options)
    names = [str(migration) for migration in found]
    if as_json:
        print_json({"database": database, "pending" if check else "applied": names, "version": len(load_migrations())})
    else:
        for name in names:
            console.print(f"{'pending' if check else 'applied'}: {name}")
        console.print(
            f"{database} lacks {len(names)} migrations."
            if check and names
            else f"{database} has this version's schema."
        )
    if check and names:
        raise typer.Exit(Exit.NO)
