"""Settling an invoice with prepaid credits: which of its lines are in credits, and what they cost.

The invoice itself stays as it is: it says what usage costs. What was paid before is drawn down by an entry of the
log, at most once for each invoice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext

from fleetmeter_billing.credits.balance import ZERO, Parts
from fleetmeter_billing.rates.money import CONTEXT, round_amount


@dataclass(frozen=True, slots=True)
class CreditLine:
    """A line whose unit is credits: how many are charged, at which price, and the rounded amount. Those of corrections
    may be below zero."""

    credits: Decimal
    price: Decimal
    amount: Decimal


def credit_line(exact: Decimal, amount: Decimal, price: Decimal) -> CreditLine:
    """The line of an invoice with that exact and rounded amount. A price of zero leaves nothing to settle."""
    with localcontext(CONTEXT):
        return CreditLine(exact / price if price else ZERO, price, amount)


def needed(lines: Iterable[CreditLine]) -> Decimal:
    """The credits that the lines charge, corrections included."""
    with localcontext(CONTEXT):
        return sum((line.credits for line in lines), ZERO)


def covered(lines: Iterable[CreditLine], drawn: Parts, currency: str) -> Decimal:
    """The money that drawn credits settle: all of the lines' amounts if they cover the need, so that nothing is left
    over by rounding; else the credits at the lines' prices, dearest first, rounded once."""
    lines = list(lines)
    need = needed(lines)
    with localcontext(CONTEXT):
        left = sum((count for _, count in drawn), ZERO)
        if not left:
            return round_amount(ZERO, currency)
        if abs(left - need) < Decimal("1e-11"):
            return round_amount(sum((line.amount for line in lines), ZERO), currency)
        money = ZERO
        for line in sorted(lines, key=lambda one: one.price, reverse=True):
            part = max(min(left, line.credits), ZERO) if left > 0 else min(max(left, line.credits), ZERO)
            money += part * line.price
            left -= part
        return round_amount(money, currency)
