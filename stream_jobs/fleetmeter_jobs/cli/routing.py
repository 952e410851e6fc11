"""`fleetmeter routing`: which queries had better go to the cloud at once."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Final

import typer
from fleetmeter_billing.decide.routing import Attempts, Recommendation, recommend
from fleetmeter_sql.named_queries import load_query, run_query

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.options import DataDir, Given, Json, decimal, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json, print_table

app = command_app()

_KINDS: Final = 10_000
"""More kinds of queries than anybody tells apart."""


@app.command("routing")
def routing(
    time_from: Annotated[str, typer.Option("--from", help="First moment: 2026-11-01, now-7d.")] = "now-7d",
    time_to: Annotated[str, typer.Option("--to", help="First moment that does not count any more.")] = "now",
    account: Annotated[str, typer.Option("--account", help="Only this account.")] = "",
    limit: Annotated[float, typer.Option("--limit", min=0, max=1, help="Share of attempts that may fall back.")] = 0.5,
    cost: Annotated[
        Decimal | None, typer.Option("--cloud-query-cost", parser=decimal, help="What a query costs in the cloud.")
    ] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Advise which kinds of queries to send to the cloud at once: those that devices mostly fail at.

    A kind is a model and a query class. Advice is given where the attempts leave no doubt (95 %). Sent at once, a kind
    saves what its failed attempts wasted, and adds the queries that devices do answer to the cloud's.

    Example: fleetmeter routing --from now-30d --limit 0.4 --cloud-query-cost 0.005
    """
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        answer = run_query(
            client,
            load_query("fallback_hot_spots"),
            {"from": time_from, "to": time_to, "account": account, "limit": str(_KINDS)},
            database=settings.clickhouse_database,
        )
    rows = [dict(zip(answer.column_names, row, strict=True)) for row in answer.result_rows]
    found = recommend([Attempts.of(row) for row in rows], limit=limit, cloud_query_cost=cost)
    if as_json:
        print_json([asdict(one) for one in found])
    elif not found:
        console.print("No query fell back in that time.")
    else:
        print_table(
            ("model", "query class", "advice", "fell back", "of", "rate", "wasted s", "more in cloud", "cost", "why"),
            [_row(one) for one in found],
        )


def _row(one: Recommendation) -> tuple[object, ...]:
    attempts = one.attempts
    rate = "-" if one.rate is None else f"{one.rate:.0%} ({one.rate_lower:.0%} to {one.rate_upper:.0%})"
    cost = "-" if one.more_cost is None else f"{one.more_cost:,.2f}"
    total = attempts.fallbacks + attempts.local_answers
    wasted_s = attempts.wasted_active_ms // 1000
    return (
        *(attempts.model, attempts.query_class, one.advice, attempts.fallbacks, total, rate, wasted_s),
        *(one.more_cloud_queries, cost, attempts.top_reason),
    )
