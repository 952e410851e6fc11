"""`fleetmeter rebuild`: makes everything that is derived from the ledger again."""

from __future__ import annotations

import typer
from fleetmeter_sql import rebuild_views
from rich.text import Text

from fleetmeter_jobs.audit.derived import check_derived
from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.clickhouse import connect, require_migrated, table_options
from fleetmeter_jobs.cli.exits import Exit
from fleetmeter_jobs.cli.ledger import audit_store
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json, progress

app = command_app()


@app.command("rebuild")
def rebuild(as_json: Json = False, data_dir: DataDir = None, setting: Given = None) -> None:
    """Make the hourly, daily and all other derived data again from the ledger.

    It is views, so this takes a moment and stops nobody: readers see the old one or the new one. What the ledger
    itself and the tables beside it hold is not touched. Then each view is compared with the ledger; exits 1 if one
    still differs.

    Example: fleetmeter rebuild --json
    """
    settings = settings_of_stack(data_dir, setting)
    database = settings.clickhouse_database
    with connect(settings) as client:
        require_migrated(client, database)
        views = rebuild_views(client, database, table_options(settings))
    with progress(quiet=as_json) as display:
        task = display.add_task("Comparing", total=None, detail="")
        checked = check_derived(audit_store(settings).http, lambda what: display.update(task, detail=what))
    if as_json:
        print_json({"database": database, "rebuilt": views, **checked.as_dict()})
    else:
        for name in views:
            console.print(f"made again: {name}")
        for finding in checked.findings:
            console.print(Text(str(finding), "red"), soft_wrap=True)
        if checked.ok:
            console.print(Text(f"They say what the ledger says ({checked.examined}).", "bold green"))
    if not checked.ok:
        raise typer.Exit(Exit.NO)
