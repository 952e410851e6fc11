"""`fleetmeter rates simulate`: a closed period under another rate card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from fleetmeter_billing.decide.costs import load_costs
from fleetmeter_billing.decide.margin import Margin, simulate_margins
from fleetmeter_billing.decide.priced_period import as_billed, read_closed
from fleetmeter_billing.decide.publish_guard import draft_of
from fleetmeter_billing.decide.simulation import EVERY_CARD, Change, Effect, instead_of, simulate
from fleetmeter_billing.rates.card import DEFAULT_PLAN, PublishedCard
from fleetmeter_billing.rates.loading import load_card
from fleetmeter_billing.rates.money import round_amount
from rich.text import Text

from fleetmeter_jobs.cli.billing_books import PublishedCards, read_cards
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.margin import unseen_note
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, counted, notes, print_json, print_table, progress


def simulate_card(
    card: Annotated[str, typer.Argument(metavar="CARD", help="A file (YAML), or the name of a published card.")],
    period: Annotated[str, typer.Option("--period", help="A closed billing period, such as 2026-11.")],
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Of the published card; without, the newest.")
    ] = None,
    against: Annotated[
        int | None,
        typer.Option("--against", min=1, help="Compare with this version of the card; without, with what was billed."),
    ] = None,
    of_card: Annotated[
        str | None,
        typer.Option("--instead-of", metavar="CARD", help="Whose customers: of this card, or * (default: of CARD)."),
    ] = None,
    plan: Annotated[
        list[str] | None, typer.Option("--plan", metavar="OLD=NEW", help="Which plan follows a plan. Repeatable.")
    ] = None,
    costs: Annotated[
        Path | None, typer.Option("--costs", help="Show margins, too: what usage costs, in YAML; see docs/deciding.md.")
    ] = None,
    account: Annotated[list[str] | None, typer.Option("--account", help="Only this account. Repeatable.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Winners and losers to print; --json has all.")] = 10,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Rate a closed period by another card, and show who would pay less, who more, and the total. Nothing is changed.

    The card is taken as if it had held for the whole period. Late usage that was frozen since is in it.

    Example: fleetmeter rates simulate prices.yaml --period 2026-11 --plan team=business
    """
    plans = dict(_pair(text) for text in plan or [])
    rules = None if costs is None else load_costs(costs)
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client, progress(quiet=as_json) as shown:
        shown.add_task("rating", detail=period, total=None)
        cards = read_cards(client)
        after = _card(card, version, cards)
        name = of_card or after.card.card
        _check_plans(plans, [one for one in cards.all if name in (one.card.card, EVERY_CARD)])
        closed = read_closed(client, period, account or ())
        before = as_billed(cards.card_of)
        if against is not None:
            before = instead_of(name, cards.card_of(after.card.card, against), plans)
        instead = instead_of(name, after, plans)
        effects = simulate(client, closed, before, instead)
        yields = [] if rules is None else simulate_margins(client, closed, rules, before, instead, account or ())
    if as_json:
        answer = {"period": period, "card": after.card.card, "effects": [_as_dict(one) for one in effects]}
        told = [{"currency": was.currency, "before": _yield(was), "after": _yield(now)} for was, now in yields]
        print_json(answer if rules is None else {**answer, "margins": told})
        return
    for effect in effects:
        _print(effect, limit)
    for was, now in yields:
        console.print(Text(f"Margin: {_margin(was)} before, {_margin(now)} after.", "bold"))
        if now.unseen:
            notes.print(unseen_note(now))


def _card(name: str, version: int | None, cards: PublishedCards) -> PublishedCard:
    if not (name.endswith((".yaml", ".yml")) or "/" in name):
        return cards.newest(name) if version is None else cards.card_of(name, version)
    if version is not None:
        raise CommandError("--version is for a published card, and a file was given.")
    draft = load_card(Path(name))
    newest = max((one.version for one in cards.all if one.card.card == draft.card), default=0)
    return draft_of(draft, newest + 1)


def _pair(text: str) -> tuple[str, str]:
    old, equals, new = text.partition("=")
    if not equals:
        raise CommandError(f"--plan {text!r} is not OLD=NEW, such as team=business.")
    return old.strip(), new.strip()


def _check_plans(plans: Mapping[str, str], cards: Sequence[PublishedCard]) -> None:
    """A plan that no card has would be followed by nobody, and the answer look as if nothing changed."""
    known = {plan for one in cards for plan in one.card.plans or (DEFAULT_PLAN,)}
    for old in plans:
        if cards and old not in known:
            raise CommandError(f"--plan {old}={plans[old]}: there is no plan {old!r}, but {', '.join(sorted(known))}.")


def _print(effect: Effect, limit: int) -> None:
    columns = ("account", "before", "after", "difference", "percent")
    for title, changes in (("Pay less", effect.winners), ("Pay more", effect.losers)):
        if changes:
            more = f" (the first {limit} of {len(changes):,})" if len(changes) > limit else ""
            print_table(columns, [_row(one) for one in changes[:limit]], title=f"{title}{more}, in {effect.currency}")
    print_table(("price", *columns[1:]), [_row(one) for one in effect.prices], title="By price")
    total = effect.total
    percent = "" if total.percent is None else f", {total.percent:+.2f} %"
    console.print(
        Text(
            f"{counted(len(effect.accounts), 'account')}: {len(effect.winners):,} pay less, {len(effect.losers):,} pay "
            f"more. All together {total.before:,f} to {total.after:,f} {effect.currency} "
            f"({total.difference:+,f}{percent}).",
            "bold",
        )
    )


def _margin(margin: Margin) -> str:
    percent = "" if margin.percent is None else f" ({margin.percent:.1f} %)"
    return f"{round_amount(margin.margin, margin.currency):,f} {margin.currency}{percent}"


def _yield(margin: Margin) -> dict[str, Any]:
    return {name: getattr(margin, name) for name in ("revenue", "cost", "margin", "percent", "requests", "unseen")}


def _row(change: Change) -> tuple[object, ...]:
    percent = "-" if change.percent is None else f"{change.percent:+.2f} %"
    return change.name, f"{change.before:,f}", f"{change.after:,f}", f"{change.difference:+,f}", percent


def _as_dict(effect: Effect) -> dict[str, Any]:
    return {
        "currency": effect.currency,
        "total": _change(effect.total),
        "winners": [_change(one) for one in effect.winners],
        "losers": [_change(one) for one in effect.losers],
        "unchanged": sum(not one.difference for one in effect.accounts),
        "prices": [_change(one) for one in effect.prices],
    }


def _change(change: Change) -> dict[str, Any]:
    percent = None if change.percent is None else round(change.percent, 4)
    return {
        "name": change.name,
        "before": change.before,
        "after": change.after,
        "difference": change.difference,
        "percent": percent,
    }
