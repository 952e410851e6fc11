"""What of an invoice is settled by credits: what its prices in credits come to, and nothing else. By hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from fleetmeter_billing.credits.balance import Entry, draw
from fleetmeter_billing.credits.settlement import covered, needed
from fleetmeter_billing.invoices.making import Material, make_invoices
from fleetmeter_billing.periods.close_log import Close
from fleetmeter_billing.rates.card import PublishedCard, RateCard
from fleetmeter_billing.rates.usage import Discount
from fleetmeter_doubles.invoice_samples import METERS, NOVEMBER, cards, segment, used
from fleetmeter_jobs.cli.credits import invoiced_credits

CLOSE = Close(
    *(1, "2026-11/x", "2026-11", NOVEMBER.start, NOVEMBER.end, (), 1, 0, datetime(2026, 12, 1, tzinfo=UTC)),
    *((), (), (0,) * 6, (0,) * 6, "", datetime(2026, 12, 2, tzinfo=UTC)),
)
RATES = RateCard.model_validate(
    {
        "card": "standard",
        "currency": "EUR",
        "effective_from": "2026-01-01",
        "meters": METERS,
        "credits": {"amount": "0.01"},
        "prices": {
            "tokens": {
                "label": "Tokens",
                "meter": "tokens",
                "model": {"type": "credits", "rates": [{"since": "2026-01-01", "per": 1000, "credits": 1}]},
            },
            "top_up": {"label": "Top-up", "meter": "steps", "unit": "credit", "model": {"type": "unit", "amount": "7"}},
        },
    }
)
CARD = PublishedCard(
    card=RATES, version=1, published_at=NOVEMBER.start, published_by="test", content_hash=RATES.content_hash
)
BOUGHT = [Entry(1, "grant", (("p-1", Decimal(5000)),), NOVEMBER.start.date())]
LOYAL = Discount("loyal", "Loyalty", percent=Decimal(10))


@pytest.mark.parametrize(
    ("terms", "total", "drawn", "settled"),
    [
        # 1,000 credits at 0.01, and one of something else whose unit is called so: 10.00 + 7.00
        ({}, "17.00", "1000", "10.00"),
        # 9.00 + 6.30: credits for the 9.00 alone
        ({"discounts": (LOYAL,)}, "15.30", "900", "9.00"),
        ({"discounts": (replace(LOYAL, prices=("top_up",)),)}, "16.30", "1000", "10.00"),
        ({"status": "trial"}, "0.00", "0", "0.00"),
    ],
)
def test_credits_settle_what_is_left_of_their_prices(
    terms: dict[str, Any], total: str, drawn: str, settled: str
) -> None:
    frozen = segment()
    assert frozen.segment is not None
    usage = used(1_000_000, 1, of=replace(frozen, segment=replace(frozen.segment, **terms)))
    (invoice,) = make_invoices(Material(CLOSE, {"acme": usage}, {}, {}), cards(CARD))
    lines = invoiced_credits(invoice, cards(CARD)).lines
    parts = draw(BOUGHT, needed(lines), NOVEMBER.end.date())
    assert str(invoice.total) == total
    assert sum((count for _, count in parts), Decimal(0)) == Decimal(drawn)
    assert str(covered(lines, parts, "EUR")) == settled
