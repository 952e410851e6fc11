"""`fleetmeter experiment`: the experiments of published cards, and how their arms do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from fleetmeter_billing.accounts.account import Subscriber
from fleetmeter_billing.decide.costs import load_costs
from fleetmeter_billing.decide.experiments import Arm, arms_of, read_participants
from fleetmeter_billing.decide.priced_period import read_closed
from fleetmeter_billing.rates.cohorts import arm_of
from fleetmeter_billing.rates.money import round_amount
from fleetmeter_billing.rates.plan import Experiment

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.billing_books import PublishedCards, read_cards, read_subscribers
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, notes, print_json, print_table

app = command_app(help="List the experiments of rate cards, and report how their arms do.")

Name = Annotated[str, typer.Argument(metavar="EXPERIMENT", help="Its name in the card.")]
CardName = Annotated[str, typer.Option("--card", help="The card that it is in.")]


@app.command("list")
def list_experiments(as_json: Json = False, data_dir: DataDir = None, setting: Given = None) -> None:
    """List the experiments that cards had, with the versions in which they stand.

    An experiment begins and ends by publishing a card with it, or without. While it has its name its arms can't change.

    Example: fleetmeter experiment list
    """
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        cards = read_cards(client)
    rows: list[dict[str, Any]] = [
        {
            "card": card,
            "experiment": experiment.name,
            "on": experiment.on,
            "arms": {name: {"plan": arm.plan, "weight": arm.weight} for name, arm in sorted(experiment.arms.items())},
            "versions": versions,
            "runs": versions[-1] == cards.newest(card).version,
        }
        for card, experiment, versions in _experiments(cards)
    ]
    if as_json:
        print_json(rows)
    elif not rows:
        console.print("No published card has an experiment; see docs/deciding.md for how one is written.")
    else:
        print_table(
            ("card", "experiment", "on plan", "arms", "versions", "runs"),
            [
                (
                    *(row["card"], row["experiment"], row["on"]),
                    ", ".join(f"{name} {arm['weight']} ({arm['plan']})" for name, arm in row["arms"].items()),
                    ", ".join(map(str, row["versions"])),
                    row["runs"],
                )
                for row in rows
            ],
        )


@app.command("arm")
def show_arm(
    name: Name,
    accounts: Annotated[list[str], typer.Argument(metavar="ACCOUNT...")],
    card: CardName,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Show which arm accounts are in, or would be: it follows from the experiment and their names alone.

    Example: fleetmeter experiment arm cheaper acme globex --card fleet
    """
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        experiment = _find(read_cards(client), card, name)
    rows = [(account, arm := arm_of(experiment, account), experiment.arms[arm].plan) for account in accounts]
    if as_json:
        print_json([{"account": account, "arm": arm, "plan": plan} for account, arm, plan in rows])
    else:
        print_table(("account", "arm", "plan"), rows)


@app.command("report")
def report(
    name: Name,
    card: CardName,
    period: Annotated[str, typer.Option("--period", help="A closed billing period, such as 2026-11.")],
    costs: Annotated[Path | None, typer.Option("--costs", help="What usage costs, in YAML, for margins.")] = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Report revenue, margin, outcomes, conversions and cancellations of each arm in a closed period.

    Accounts that subscribed to the experiment's plan take part. The mean is revenue an account, ± its standard error.

    Example: fleetmeter experiment report cheaper --card fleet --period 2026-11 --costs costs.yaml
    """
    rules = None if costs is None else load_costs(costs)
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        cards = read_cards(client)
        experiment = _find(cards, card, name)
        subscribers: dict[str, Subscriber] = dict(read_subscribers(client))
        participants = read_participants(
            client, read_closed(client, period), experiment, card, subscribers, cards.card_of, rules
        )
    arms = arms_of(experiment, participants)
    if as_json:
        print_json({"experiment": name, "card": card, "period": period, "arms": [_as_dict(arm) for arm in arms]})
        return
    columns = ("arm", "plan", "accounts", "revenue", "cost", "margin", "mean", "outcomes", "converted", "cancelled", "")
    print_table(columns, [_row(arm) for arm in arms], title=f"{name} of {card}, {period}")
    if unseen := sum(arm.unseen for arm in arms):
        notes.print(f"{unseen:,} requests have no known cost, so that margins look too good.")


def _experiments(cards: PublishedCards) -> list[tuple[str, Experiment, list[int]]]:
    found: dict[tuple[str, str], tuple[Experiment, list[int]]] = {}
    for one in cards.all:
        for name, experiment in one.card.experiments.items():
            known = found.setdefault((one.card.card, name), (experiment, []))
            if known[0] == experiment:
                known[1].append(one.version)
            else:
                # Ended, and begun anew under the same name.
                found[one.card.card, name] = (experiment, [one.version])
    return [(card, experiment, versions) for (card, _), (experiment, versions) in sorted(found.items())]


def _find(cards: PublishedCards, card: str, name: str) -> Experiment:
    for of_card, experiment, _ in _experiments(cards):
        if (of_card, experiment.name) == (card, name):
            return experiment
    raise CommandError(f"No version of {card} has an experiment {name!r}: see `fleetmeter experiment list`.")


def _row(arm: Arm) -> tuple[object, ...]:
    def money(amount: Any) -> str:
        return "-" if amount is None else f"{round_amount(amount, arm.currency):,f}"

    error = "" if arm.standard_error is None else f" ± {arm.standard_error:,.2f}"
    outcomes = ", ".join(f"{name} {count:,}" for name, count in arm.outcomes.items())
    margin = None if arm.cost is None else arm.revenue - arm.cost
    return (
        *(arm.arm, arm.plan, arm.accounts, money(arm.revenue), money(arm.cost), money(margin)),
        *(f"{arm.mean:,.2f}{error}", outcomes, arm.converted, arm.cancelled, arm.currency),
    )


def _as_dict(arm: Arm) -> dict[str, Any]:
    names = ("arm", "plan", "weight", "currency", "accounts", "revenue", "cost", "unseen", "outcomes")
    more = ("converted", "cancelled", "mean", "standard_error")
    margin = None if arm.cost is None else arm.revenue - arm.cost
    return {**{name: getattr(arm, name) for name in (*names, *more)}, "margin": margin}
