"""Rate cards spelled out by tests, and the segment and usage to rate by them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from fleetmeter_billing.rates.card import PublishedCard
from fleetmeter_billing.rates.loading import parse_card
from fleetmeter_billing.rates.usage import MeteredUsage, Segment

Used = Mapping[str, int] | Sequence[tuple[str, Mapping[str, str], int]]
"""Quantities by meter; or (meter, group, quantity) where meters tell groups apart."""

METERS = """
  tokens: {measure: output_tokens, group_by: [generation_mode, context_band, model]}
  total: {measure: output_tokens}
  steps: {measure: denoising_steps, group_by: [steps_band, query_class]}
  asked: {measure: requests, group_by: [steps_band, query_class]}
  seats: {fact: seat}
  devices: {distinct: installation}
  outcomes: {fact: outcome, group_by: [name]}
  value: {fact: outcome, sum: value_minor, where: {currency: EUR}}
  bought: {measure: upstream_cost_nanousd}
  work: {measure: matrix_gflop, plus: [draft_matrix_gflop], group_by: [generation_mode]}
"""


def publish(prices: str, *, currency: str = "EUR", more: str = "", value_currency: str = "EUR") -> PublishedCard:
    """A published card with METERS and these prices (YAML)."""
    meters = METERS.replace("currency: EUR", f"currency: {value_currency}")
    text = f"card: golden\ncurrency: {currency}\neffective_from: 2026-11-01\nmeters:{meters}prices:\n"
    text += textwrap.indent(textwrap.dedent(prices), "  ") + "\n" + textwrap.dedent(more)
    card = parse_card(text)
    return PublishedCard(
        card=card,
        version=1,
        published_at=datetime(2026, 10, 20, tzinfo=UTC),
        published_by="test",
        content_hash=card.content_hash,
    )


def segment_of(card: PublishedCard, **given: Any) -> Segment:
    """All of November 2026, unless `given` says otherwise."""
    fields = {
        "plan": "default",
        "start": datetime(2026, 11, 1, tzinfo=UTC),
        "end": datetime(2026, 12, 1, tzinfo=UTC),
        "first_day": date(2026, 11, 1),
        "days": 30,
        "period_days": 30,
    }
    return Segment(card.card.card, card.version, **{**fields, **given})


def metered(used: Used) -> list[MeteredUsage]:
    """What rating is given."""
    if isinstance(used, Mapping):
        return [MeteredUsage(meter, (), quantity) for meter, quantity in used.items()]
    return [MeteredUsage(meter, tuple(group.items()), quantity) for meter, group, quantity in used]
