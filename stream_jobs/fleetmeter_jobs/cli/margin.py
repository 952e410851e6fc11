"""`fleetmeter margin`: what usage earned and cost, and when steps per token move that."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from fleetmeter_billing.decide.costs import load_costs
from fleetmeter_billing.decide.margin import KEYS, Drift, Key, Margin, by, drifts, read_margins
from fleetmeter_billing.decide.priced_period import as_billed, read_closed
from fleetmeter_billing.rates.money import round_amount
from rich.text import Text

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.billing_books import read_cards
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.options import DataDir, Given, Json, decimal, settings_of_stack
from fleetmeter_jobs.cli.output import console, notes, print_json, print_table, progress

app = command_app(help="Show margins by account, model and mode, and alarm when steps per token move them.")

CostsFile = Annotated[Path, typer.Option("--costs", help="What usage costs, in YAML; see docs/deciding.md.")]
Accounts = Annotated[list[str] | None, typer.Option("--account", help="Only this account. Repeatable.")]


@app.command("show")
def show(
    period: Annotated[str, typer.Option("--period", help="A closed billing period, such as 2026-11.")],
    costs: CostsFile,
    keys: Annotated[str, typer.Option("--by", help="account, model, generation_mode: any of them, by commas.")] = (
        "model,generation_mode"
    ),
    account: Accounts = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Show revenue, cost and margin of a closed period.

    Revenue is what the period was billed at, shared out to the traffic behind it. Requests that reported nothing to
    cost them by are counted as unseen: their margin looks too good.

    Example: fleetmeter margin show --period 2026-11 --costs costs.yaml --by account,model
    """
    chosen = _keys(keys)
    (margins,) = _read([period], costs, account or (), data_dir, setting)
    if account and not margins:
        raise CommandError(f"Period {period} has no usage of {', '.join(account)}: see `fleetmeter accounts list`.")
    rows = by(margins, chosen)
    totals = by(margins, ())
    if as_json:
        print_json({"period": period, "rows": [_as_dict(one) for one in rows], "totals": [_as_dict(t) for t in totals]})
        return
    columns = (*chosen, "revenue", "cost", "margin", "percent", "requests", "unseen", "steps_per_token")
    print_table(columns, [_row(one, chosen) for one in rows], title=f"Margins of {period}")
    for total in totals:
        percent = "" if total.percent is None else f" ({total.percent:.1f} %)"
        console.print(
            Text(
                f"{_money(total.revenue, total)} less {_money(total.cost, total)} = "
                f"{_money(total.margin, total)} {total.currency}{percent}",
                "bold",
            )
        )
        if total.unseen:
            notes.print(unseen_note(total))


@app.command("drift")
def drift(
    before: Annotated[str, typer.Option("--from", help="The earlier closed period.")],
    after: Annotated[str, typer.Option("--to", help="The later one.")],
    costs: CostsFile,
    steps: Annotated[
        Decimal, typer.Option("--steps-percent", parser=decimal, help="Change of steps per token, up or down.")
    ] = Decimal(10),
    points: Annotated[
        Decimal, typer.Option("--points", parser=decimal, help="Percentage points by which that moves the margin.")
    ] = Decimal(2),
    account: Accounts = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Compare two periods, and alarm where steps per token moved the margin of a model. Exits 1 if there is an alarm.

    Both limits have to be reached: steps per token that moved, and by that the margin.

    Example: fleetmeter margin drift --from 2026-10 --to 2026-11 --costs costs.yaml --points 3
    """
    old, new = _read([before, after], costs, account or (), data_dir, setting)
    found = drifts(old, new, steps_percent=steps, points=points)
    if as_json:
        print_json([_drift_dict(one) for one in found])
    elif not found:
        console.print(f"From {before} to {after} no model's steps per token moved its margin beyond the limits.")
    else:
        print_table(
            ("model", "mode", "steps/token", "was", "change", "margin", "was", "by steps", "cost of it"),
            [
                (
                    *(one.after.model, one.after.generation_mode),
                    *(f"{one.after.steps_per_token:.4f}", f"{one.before.steps_per_token:.4f}"),
                    *(f"{one.steps_percent:+.1f} %", f"{one.after.percent:.1f} %", f"{one.before.percent:.1f} %"),
                    *(f"{one.points_of_steps:+.1f} points", f"{_money(one.cost_of_steps, one.after)}"),
                )
                for one in found
            ],
            title=f"Margins moved by steps per token, {before} to {after}",
        )
    if found:
        raise typer.Exit(Exit.NO)


def unseen_note(margin: Margin) -> str:
    """What a margin leaves out."""
    of = f"{margin.unseen:,} of {margin.requests:,} requests and jobs"
    return f"{of} reported nothing to cost them by, or no rule matched."


def _read(
    periods: list[str], costs: Path, accounts: list[str] | tuple[str, ...], data_dir: Any, setting: Any
) -> list[list[Margin]]:
    rules = load_costs(costs)
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client, progress() as shown:
        shown.add_task("rating", detail=" ".join(periods), total=None)
        billed = as_billed(read_cards(client).card_of)
        return [read_margins(client, read_closed(client, one, accounts), rules, billed, accounts) for one in periods]


def _keys(text: str) -> list[Key]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in KEYS]:
        raise CommandError(f"--by {', '.join(unknown)}: choose from {', '.join(KEYS)}.")
    return [key for key in KEYS if key in names]


def _money(amount: Decimal, of: Margin) -> str:
    return f"{round_amount(amount, of.currency):,f}"


def _row(one: Margin, keys: list[Key]) -> tuple[object, ...]:
    percent = "-" if one.percent is None else f"{one.percent:.1f} %"
    ratio = "-" if one.steps_per_token is None else f"{one.steps_per_token:.4f}"
    names = [getattr(one, key) for key in keys]
    money = [_money(amount, one) for amount in (one.revenue, one.cost, one.margin)]
    return *names, *money, percent, one.requests, one.unseen, ratio


def _as_dict(one: Margin) -> dict[str, Any]:
    return {
        **{key: getattr(one, key) for key in KEYS},
        "currency": one.currency,
        "revenue": round(one.revenue, 12),
        "cost": round(one.cost, 12),
        "margin": round(one.margin, 12),
        "percent": None if one.percent is None else round(one.percent, 4),
        "requests": one.requests,
        "unseen": one.unseen,
        "output_tokens": one.output_tokens,
        "steps": one.steps,
        "steps_per_token": None if one.steps_per_token is None else round(one.steps_per_token, 9),
    }


def _drift_dict(one: Drift) -> dict[str, Any]:
    return {
        "model": one.after.model,
        "generation_mode": one.after.generation_mode,
        "before": _as_dict(one.before),
        "after": _as_dict(one.after),
        "steps_percent": round(one.steps_percent, 4),
        "points": round(one.points, 4),
        "points_of_steps": round(one.points_of_steps, 4),
        "cost_of_steps": round(one.cost_of_steps, 12),
    }
