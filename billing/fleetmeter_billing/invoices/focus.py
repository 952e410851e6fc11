"""Invoices as FOCUS 1.2 rows (FinOps Open Cost and Usage Specification), as cost tools read them.

A line of tiers becomes a row a tier, because FOCUS wants unit price x quantity = cost in every row. The cost of a row
is exact; what rounding adds to or takes from the line falls on the line's first row, so that the rows' BilledCost add
up to the invoice, and their ConsumedQuantity to the line's quantity. Fixed prices are charged for the period in which
they were of use, so they are Usage that recurs and no Purchase, which in FOCUS is ahead of its use. Corrections of
earlier periods carry ChargeClass `Correction`, the earlier period as ChargePeriod and this invoice's as BillingPeriod.
Prepaid credits that were drawn are a Credit, so that the rows of an invoice add up to what is left to pay. Columns of
our own begin with `x_`.

What applies to us, in the specification's words, is in `APPLICABLE`: a validator has to be told.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from typing import Final

import orjson

from fleetmeter_billing.invoices.document import plain
from fleetmeter_billing.invoices.invoice import ZERO, Invoice, InvoiceLine, Prepaid
from fleetmeter_billing.rates.lines import TierCharge
from fleetmeter_billing.rates.money import CONTEXT, exact_sum

VERSION: Final = "1.2"
APPLICABLE: Final = (
    "ACCOUNT_NAMING_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED",
    "PUBLIC_PRICE_LIST_SUPPORTED",
    "UNIT_PRICING_SUPPORTED",
    "USAGE_MEASUREMENT_SUPPORTED",
)
"""Applicability criteria of the specification that hold for these rows."""

COLUMNS: Final = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountStatus",  # always null; the rules about ConsumedQuantity refer to it
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingCurrency",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost",
    "PricingCurrencyListUnitPrice",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SkuPriceId",
    "x_InvoiceLine",
    "x_LineKind",
    "x_RateCard",
    "x_RateCardVersion",
    "x_UsagePeriod",
)

_CATEGORIES: Final = {
    "usage": "Usage",
    "fixed": "Usage",
    "credit": "Credit",
    "discount": "Credit",
    "minimum": "Adjustment",
    "adjustment": "Adjustment",
}
_UNIT_OF_ONE: Final = "Units"
_EXACT: Final = Context(prec=200)
"""A cost of 60 digits less than an amount needs a few more, so that the two add up to it again."""

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class _Part:
    """One row's arithmetic: cost = quantity x price, exactly."""

    place: int
    quantity: Decimal
    unit: str
    price: Decimal
    cost: Decimal
    consumes: bool = False
    """Whether the quantity is what was used, and not a flat fee, a package or a whole line."""


def focus_rows(invoice: Invoice, issuer: str) -> Iterator[Row]:
    """The invoice's rows; null is the empty text. `issuer` is the name of who sends the invoice."""
    for line in invoice.lines:
        parts = list(_parts(line))
        billed, used = line.amount, line.quantity
        rows = []
        # From the second on, each row has its own cost and use; the first has what is left, rounding and all.
        for part in parts[1:]:
            consumed = part.quantity if part.consumes else ZERO
            rows.append(_row(invoice, line, part, part.cost, consumed, issuer))
            billed, used = _EXACT.subtract(billed, part.cost), _EXACT.subtract(used, consumed)
        yield _row(invoice, line, parts[0], billed, used, issuer)
        yield from rows
    if invoice.prepaid is not None:
        yield _prepaid_row(invoice, invoice.prepaid, issuer)


def focus_csv(invoices: Iterable[Invoice], issuer: str) -> str:
    """All rows of all invoices, with their header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for invoice in invoices:
        writer.writerows(focus_rows(invoice, issuer))
    return text.getvalue()


def _parts(line: InvoiceLine) -> Iterator[_Part]:
    """The line as products of a quantity and a price. Tiers that don't make up the whole line (a cap, a minimum) become
    one product."""
    products = [each for place, tier in enumerate(line.tiers) for each in _products(place, tier, line)]
    if products and exact_sum(part.cost for part in products) == line.exact:
        yield from products
    elif line.quantity > 0 and (price := _exactly(line.exact, line.quantity)) is not None:
        yield _Part(0, line.quantity, line.unit, price, line.exact)
    else:
        yield _Part(0, Decimal(1), _UNIT_OF_ONE, line.exact, line.exact)


def _products(place: int, tier: TierCharge, line: InvoiceLine) -> Iterator[_Part]:
    charge = CONTEXT.subtract(tier.amount, tier.flat)
    price = _exactly(charge, tier.quantity) if tier.quantity else None
    if price is not None:
        yield _Part(place, tier.quantity, line.tier_unit, price, charge, consumes=line.tier_unit == line.unit)
    elif charge:
        yield _Part(place, Decimal(1), _UNIT_OF_ONE, charge, charge)
    if tier.flat:
        yield _Part(place, Decimal(1), _UNIT_OF_ONE, tier.flat, tier.flat)


def _exactly(cost: Decimal, quantity: Decimal) -> Decimal | None:
    """The price at which the quantity costs exactly that, if it has an end."""
    price = CONTEXT.divide(cost, quantity)
    return price if CONTEXT.multiply(price, quantity) == cost else None


def _row(invoice: Invoice, line: InvoiceLine, part: _Part, billed: Decimal, consumed: Decimal, issuer: str) -> Row:
    usage = _CATEGORIES[line.kind] == "Usage"
    # A price below zero can't be: what is taken back is a product only as long as its quantity is negative.
    priced = usage and part.price >= 0
    price, cost = (_number(part.price), _number(part.cost)) if priced else ("", _number(billed))
    # What no price stands behind, such as an adjustment of what costs nothing, is no product at all.
    sku = f"{line.card}/{line.price}" if line.price else ""
    return {
        "BilledCost": _number(billed),
        "BillingAccountId": invoice.account,
        "BillingAccountName": invoice.account_name or invoice.account,
        "BillingCurrency": invoice.currency,
        "BillingPeriodEnd": _time(invoice.span.end),
        "BillingPeriodStart": _time(invoice.span.start),
        "ChargeCategory": _CATEGORIES[line.kind],
        "ChargeClass": "Correction" if line.correction or (usage and not priced) else "",
        "ChargeDescription": _description(line),
        "ChargeFrequency": {"usage": "Usage-Based", "fixed": "Recurring"}.get(line.kind, "One-Time"),
        "ChargePeriodEnd": _time(line.span.end),
        "ChargePeriodStart": _time(line.span.start),
        "CommitmentDiscountStatus": "",
        "ConsumedQuantity": _number(consumed) if usage else "",
        "ConsumedUnit": _unit(line.unit) if usage else "",
        "ContractedCost": cost,
        "ContractedUnitPrice": price,
        "EffectiveCost": _number(billed),
        "InvoiceId": invoice.number,
        "InvoiceIssuerName": issuer,
        "ListCost": cost,
        "ListUnitPrice": price,
        "PricingCategory": "Standard" if priced else "",
        "PricingCurrency": invoice.currency,
        "PricingCurrencyContractedUnitPrice": price,
        "PricingCurrencyEffectiveCost": _number(billed),
        "PricingCurrencyListUnitPrice": price,
        "PricingQuantity": _number(part.quantity) if priced else "",
        "PricingUnit": _unit(part.unit) if priced else "",
        "ProviderName": issuer,
        "PublisherName": issuer,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": "AI inference",
        "ServiceSubcategory": "Generative AI",
        "SkuId": sku,
        "SkuMeter": (line.meter or line.price) if sku else "",
        "SkuPriceDetails": orjson.dumps({f"x_{name}": value for name, value in line.group}).decode()
        if line.group
        else "",
        "SkuPriceId": f"{sku}/{line.version}/{part.place + 1}" if sku else "",
        "x_InvoiceLine": str(line.number),
        "x_LineKind": line.kind,
        "x_RateCard": line.card,
        "x_RateCardVersion": str(line.version),
        "x_UsagePeriod": line.usage_period,
    }


def _prepaid_row(invoice: Invoice, prepaid: Prepaid, issuer: str) -> Row:
    """What credits that were paid before take off: then the rows of an invoice add up to what is left to pay."""
    drawn = f"Prepaid credits: {plain(prepaid.drawn)} of {plain(prepaid.before)} drawn, {plain(prepaid.after)} left"
    line = InvoiceLine(
        *(len(invoice.lines) + 1, "credit", "", "", drawn, None, (), Decimal(1), "", 1, (), ""),
        *(-prepaid.covered, -prepaid.covered, "", 0, "", 0, invoice.span, invoice.period, False, ()),
    )
    part = _Part(0, Decimal(1), _UNIT_OF_ONE, line.exact, line.exact)
    row = _row(invoice, line, part, line.amount, ZERO, issuer)
    return {**row, **dict.fromkeys(("x_InvoiceLine", "x_RateCard", "x_RateCardVersion"), ""), "x_LineKind": "prepaid"}


def _description(line: InvoiceLine) -> str:
    return f"Correction for {line.usage_period}: {line.label}" if line.correction else line.label


def _unit(text: str) -> str:
    """A unit as FOCUS writes counts: words of letters and digits, with a whole number before them at most."""
    kept = "".join(char if char.isalnum() and char.isascii() else " " for char in text).split()
    if not kept:
        return _UNIT_OF_ONE
    number, words = (kept[0], kept[1:]) if kept[0].isdigit() and len(kept) > 1 else ("", kept)
    named = [word[0].upper() + word[1:] if word[0].isalpha() else f"N{word}" for word in words]
    return " ".join([number, *named] if number else named)


def _number(value: Decimal) -> str:
    """Always with a point: readers guess a column's type from its values, and all of these are decimals."""
    text = plain(value)
    return text if "." in text else f"{text}.0"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
