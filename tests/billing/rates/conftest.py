"""Rating a card that a test spells out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fleetmeter_billing.rates.rating import RatedLine, rate_segment
from fleetmeter_doubles.spelled_cards import Used, metered, publish, segment_of


@pytest.fixture
def rate() -> Callable[..., list[RatedLine]]:
    """rate(prices, used, currency=, more=, **segment) -> lines."""

    def run(prices: str, used: Used, *, currency: str = "EUR", more: str = "", **given: Any) -> list[RatedLine]:
        card = publish(prices, currency=currency, more=more)
        return rate_segment(card, segment_of(card, **given), metered(used))

    return run


@pytest.fixture
def amounts(rate: Callable[..., list[RatedLine]]) -> Callable[..., list[str]]:
    """Like `rate`, but only the amounts, as text."""
    return lambda *given, **named: [str(line.amount) for line in rate(*given, **named)]
