"""`fleetmeter closes`: the periods that are closed, and whether what was frozen is still what it was."""

from __future__ import annotations

from typing import Annotated

import typer
from fleetmeter_billing.periods.close_log import winning_closes
from fleetmeter_billing.periods.verify import altered_tables
from fleetmeter_billing.usage.frozen import unbilled

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.close_rows import close_as_dict
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json, print_table

app = command_app()

Verify = Annotated[
    bool, typer.Option("--verify", help="Count and hash what each close froze, and compare; exits 1 if it differs.")
]
Listed = Annotated[
    str | None, typer.Option("--unbilled", metavar="PERIOD", help="List the usage of a period that nobody pays for.")
]


@app.command()
def closes(
    verify: Verify = False,
    listed: Listed = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """List the billing periods that are closed.

    In the order in which they were; a close freezes what came late of earlier ones, too.

    Example: fleetmeter closes --verify
    """
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        found = winning_closes(client)
        if listed is not None:
            close = next((one for one in found if one.period == listed), None)
            if close is None:
                raise CommandError(f"{listed} is not closed: see `fleetmeter closes`.")
            columns = ("account", "reason", "requests", "fallbacks", "input_tokens", "output_tokens", "facts")
            rows = [{name: getattr(one, name) for name in columns} for one in unbilled(client, close)]
            if as_json:
                print_json(rows)
            else:
                print_table(columns, [list(row.values()) for row in rows])
            return
        altered = {one.seq: altered_tables(client, one) for one in found} if verify else {}
    if as_json:
        print_json([{**close_as_dict(one), **({"altered": altered[one.seq]} if verify else {})} for one in found])
    elif not found:
        console.print("No period is closed yet: `fleetmeter close --period 2026-11`.")
    else:
        print_table(
            ("close", "period", "accounts", "usage_rows", "corrected", "closed_by", "closed_at", *("intact",) * verify),
            [
                (
                    one.seq,
                    one.period,
                    one.accounts,
                    one.row_counts[1],
                    ", ".join(one.corrected),
                    one.closed_by,
                    one.closed_at,
                    *((not altered[one.seq],) if verify else ()),
                )
                for one in found
            ],
        )
    wrong = {seq: tables for seq, tables in altered.items() if tables}
    if wrong:
        if not as_json:
            for seq, tables in wrong.items():
                console.print(f"Close {seq} is not as it was frozen: {', '.join(tables)}. Restore them from a backup.")
        raise typer.Exit(Exit.NO)
