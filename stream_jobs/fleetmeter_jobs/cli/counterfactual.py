"""`fleetmeter counterfactual`: a closed period's work, done otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from fleetmeter_billing.decide.costs import load_costs
from fleetmeter_billing.decide.counterfactual import Otherwise, Scenario, Work, compare_work, read_work
from fleetmeter_billing.decide.estimated_queries import estimated_queries
from fleetmeter_billing.decide.priced_period import ClosedPeriod, read_closed
from fleetmeter_billing.decide.scenarios import all_cloud, autoregressive, fewer_steps, local_share
from fleetmeter_billing.rates.money import round_amount
from fleetmeter_schemas.catalogue import load_catalogue
from rich.text import Text

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.billing_books import read_cards
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.options import DataDir, Given, Json, decimal, settings_of_stack
from fleetmeter_jobs.cli.output import console, notes, print_json, print_table, progress

app = command_app(help="Show what a period's work would have cost and been billed at, done otherwise.")

PeriodName = Annotated[str, typer.Option("--period", help="A closed billing period, such as 2026-11.")]
CostsFile = Annotated[Path | None, typer.Option("--costs", help="What usage costs, in YAML; without, bills alone.")]
Accounts = Annotated[list[str] | None, typer.Option("--account", help="Only this account. Repeatable.")]
Make = Callable[[Any, ClosedPeriod, Sequence[str]], Scenario]


@app.command("all-cloud")
def all_cloud_command(
    period: PeriodName,
    costs: CostsFile = None,
    account: Accounts = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Everything that devices answered, answered in the cloud instead: metered queries, and the least that voluntary
    reports allow.

    Example: fleetmeter counterfactual all-cloud --period 2026-11 --costs costs.yaml
    """

    def make(client: Any, closed: ClosedPeriod, accounts: Sequence[str]) -> Scenario:
        return partial(all_cloud, estimated=estimated_queries(client, closed, accounts))

    _compare("all in the cloud", make, period, costs, account, as_json, data_dir, setting)


@app.command("local")
def local_command(
    period: PeriodName,
    share: Annotated[Decimal, typer.Option("--share", parser=decimal, help="Percent of queries on devices.")],
    costs: CostsFile = None,
    account: Accounts = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """A share of each account's queries answered on devices, and the rest in the cloud as it is there now.

    Example: fleetmeter counterfactual local --share 90 --period 2026-11 --costs costs.yaml
    """
    part = _fraction("--share", share, most=100)
    _compare(
        f"{share} % on devices",
        lambda *_: lambda rows: local_share(rows, part),
        *(period, costs, account, as_json, data_dir, setting),
    )


@app.command("steps")
def steps_command(
    period: PeriodName,
    percent: Annotated[
        Decimal, typer.Option("--percent", parser=decimal, help="Percent of the steps that there were.")
    ],
    costs: CostsFile = None,
    account: Accounts = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Parallel generation with fewer (or more) denoising steps; forward passes, operations and accelerator time follow.

    Example: fleetmeter counterfactual steps --percent 75 --period 2026-11 --costs costs.yaml
    """
    factor = _fraction("--percent", percent, most=1000)
    _compare(
        f"{percent} % of the steps",
        lambda *_: lambda rows: fewer_steps(rows, factor),
        *(period, costs, account, as_json, data_dir, setting),
    )


@app.command("autoregressive")
def autoregressive_command(
    period: PeriodName,
    model: Annotated[str, typer.Option("--model", help="A model of the catalogue that would have done it.")],
    costs: CostsFile = None,
    account: Accounts = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Parallel generation done token by token. Accelerator time is that of the period's own token-by-token traffic.

    Example: fleetmeter counterfactual autoregressive --model llama-3.1-8b --period 2026-11 --costs costs.yaml
    """
    entry = load_catalogue().find(model)
    if entry is None:
        raise CommandError(f"The catalogue has no model {model!r}: see `fleetmeter schema models`.")
    _compare(
        f"token by token by {model}",
        lambda *_: lambda rows: autoregressive(rows, entry, model=model),
        *(period, costs, account, as_json, data_dir, setting),
    )


def _fraction(option: str, percent: Decimal, *, most: int) -> Fraction:
    if not 0 <= percent <= most:
        raise CommandError(f"{option} {percent} is not between 0 and {most}.")
    return Fraction(percent) / 100


def _compare(
    what: str,
    make: Make,
    period: str,
    costs: Path | None,
    account: list[str] | None,
    as_json: bool,
    data_dir: Path | None,
    setting: list[str] | None,
) -> None:
    rules, accounts = None if costs is None else load_costs(costs), account or []
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client, progress(quiet=as_json) as shown:
        shown.add_task("rating", detail=period, total=None)
        closed = read_closed(client, period, accounts)
        material = read_work(client, closed, read_cards(client).card_of, rules, accounts)
        found = compare_work(material, make(client, closed, accounts), rules)
    if as_json:
        print_json(
            {
                "period": period,
                "scenario": what,
                "accounts": [{"actual": asdict(one.actual), "otherwise": asdict(one.otherwise)} for one in found],
                "totals": [
                    {"currency": currency, "actual": asdict(total.actual), "otherwise": asdict(total.otherwise)}
                    for currency, total in _totals(found).items()
                ],
            }
        )
        return
    print_table(
        ("account", "requests", "bill", "bill otherwise", "cost", "cost otherwise", ""),
        [
            (
                *(
                    one.actual.account,
                    one.otherwise.requests,
                    _money(one.actual.bill, one),
                    _money(one.otherwise.bill, one),
                ),
                *(_money(one.actual.cost, one), _money(one.otherwise.cost, one), one.actual.currency),
            )
            for one in found
        ],
        title=f"{period}, {what}",
    )
    for currency, total in _totals(found).items():
        _print_total(currency, total)


def _print_total(currency: str, total: Otherwise) -> None:
    sentence = (
        f"All together: billed {_money(total.actual.bill, total)}, otherwise {_money(total.otherwise.bill, total)}"
    )
    if total.actual.cost is not None:
        sentence += f"; cost {_money(total.actual.cost, total)}, otherwise {_money(total.otherwise.cost, total)}"
    console.print(Text(f"{sentence} {currency}.", "bold"))
    for name, work in (("as it was", total.actual), ("otherwise", total.otherwise)):
        if work.unseen:
            notes.print(f"{name}: {work.unseen:,} of {work.requests:,} requests have no known cost.")


def _totals(found: Sequence[Otherwise]) -> dict[str, Otherwise]:
    totals: dict[str, Otherwise] = {}
    for one in found:
        before = totals.get(one.actual.currency)
        totals[one.actual.currency] = (
            Otherwise(_sum(before.actual, one.actual), _sum(before.otherwise, one.otherwise)) if before else one
        )
    return totals


def _sum(one: Work, other: Work) -> Work:
    cost = None if one.cost is None or other.cost is None else one.cost + other.cost
    return Work("", one.currency, one.requests + other.requests, one.bill + other.bill, cost, one.unseen + other.unseen)


def _money(amount: Decimal | None, of: Otherwise) -> str:
    return "-" if amount is None else f"{round_amount(amount, of.actual.currency):,f}"
