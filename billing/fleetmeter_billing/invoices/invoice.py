"""One invoice and its lines, as they are stored, shown and exported. Nothing here looks anything up.

Money is rounded once, at the line, half away from zero, to the currency's exponent; every total is a sum of such lines,
so that whoever adds up what is printed gets what is printed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from zoneinfo import ZoneInfo

from fleetmeter_billing.errors import InvoiceError, UnknownInvoiceError
from fleetmeter_billing.rates.lines import LineKind, TierCharge
from fleetmeter_billing.rates.money import CONTEXT, exponent, round_amount
from fleetmeter_billing.rates.usage import Group

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, [start, end), in UTC."""

    start: datetime
    end: datetime

    def local_days(self, zone: ZoneInfo) -> tuple[date, date]:
        """Its first and its last day in a time zone."""
        # Back in UTC: where a clock jumps over midnight, the span ends at one, and just before it is the day before.
        last = (self.end - timedelta(microseconds=1)).astimezone(zone)
        return self.start.astimezone(zone).date(), last.date()


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line. `amount` is what is charged; `exact` is the same before it was rounded.

    A correction is about an earlier period, `usage_period`: its quantity, tiers and amount are the difference between
    what that period comes to now and what it was billed at.
    """

    number: int
    kind: LineKind
    price: str
    part: str
    """Tells apart the lines of one price, such as `iterations`; empty for the main one."""
    label: str
    meter: str | None
    group: Group
    quantity: Decimal
    unit: str
    per: int
    """Prices in `tiers` are for that many."""
    tiers: tuple[TierCharge, ...]
    tier_unit: str
    """What the tiers' quantities count: `unit`, or packages of it."""
    exact: Decimal
    amount: Decimal
    card: str
    version: int
    plan: str
    segment: int
    """Number of the part of the usage period with one card version and plan, from 0."""
    span: Span
    usage_period: str
    correction: bool
    explanation: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValueStatement:
    """What was paid against what the same queries would have cost had the cloud answered them all.

    Queries on devices are free of charge or in a plan's price; at the period's own average price of a cloud query they
    would have cost `all_cloud` less `paid`. It is an estimate, never part of a total.
    """

    paid: Decimal
    cloud_queries: int
    local_queries: int
    cloud_charges: Decimal
    """The part of `paid` that comes from queries in the cloud."""
    all_cloud: Decimal

    @property
    def saved(self) -> Decimal:
        """The difference; negative if the cloud alone would have been cheaper."""
        return self.all_cloud - self.paid


@dataclass(frozen=True, slots=True)
class Prepaid:
    """What prepaid credits settled of an invoice, once `fleetmeter credits settle` has drawn them. The invoice itself
    is the same before and after.

    `before` and `drawn` are credits; `drawn` is below zero where a correction gave credits back. `covered` is the money
    that they stand for, in the invoice's currency.
    """

    before: Decimal
    drawn: Decimal
    covered: Decimal

    @property
    def after(self) -> Decimal:
        """The credits that are left."""
        return CONTEXT.subtract(self.before, self.drawn)


@dataclass(frozen=True)
class Invoice:
    """One account's invoice for one period. Raises InvoiceError if it does not add up."""

    number: str
    account: str
    account_name: str
    period: str
    span: Span
    time_zone: str
    currency: str
    issued_at: datetime
    """When the close that froze its usage was made: the invoice is the same whenever it is written."""
    close_id: str
    lines: tuple[InvoiceLine, ...]
    value: ValueStatement | None = None
    prepaid: Prepaid | None = None
    """None until it is settled, and where no credits were bought."""

    def __post_init__(self) -> None:
        for place, line in enumerate(self.lines, start=1):
            if line.number != place:
                raise InvoiceError(f"invoice {self.number}: line {line.number} stands at place {place}")
            if line.amount != round_amount(line.amount, self.currency):
                raise InvoiceError(
                    f"invoice {self.number}, line {place}: {line.amount} has more digits than {self.currency} has"
                )

    @property
    def exponent(self) -> int:
        """Digits after the point of its currency."""
        return exponent(self.currency)

    @cached_property
    def total(self) -> Decimal:
        """The sum of all lines; negative if the customer gets money back."""
        return total_of(self.lines, self.currency)

    @cached_property
    def charges(self) -> Decimal:
        """The sum of the period's own lines."""
        return total_of((line for line in self.lines if not line.correction), self.currency)

    @cached_property
    def corrections(self) -> Decimal:
        """The sum of the lines about earlier periods."""
        return total_of((line for line in self.lines if line.correction), self.currency)

    @property
    def due(self) -> Decimal:
        """What is left to pay: the total less what prepaid credits covered."""
        return self.total - self.prepaid.covered if self.prepaid else self.total

    def line(self, number: int) -> InvoiceLine:
        """The line of that number. Raises UnknownInvoiceError if there is none."""
        if not 1 <= number <= len(self.lines):
            raise UnknownInvoiceError(f"invoice {self.number} has lines 1 to {len(self.lines)}, and no line {number}")
        return self.lines[number - 1]


def total_of(lines: Iterable[InvoiceLine], currency: str) -> Decimal:
    """The lines' sum, with the currency's digits; they have no more, so nothing is rounded here."""
    return round_amount(sum((line.amount for line in lines), ZERO), currency)
