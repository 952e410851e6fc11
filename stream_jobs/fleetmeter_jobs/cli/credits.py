"""`fleetmeter credits`: prepaid credits: what accounts bought, and what settles their invoices."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from fleetmeter_billing.credits.balance import Entry, balances
from fleetmeter_billing.credits.credit_log import (
    Invoiced,
    Purchase,
    accounts_with_credits,
    entries_of,
    grant,
    settle,
)
from fleetmeter_billing.credits.settlement import credit_line
from fleetmeter_billing.invoices.invoice import Invoice
from fleetmeter_billing.invoices.store import list_invoices, read_invoices
from fleetmeter_billing.periods.period import first_day_of
from fleetmeter_billing.rates.card import PublishedCard
from fleetmeter_billing.rates.price_models import Credits
from fleetmeter_billing.rates.store import published_cards

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.billing_books import read_subscribers
from fleetmeter_jobs.cli.clickhouse import connect, connect_to_write
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json, print_table, progress
from fleetmeter_jobs.cli.this_user import this_user

app = command_app(help="Grant prepaid credits, show balances, and settle invoices with them.")

Account = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account, as events name it.")]
By = Annotated[str | None, typer.Option("--by", help="Who does it (default: this user and machine).")]


@app.command("grant")
def grant_credits(
    account: Account,
    count: Annotated[str, typer.Argument(metavar="CREDITS", help="How many, such as 10000 or 12.5.")],
    name: Annotated[str, typer.Option("--name", help="Name of the grant, such as the payment's number; only once.")],
    day: Annotated[str | None, typer.Option("--from", help="First day, such as 2026-11-01 (default: today).")] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="First day on which it is void.")] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why, for whoever looks later.")] = "",
    by: By = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Add credits to an account. The same grant given again adds nothing.

    Example: fleetmeter credits grant account-0001 10000 --name payment-4711 --expires 2027-11-01
    """
    if not name.strip():
        raise CommandError("--name is empty: name the grant by something that happens once, such as payment-4711.")
    first = _day(day, "--from") if day else datetime.now(UTC).date()
    bought = Purchase(name, _count(count), first, _day(expires, "--expires") if expires else None)
    settings = settings_of_stack(data_dir, setting)
    with connect_to_write(settings) as client:
        read_subscribers(client, account)
        is_new = grant(client, account, bought, by=by or this_user(), reason=reason)
    if as_json:
        print_json({"account": account, "grant": name, "credits": bought.count, "is_new": is_new})
    elif is_new:
        console.print(f"{account} has {bought.count:,} more credits.")
    else:
        console.print(f"{account} has the grant {name} already; nothing was added.")


@app.command("show")
def show_credits(account: Account, as_json: Json = False, data_dir: DataDir = None, setting: Given = None) -> None:
    """Show an account's grants, what is left of them, and which invoices they settled.

    Example: fleetmeter credits show account-0001
    """
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        entries = entries_of(client, account)
    grants, draws = balances(entries), [one for one in entries if one.kind == "draw"]
    if as_json:
        found = [
            {"grant": g.name, "granted": g.granted, "left": g.left, "from": g.day, "expires": g.expires} for g in grants
        ]
        print_json({"account": account, "grants": found, "draws": [_draw(one) for one in draws]})
        return
    if not grants:
        console.print(f"{account} has no credits.")
        return
    print_table(
        ("grant", "granted", "left", "from", "expires"),
        [(g.name, g.granted, g.left, g.day.isoformat(), g.expires and g.expires.isoformat()) for g in grants],
    )
    if draws:
        print_table(
            ("invoice", "credits", "covered", "currency"),
            [(one.invoice, one.credits, one.covered, one.currency) for one in draws],
        )


@app.command("settle")
def settle_invoices(
    period: Annotated[str, typer.Option("--period", help="The billing period whose invoices are settled.")],
    by: By = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Draw down what the invoices of a period charge in credits. Each invoice is settled once, however often it is run.

    Example: fleetmeter credits settle --period 2026-11
    """
    settings = settings_of_stack(data_dir, setting)
    first_day_of(period)
    found = []
    with connect_to_write(settings) as client, progress(quiet=as_json) as bar:
        card_of = _cards(published_cards(client))
        accounts = accounts_with_credits(client)
        task = bar.add_task("settling", total=None, detail="")
        for invoice in read_invoices(client, period, accounts) if accounts else ():
            invoiced = invoiced_credits(invoice, card_of)
            entry = settle(client, invoice.account, invoiced, by=by or this_user()) if invoiced.lines else None
            if entry is not None:
                found.append({"account": invoice.account, "total": invoice.total, **_draw(entry)})
            bar.update(task, advance=1, detail=invoice.number)
        if not found and not list_invoices(client, period):
            raise CommandError(f"There are no invoices of {period}: `fleetmeter invoice make --period {period}`.")
    for one in found:
        one["due"] = one["total"] - one["covered"]
    if as_json:
        print_json(found)
    elif not found:
        console.print(f"No invoice of {period} is settled by credits.")
    else:
        columns = ("invoice", "account", "credits", "covered", "total", "due", "currency")
        print_table(columns, [[one[column] for column in columns] for one in found])


def invoiced_credits(invoice: Invoice, card_of: Callable[[str, int], PublishedCard]) -> Invoiced:
    """What the invoice's prices in credits come to: the credits that were used, less or more by what discounts, trial,
    minimum and maximum of these prices change, which stand on lines of their own and are money."""
    lines = []
    for line in invoice.lines:
        card = card_of(line.card, line.version).card
        price = card.prices.get(line.price)
        if card.credits is not None and price is not None and isinstance(price.model, Credits):
            lines.append(credit_line(line.exact, line.amount, card.credits.amount))
    last = (invoice.span.end - timedelta(microseconds=1)).astimezone(ZoneInfo(invoice.time_zone)).date()
    return Invoiced(invoice.number, invoice.currency, last, lines)


def _cards(cards: list[PublishedCard]) -> Callable[[str, int], PublishedCard]:
    known = {(one.card.card, one.version): one for one in cards}
    return lambda card, version: known[card, version]


def _draw(entry: Entry) -> dict[str, Any]:
    return {
        "invoice": entry.invoice,
        "credits": entry.credits,
        "covered": entry.covered,
        "currency": entry.currency,
        "parts": [{"grant": name, "credits": count} for name, count in entry.parts],
    }


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"{option} {text!r} is no date, such as 2026-11-01.") from error


def _count(text: str) -> Decimal:
    try:
        count = Decimal(text)
    except InvalidOperation as error:
        raise CommandError(f"{text!r} is no number of credits, such as 10000 or 12.5.") from error
    if not count.is_finite() or -count.as_tuple().exponent > 12 or count >= Decimal("1e15"):  # type: ignore[operator]
        raise CommandError(f"{text} is no number of credits: up to 15 digits, and 12 after the point.")
    return count
