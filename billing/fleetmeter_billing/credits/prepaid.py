"""Invoices with what prepaid credits settled of them: read from the account's log, whenever an invoice is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

from fleetmeter_billing.clickhouse import BillingClient
from fleetmeter_billing.credits.balance import ZERO, Entry, balances
from fleetmeter_billing.credits.credit_log import accounts_with_credits, entries_of
from fleetmeter_billing.invoices.invoice import Invoice, Prepaid
from fleetmeter_billing.rates.money import CONTEXT


def settled(client: BillingClient, invoices: Iterable[Invoice]) -> Iterator[Invoice]:
    """The same invoices, those that credits settled with what was drawn for them."""
    with_credits = frozenset(accounts_with_credits(client))

    @cache
    def entries(account: str) -> list[Entry]:
        return entries_of(client, account)

    for invoice in invoices:
        prepaid = prepaid_of(entries(invoice.account), invoice) if invoice.account in with_credits else None
        yield invoice if prepaid is None else replace(invoice, prepaid=prepaid)


def prepaid_of(entries: Sequence[Entry], invoice: Invoice) -> Prepaid | None:
    """What the account's entries, oldest first, say of the invoice; None if it is not settled.

    The balance before is that of the grants which could be drawn on the invoice's last day, and of those that the draw
    touched: a correction may give back to one that has expired since.
    """
    place = next((place for place, one in enumerate(entries) if one.invoice == invoice.number), None)
    if place is None:
        return None
    drawn = entries[place]
    touched = {name for name, _ in drawn.parts}
    before = ZERO
    for one in balances(entries[:place]):
        if one.name in touched or one.open_on(drawn.day):
            before = CONTEXT.add(before, one.left)
    return Prepaid(before, drawn.credits, drawn.covered)
