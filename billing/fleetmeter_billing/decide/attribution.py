"""Whose doing a bill is: the amounts of its lines, shared out to the traffic that they price. Pure.

All lines of one price, with its discounts, minimum and maximum, come to one net amount. It is shared out first to the
price's usage lines, by their amounts, and then of each line to the rows of traffic that it counts, by what they
contribute to its quantity: after multipliers, by rules, in credits. Tiers price a sum, not requests, so that within a
line every unit is worth the same. What no traffic accounts for (fees, seats, outcomes, adjustments) stays unshared.

Shares are exact to the 60th digit, and sum to the bill.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, localcontext

from fleetmeter_billing.decide.traffic import Traffic
from fleetmeter_billing.invoices.period_lines import PlacedLine
from fleetmeter_billing.rates.buckets import matches
from fleetmeter_billing.rates.card import RateCard
from fleetmeter_billing.rates.charges.exchanged import rates_on
from fleetmeter_billing.rates.lines import RatedLine
from fleetmeter_billing.rates.money import CONTEXT
from fleetmeter_billing.rates.price import Price
from fleetmeter_billing.rates.price_models import Bundle, Credits

ZERO = Decimal(0)
Shares = dict[int | None, Decimal]
"""Amounts by place of the row in the traffic; None is what no row accounts for."""


def share_out(lines: Iterable[PlacedLine], card_of: Mapping[int, RateCard], traffic: Sequence[Traffic]) -> Shares:
    """The amounts of one account's lines by row of its traffic. `card_of` is by number of the segment."""
    with localcontext(CONTEXT):
        found: Shares = {}
        by_price: dict[tuple[int, str], list[PlacedLine]] = {}
        for line in lines:
            if line.adjustment is not None or line.rated.price not in card_of[line.segment.index].prices:
                found[None] = found.get(None, ZERO) + line.rated.amount
            else:
                by_price.setdefault((line.segment.index, line.rated.price), []).append(line)
        for (segment, name), own in by_price.items():
            card = card_of[segment]
            rows = [(place, row) for place, row in enumerate(traffic) if row.segment == segment]
            _share_price(card, card.prices[name], own, rows, found)
    return found


def _share_price(
    card: RateCard,
    price: Price,
    lines: Sequence[PlacedLine],
    rows: Sequence[tuple[int, Traffic]],
    found: Shares,
) -> None:
    net = sum((one.rated.amount for one in lines), ZERO)
    weights: dict[int, Decimal] = {}
    for line in lines:
        if line.rated.kind != "usage" or not line.rated.amount:
            continue
        first_day = line.segment.first_day.isoformat()
        each = ((place, _weight(card, price, line.rated, row, first_day)) for place, row in rows)
        own = [(place, weight) for place, weight in each if weight]
        total = sum((weight for _, weight in own), ZERO)
        if total:
            for place, weight in own:
                weights[place] = weights.get(place, ZERO) + line.rated.amount * weight / total
    whole = sum(weights.values(), ZERO)
    if not whole:
        found[None] = found.get(None, ZERO) + net
        return
    for place, weight in weights.items():
        found[place] = found.get(place, ZERO) + net * weight / whole


def _weight(card: RateCard, price: Price, line: RatedLine, row: Traffic, first_day: str) -> Decimal:
    """What the row contributes to the quantity of a line, in the line's own unit or a multiple of it."""
    model, dimensions = price.model, row.dimensions
    if isinstance(model, Bundle):
        return sum((part.weight * row.metered(card.meters[part.meter]) for part in model.parts), ZERO)
    if line.meter is None:
        return ZERO
    counted = row.metered(card.meters[line.meter])
    if not counted or any(dimensions[name] != value for name, value in line.group):
        return ZERO
    quantity = Decimal(counted)
    if isinstance(model, Credits):
        rate = next(one for one in rates_on(model, first_day) if matches(one.when, dimensions))
        return quantity * rate.credits / rate.per
    if line.meter != price.meter:
        return quantity
    rule = next((one.name for one in price.rules if matches(one.when, dimensions)), "")
    if rule != line.part:
        return ZERO
    for multiplier in price.multipliers:
        quantity *= multiplier.values.get(dimensions[multiplier.by], multiplier.other)
    return quantity
