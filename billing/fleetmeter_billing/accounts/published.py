"""What segments need to know of the rate cards that are published."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fleetmeter_billing.accounts.segments import Cards, CardVersion
from fleetmeter_billing.rates.card import DEFAULT_PLAN, PublishedCard
from fleetmeter_billing.rates.price_models import Capacity, Seat

_COUNTED: Final = frozenset({"seats", "devices"})
"""Commitments that entitlements look at, whatever the prices name."""


def cards_of(published: Iterable[PublishedCard]) -> Cards:
    """By card, its versions in order."""
    found: dict[str, list[CardVersion]] = {}
    for one in published:
        card = one.card
        plans = frozenset(card.plans) or frozenset({DEFAULT_PLAN})
        found.setdefault(card.card, []).append(
            CardVersion(
                one.version,
                card.effective_from,
                card.currency,
                plans,
                tuple(card.experiments.values()),
                frozenset(card.cut_dates()),
                frozenset(card.prices),
                _COUNTED
                | {one.model.committed for one in card.prices.values() if isinstance(one.model, Seat | Capacity)},
            )
        )
    return found
