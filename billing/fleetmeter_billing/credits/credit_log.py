"""The log of an account's prepaid credits in ClickHouse: entries are appended one by one, and never changed.

Appending is a compare-and-swap on the entry's number, so that two that draw at once never draw the same credits.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient
from fleetmeter_billing.credits.balance import Entry, Parts, draw
from fleetmeter_billing.credits.settlement import CreditLine, covered, needed
from fleetmeter_billing.errors import CreditsError
from fleetmeter_billing.linear_log import LinearLog, Patience
from fleetmeter_billing.rates.money import round_amount

PATIENCE: Final = Patience()
_RIVALS: Final = 100
"""How often somebody else may be first before we give up."""


@dataclass(frozen=True, slots=True)
class Invoiced:
    """What an invoice charges in credits: its number, currency, last day, and lines."""

    number: str
    currency: str
    last_day: date
    lines: Sequence[CreditLine]


def entries_of(client: BillingClient, account: str) -> list[Entry]:
    """The account's entries, oldest first."""
    rows = client.query(
        "SELECT number, kind, parts, day, expires, invoice, covered, currency FROM billing_credit_entries "
        "WHERE account_id = {account:String} ORDER BY number",
        parameters={"account": account},
        settings=READ_SETTINGS,
    ).result_rows
    return [_read(row) for row in rows]


def accounts_with_credits(client: BillingClient) -> list[str]:
    """The accounts that ever had a grant, in order."""
    rows = client.query(
        "SELECT DISTINCT account_id FROM billing_credit_entries ORDER BY account_id", settings=READ_SETTINGS
    ).result_rows
    return [str(account) for (account,) in rows]


@dataclass(frozen=True, slots=True)
class Purchase:
    """Credits that an account bought: under a name of its own, such as the number of the payment, drawn from `day` on
    and before `expires`, if that is given."""

    name: str
    count: Decimal
    day: date
    expires: date | None = None


def grant(
    client: BillingClient,
    account: str,
    bought: Purchase,
    *,
    by: str,
    reason: str = "",
    patience: Patience = PATIENCE,
) -> bool:
    """Add a grant. False if the same one is there already.

    Raises CreditsError for credits that are not positive, an expiry that is not after its first day, days that the
    table can't hold, or a name that another grant has.
    """
    if bought.count <= 0:
        raise CreditsError(f"a grant has more than {bought.count} credits: corrections come with invoices")
    if bought.expires is not None and bought.expires <= bought.day:
        raise CreditsError(f"a grant that begins on {bought.day} can't expire on {bought.expires}")
    for day in (bought.day, bought.expires or bought.day):
        if not date(1970, 1, 1) <= day < _NEVER:
            raise CreditsError(
                f"a grant's days lie from 1970 to 2149, and {day} does not: leave --expires out for never"
            )
    for _ in range(_RIVALS):
        entries = entries_of(client, account)
        same = next((one for one in entries if one.kind == "grant" and one.parts[0][0] == bought.name), None)
        if same is not None:
            if (same.credits, same.day, same.expires) == (bought.count, bought.day, bought.expires):
                return False
            raise CreditsError(
                f"{account} has a grant {bought.name!r} already: {same.credits} credits from {same.day}. Give this one "
                "another name"
            )
        entry = Entry(len(entries) + 1, "grant", ((bought.name, bought.count),), bought.day, bought.expires)
        if _append(client, account, entry, by, reason, patience):
            return True
    raise CreditsError(f"others kept adding to the credits of {account}; try again")


def settle(
    client: BillingClient, account: str, invoiced: Invoiced, *, by: str, patience: Patience = PATIENCE
) -> Entry | None:
    """Draw what an invoice charges in credits, once: the entry that settles it, new or from before. None if there is
    nothing to draw, or nothing to draw from."""
    for _ in range(_RIVALS):
        entries = entries_of(client, account)
        settled = next((one for one in entries if one.invoice == invoiced.number), None)
        if settled is not None:
            return settled
        parts = draw(entries, needed(invoiced.lines), invoiced.last_day)
        if not parts:
            return None
        money = covered(invoiced.lines, parts, invoiced.currency)
        entry = Entry(
            *(len(entries) + 1, "draw", parts, invoiced.last_day, None, invoiced.number, money, invoiced.currency)
        )
        if _append(client, account, entry, by, "", patience):
            return entry
    raise CreditsError(f"others kept adding to the credits of {account}; try again")


def _append(client: BillingClient, account: str, entry: Entry, by: str, reason: str, patience: Patience) -> bool:
    """Whether the entry got its number, and not a rival's."""
    name = uuid.uuid4().hex
    log = LinearLog("billing_credit_entries", "number", "entry", {"account_id": ("String", account)})
    winner = log.append(
        client,
        entry.number,
        {
            "entry": ("String", name),
            "kind": ("String", entry.kind),
            "parts": ("String", json.dumps([[one, f"{count:f}"] for one, count in entry.parts])),
            "day": ("Date", entry.day.isoformat()),
            "expires": ("Date", (entry.expires or _NEVER).isoformat()),
            "invoice": ("String", entry.invoice),
            "covered": ("Decimal(38, 4)", f"{entry.covered:f}"),
            "currency": ("String", entry.currency),
            "reason": ("String", reason),
            "added_by": ("String", by),
            "added_at": ("DateTime64(3, 'UTC')", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]),
        },
        patience=patience,
    )
    return winner == name


_NEVER: Final = date(2149, 6, 6)
"""The last day that the table can hold."""


def _read(row: Sequence[Any]) -> Entry:
    number, kind, parts, day, expires, invoice, money, currency = row
    read: Parts = tuple((name, Decimal(count)) for name, count in json.loads(parts))
    # The column has four digits for every currency.
    paid = round_amount(Decimal(money), currency) if currency else Decimal(0)
    return Entry(*(int(number), kind, read, day, None if expires == _NEVER else expires, invoice, paid, currency))
