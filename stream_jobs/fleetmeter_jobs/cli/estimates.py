"""`fleetmeter estimates`: whether what devices reported voluntarily can be true."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from fleetmeter_billing.decide.local_reports import Verdict, judge, read_reports
from fleetmeter_schemas.catalogue import load_catalogue

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.exits import Exit
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json, print_table
from fleetmeter_jobs.cli.times import check_span, parse_moment

app = command_app()


@app.command("estimates")
def estimates(
    time_from: Annotated[str, typer.Option("--from", help="Reports whose periods end after: 2026-11-01, now-30d.")] = (
        "now-30d"
    ),
    time_to: Annotated[str, typer.Option("--to", help="And not after this.")] = "now",
    account: Annotated[str | None, typer.Option("--account", help="Only this account.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Implausible reports to print; --json has all.")] = 50,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Hold devices' voluntary reports against what such devices can do. They are never charged.

    Exits 1 if one can't be true.

    Example: fleetmeter estimates --from 2026-11-01 --to 2026-12-01 --account acme
    """
    now = datetime.now(UTC)
    start, end = parse_moment("--from", time_from, now), parse_moment("--to", time_to, now)
    check_span(start, end)
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        verdicts = judge(read_reports(client, start, end, account), load_catalogue())
    false = [one for one in verdicts if one.state == "implausible"]
    if as_json:
        print_json(
            {
                "reports": len(verdicts),
                "summary": _summary(verdicts),
                "implausible": [{**asdict(one.report), "reasons": list(one.reasons)} for one in false],
            }
        )
    else:
        rows = _summary(verdicts)
        if rows:
            print_table(list(rows[0]), [list(row.values()) for row in rows])
        if false:
            print_table(
                ("account", "model", "time", "source", "event id", "why"),
                [
                    (r.account, r.model, r.time, r.source, r.event_id, "; ".join(one.reasons))
                    for one in false[:limit]
                    for r in (one.report,)
                ],
                title="Reports that can't be true",
            )
        console.print(f"{len(verdicts):,} reports, of which {len(false):,} can't be true.")
    if false:
        raise typer.Exit(Exit.NO)


def _summary(verdicts: list[Verdict]) -> list[dict[str, object]]:
    """By account and model: how many reports of each kind, and the queries that those which may be true tell."""
    found: dict[tuple[str, str], list[Verdict]] = {}
    for one in verdicts:
        found.setdefault((one.report.account, one.report.model), []).append(one)
    return [
        {
            "account": account,
            "model": model,
            "plausible": sum(one.state == "plausible" for one in own),
            "unbounded": sum(one.state == "unbounded" for one in own),
            "implausible": sum(one.state == "implausible" for one in own),
            "queries_at_least": sum(one.report.queries.least or 0 for one in own if one.state != "implausible"),
        }
        for (account, model), own in sorted(found.items())
    ]
