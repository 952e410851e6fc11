"""`fleetmeter accounts`: who pays, by which rate card and plan, since when."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from fleetmeter_billing.accounts.account_file import read_accounts
from fleetmeter_billing.accounts.account_store import (
    StoredAccount,
    apply_accounts,
    load_accounts,
    plan_apply,
    with_stored_rows,
)
from fleetmeter_billing.accounts.published import cards_of
from fleetmeter_billing.accounts.segments import misfits, segments_of, without_effect
from fleetmeter_billing.rates.store import published_cards

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.clickhouse import connect, connect_to_write
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, counted, print_json, print_table
from fleetmeter_jobs.cli.this_user import this_user

_REMARKS_SHOWN = 10
app = command_app(help="Apply, list and show accounts and their subscriptions.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="Accounts with their subscriptions, in YAML.")]
Revise = Annotated[
    bool, typer.Option("--revise", help="Let the file replace what was applied before; the older rows are kept.")
]
Try = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be applied.")]
By = Annotated[str | None, typer.Option("--by", help="Who applies it (default: this user and machine).")]
Name = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account, as events name it in their subject.")]
Period = Annotated[
    str | None, typer.Option("--period", help="Also how this period falls into parts: 2026-11, or 2026-11-15.")
]


@app.command("apply")
def apply(
    file: File,
    revise: Revise = False,
    dry_run: Try = False,
    by: By = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Add the accounts and subscriptions of a file. Applying it again changes nothing; accounts that are not in the
    file stay as they are. Periods that are closed keep what they were closed with. Rows that no published rate card can
    price are applied and told: closing refuses until a card fits them. So are commitments and discounts that the card
    has nothing for.

    Example: fleetmeter accounts apply accounts.yaml
    """
    subscribers = read_accounts(file)
    settings = settings_of_stack(data_dir, setting)
    with connect_to_write(settings) as client:
        stored = load_accounts(client)
        changes = plan_apply(subscribers, stored)
        revised = [f"{one.account} ({one.what})" for one in changes if one.change == "revised"]
        if revised and not revise and not dry_run:
            raise CommandError(
                f"{file} differs from what was applied before: {', '.join(revised[:10])}. Add a row for a later day "
                "instead; or say --revise, if what was applied is wrong."
            )
        if not dry_run:
            apply_accounts(client, subscribers, changes, by=by or this_user(), at_ms=time.time_ns() // 1_000_000)
        cards = cards_of(published_cards(client))
    whole = [with_stored_rows(one, stored.get(one.account.account)) for one in subscribers]
    unpriced, idle = (
        {(one.account.account, str(day)): reason for one in whole for day, reason in look(one, cards).items()}
        for look in (misfits, without_effect)
    )
    remarks = unpriced | idle
    if as_json:
        print_json(
            [
                {
                    "account": one.account,
                    "what": one.what,
                    "change": one.change,
                    "remark": remarks.get((one.account, one.what)),
                }
                for one in changes
            ]
        )
        return
    counts = {kind: sum(one.change == kind for one in changes) for kind in ("new", "revised", "unchanged")}
    told = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
    named = counted(len(subscribers), "account")
    console.print(f"{'Would be applied' if dry_run else 'Applied'}: {named} ({told or 'no'} rows).")
    for row, remark in list(remarks.items())[:_REMARKS_SHOWN]:
        what = "Can't be priced yet" if row in unpriced else "Without effect"
        console.print(f"{what}: {remark}.", style="yellow", soft_wrap=True)
    if len(remarks) > _REMARKS_SHOWN:
        console.print(f"... and {len(remarks) - _REMARKS_SHOWN:,} more; --json lists them all.", style="yellow")


@app.command("list")
def list_accounts(as_json: Json = False, data_dir: DataDir = None, setting: Given = None) -> None:
    """List accounts with what holds last.

    Example: fleetmeter accounts list --json
    """
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        stored = load_accounts(client)
    if as_json:
        print_json([_as_dict(one) for one in stored.values()])
    elif not stored:
        console.print("No accounts. Write a file and run `fleetmeter accounts apply FILE`.")
    else:
        print_table(("account", "name", "currency", "time_zone", "periods", "last_row"), map(_row, stored.values()))


@app.command("show")
def show(
    name: Name, period: Period = None, as_json: Json = False, data_dir: DataDir = None, setting: Given = None
) -> None:
    """Show one account with the whole life of its subscription; with --period, also the parts that are priced apart.

    Example: fleetmeter accounts show acme --period 2026-11
    """
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        stored = load_accounts(client, name).get(name)
        if stored is None:
            raise CommandError(f"There is no account {name!r}: see `fleetmeter accounts list`.")
        parts = []
        if period is not None:
            whole = stored.subscriber.account.rule.named(period)
            if whole is None:
                raise CommandError(f"{name} has no period {period}: its periods are {_periods(stored)}.")
            parts = segments_of(stored.subscriber, whole, cards_of(published_cards(client)))
    if as_json:
        shown = [{"start": one.start, "end": one.end, "days": one.days, "segment": _terms(one)} for one in parts]
        print_json({**_as_dict(stored), **({} if period is None else {"parts": shown})})
        return
    print_table(("account", "name", "currency", "time_zone", "periods", "last_row"), [_row(stored)])
    print_table(
        ("from", "status", "card", "plan", "version", "committed", "reason"),
        [
            (
                str(row.from_day),
                row.status,
                row.card,
                row.plan,
                row.version,
                ", ".join(f"{key} {value}" for key, value in (row.committed or {}).items()),
                row.reason,
            )
            for row in stored.subscriber.subscriptions
        ],
    )
    if parts:
        print_table(
            ("start (UTC)", "end (UTC)", "days", "priced by"),
            [(one.start, one.end, one.days, _priced(one)) for one in parts],
        )


def _priced(part: Any) -> str:
    terms = part.terms
    return "nothing" if terms is None else f"{terms.card} {terms.version}, plan {terms.plan} ({terms.status})"


def _terms(part: Any) -> dict[str, Any] | None:
    terms = part.terms
    if terms is None:
        return None
    return {"card": terms.card, "version": terms.version, "plan": terms.plan, "status": terms.status}


def _periods(stored: StoredAccount) -> str:
    account = stored.subscriber.account
    return "calendar months" if account.period == "calendar" else f"from day {account.anchor_day} of the month"


def _row(stored: StoredAccount) -> tuple[Any, ...]:
    account, rows = stored.subscriber.account, stored.subscriber.subscriptions
    last = f"{rows[-1].status} from {rows[-1].from_day}" if rows else "no subscription"
    return account.account, account.name, account.currency, account.time_zone, _periods(stored), last


def _as_dict(stored: StoredAccount) -> dict[str, Any]:
    return {
        **stored.subscriber.account.model_dump(mode="json"),
        "subscription": [row.model_dump(mode="json", by_alias=True) for row in stored.subscriber.subscriptions],
    }
