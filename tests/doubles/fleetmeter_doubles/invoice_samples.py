"""Cards, frozen parts of periods, and an invoice with lines of every kind, for tests of invoices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from fleetmeter_billing.invoices.invoice import Invoice, InvoiceLine, Span, ValueStatement
from fleetmeter_billing.invoices.period_lines import CardOf, PeriodUsage
from fleetmeter_billing.rates.card import PublishedCard, RateCard
from fleetmeter_billing.rates.lines import LineKind, TierCharge
from fleetmeter_billing.rates.usage import MeteredUsage, Segment
from fleetmeter_billing.usage.frozen import FrozenAdjustment, FrozenSegment

NOVEMBER = Span(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
OCTOBER = Span(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))

METERS: dict[str, Any] = {"tokens": {"measure": "output_tokens"}, "steps": {"measure": "denoising_steps"}}
PRICES: dict[str, Any] = {
    "platform": {"label": "Platform fee", "unit": "month", "model": {"type": "flat", "amount": "99"}},
    "tokens": {
        "label": "Output tokens",
        "meter": "tokens",
        "unit": "tokens",
        "per": 1_000_000,
        "model": {
            "type": "graduated",
            "tiers": [
                {"up_to": 1_000_000, "amount": "12"},
                {"up_to": 10_000_000, "amount": "10"},
                {"amount": "8"},
            ],
        },
    },
    "steps": {
        "label": "Denoising steps",
        "meter": "steps",
        "unit": "steps",
        "per": 1_000,
        "model": {"type": "unit", "amount": "0.25"},
    },
}
"""A fee, graduated tokens, and steps by the thousand."""


def card(
    prices: Mapping[str, Any] = PRICES, currency: str = "EUR", version: int = 1, meters: Mapping[str, Any] = METERS
) -> PublishedCard:
    """A published card `standard`."""
    rates = RateCard.model_validate(
        {"card": "standard", "currency": currency, "effective_from": "2026-01-01", "meters": meters, "prices": prices}
    )
    return PublishedCard(
        card=rates,
        version=version,
        published_at=datetime(2026, 1, 1, tzinfo=UTC),
        published_by="test",
        content_hash=rates.content_hash,
    )


def cards(*published: PublishedCard) -> CardOf:
    """Where invoices look them up."""
    known = {(one.card.card, one.version): one for one in published}
    return lambda name, version: known[name, version]


def segment(
    period: str = "2026-11",
    span: Span = NOVEMBER,
    *,
    account: str = "acme",
    index: int = 0,
    version: int = 1,
    currency: str = "EUR",
    days: int = 30,
    of_days: int = 30,
) -> FrozenSegment:
    """A part of a period; all of November if nothing else is said."""
    priced = Segment(
        card="standard",
        version=version,
        plan="default",
        first_day=span.start.date(),
        start=span.start,
        end=span.end,
        days=days,
        period_days=of_days,
    )
    return FrozenSegment(
        *(period, account, index, priced, date(2026, 11, 1), span.start, span.end, currency, "UTC", "Acme GmbH", {}, 1)
    )


def used(
    tokens: int = 0, steps: int = 0, *, adjustments: Sequence[FrozenAdjustment] = (), of: FrozenSegment | None = None
) -> PeriodUsage:
    """A period of one part."""
    quantities = {"tokens": tokens, "steps": steps}
    metered = tuple(MeteredUsage(meter, (), quantity) for meter, quantity in quantities.items() if quantity)
    return PeriodUsage((of or segment(),), {0: metered}, tuple(adjustments))


def adjustment(meter: str, quantity: int, *, number: int = 1, reason: str = "Outage on 3 November") -> FrozenAdjustment:
    """An operator's correction of November."""
    time = datetime(2026, 11, 4, number, tzinfo=UTC)
    return FrozenAdjustment(
        "acme", "2026-11", 0, 1, "ops", f"a{number}", time, meter, quantity, reason, "T-17", "", "", ""
    )


def line(
    number: int,
    kind: LineKind,
    label: str,
    quantity: str,
    unit: str,
    amount: str,
    *,
    exact: str | None = None,
    tiers: Sequence[tuple[str | None, str, str, str, str]] = (),
    per: int = 1,
    group: tuple[tuple[str, str], ...] = (),
    corrected: bool = False,
    explanation: tuple[str, ...] = (),
) -> InvoiceLine:
    """A line as it would be stored."""
    charges = [[None if one is None else Decimal(one) for one in tier] for tier in tiers]
    return InvoiceLine(
        number=number,
        kind=kind,
        price=label.split(maxsplit=1)[0].lower(),
        part="",
        label=label,
        meter=unit if kind == "usage" else None,
        group=group,
        quantity=Decimal(quantity),
        unit=unit,
        per=per,
        tiers=tuple(TierCharge(*one) for one in charges),  # type: ignore[arg-type]
        tier_unit=unit,
        exact=Decimal(exact or amount),
        amount=Decimal(amount),
        card="standard",
        version=3,
        plan="pro",
        segment=0,
        span=OCTOBER if corrected else NOVEMBER,
        usage_period="2026-10" if corrected else "2026-11",
        correction=corrected,
        explanation=explanation,
    )


TIERS = (
    ("1000000", "1000000", "12", "0", "12"),
    ("10000000", "9000000", "10", "0", "90"),
    (None, "2345678", "8", "0", "18.765424"),
)


def every_kind() -> Invoice:
    """An invoice with lines of every kind: 265.16 EUR, 264.84 of its own period and 0.32 of October."""
    lines = (
        line(1, "fixed", "Platform fee", "1", "month", "99.00", tiers=[(None, "1", "99", "0", "99")]),
        line(
            *(2, "usage", "Output tokens", "12345678", "tokens", "120.77"),
            exact="120.765424",
            tiers=TIERS,
            per=1_000_000,
            group=(("model", "llada-8b-instruct"), ("generation_mode", "diffusion")),
            explanation=("1,000,000 tokens at 12 EUR for 1,000,000 = 12 EUR", "and so on"),
        ),
        line(
            *(3, "usage", "Denoising steps", "98765", "steps", "24.69"),
            exact="24.69125",
            tiers=[(None, "98765", "0.25", "0", "24.69125")],
            per=1_000,
        ),
        line(
            *(4, "usage", "Capped requests", "1000", "requests", "33.33"),
            tiers=[(None, "1000", "0.05", "0", "50")],
            explanation=("At most 33.33 EUR.",),
        ),
        line(5, "minimum", "Minimum of the plan", "1", "month", "22.21"),
        line(6, "discount", "Loyalty, 10 %", "1", "", "-30.00"),
        line(7, "credit", "Welcome credit", "1", "", "-5.00"),
        line(8, "adjustment", "Outage on 3 November", "-20000", "tokens", "-0.16"),
        line(9, "usage", "Output tokens", "40000", "tokens", "0.32", corrected=True, explanation=("was 1", "is 2")),
    )
    return Invoice(
        number="2026-11-000001",
        account="acme",
        account_name="Acme GmbH",
        period="2026-11",
        span=NOVEMBER,
        time_zone="UTC",
        currency="EUR",
        issued_at=datetime(2026, 12, 1, 6, tzinfo=UTC),
        close_id="2026-11/0123456789abcdef",
        lines=lines,
        value=ValueStatement(Decimal("264.84"), 100_000, 900_000, Decimal("178.79"), Decimal("1787.90")),
    )
