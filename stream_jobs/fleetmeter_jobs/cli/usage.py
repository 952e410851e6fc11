"""`fleetmeter usage`: rollups by any dimensions, summed over any time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from fleetmeter_schemas.native_spec import ledger_measures

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json, print_table
from fleetmeter_jobs.cli.times import check_span, parse_moment
from fleetmeter_jobs.usage import usage

app = command_app()

USUAL_MEASURES: Final = (
    "requests",
    "fallbacks",
    "input_tokens",
    "output_tokens",
    "denoising_steps",
    "function_evaluations",
    "matrix_gflop",
    "gpu_ms",
)

By = Annotated[
    str, typer.Option("--by", help="Dimensions, separated by commas; also minute, hour, day. Empty for one total.")
]
From = Annotated[str | None, typer.Option("--from", help="First moment: 2026-03-01, an RFC 3339 time, or now-2h.")]
To = Annotated[str | None, typer.Option("--to", help="First moment that does not count any more, in the same forms.")]
Filter = Annotated[
    list[str] | None, typer.Option("--filter", "-f", metavar="DIMENSION=VALUE", help="Only rows with this value.")
]
Measures = Annotated[
    str | None, typer.Option("--measures", help="Columns of the table, separated by commas; --json prints all.")
]


@app.command("usage")
def usage_command(
    by: By = "account_id,model",
    time_from: From = None,
    time_to: To = None,
    filters: Filter = None,
    measures: Measures = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Print usage by any dimensions, summed over any time. Whole minutes count, by their beginning.

    Example: fleetmeter usage --by account_id,model,generation_mode --from now-1d --json
    """
    settings = settings_of_stack(data_dir, setting)
    chosen = _measures(measures)
    now = datetime.now(UTC)
    start = parse_moment("--from", time_from, now) if time_from else None
    end = parse_moment("--to", time_to, now) if time_to else None
    check_span(start, end)
    names = [name.strip() for name in by.split(",") if name.strip()]
    with connect(settings, database=settings.clickhouse_database) as client:
        rows = usage(client, names, start, end, dict(_pair(text) for text in filters or []))
    if as_json:
        print_json(rows)
    elif not rows:
        console.print("No usage in that time. `fleetmeter reconcile` tells whether events wait or were refused.")
    else:
        shown = chosen or [name for name in USUAL_MEASURES if any(row[name] for row in rows)]
        print_table([*names, *shown], [[reported(row, name) for name in (*names, *shown)] for row in rows])


def reported(row: dict[str, Any], name: str) -> Any:
    """The cell of a column; None for a measure that no event of the row reported, since absent is not zero."""
    return None if row.get(f"{name}_samples") == 0 else row[name]


def _measures(text: str | None) -> list[str]:
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    if unknown := [name for name in names if name not in ledger_measures()]:
        raise CommandError(f"--measures {', '.join(unknown)}: choose from {', '.join(ledger_measures())}.")
    return names


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"--filter {text!r} is not DIMENSION=VALUE, such as model=llada-8b-instruct.")
    return name.strip(), value
