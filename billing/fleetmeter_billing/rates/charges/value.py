"""percentage and graduated percentage: a share of a value, of outcomes or of what a provider charged."""

from __future__ import annotations

from decimal import Decimal

from fleetmeter_billing.rates.card_rules import UPSTREAM_COST
from fleetmeter_billing.rates.drafts import Charging, Draft, portions
from fleetmeter_billing.rates.money import exponent
from fleetmeter_billing.rates.tiers import graduated
from fleetmeter_billing.rates.wording import of_group, show

_NANO = -9


def percentage(charging: Charging) -> list[Draft]:
    """Lines whose quantity is the value in the card's currency; `unit_amount` of tiers is the share, 0.05 for 5 %."""
    price, prepared = charging.price, charging.prepared
    currency = prepared.currency
    cost = prepared.meter is not None and prepared.meter.measure == UPSTREAM_COST
    shift = _NANO if cost else -exponent(currency)
    steps = charging.in_segment(prepared.steps)
    drafts = []
    for portion in portions(charging, lambda weighed: weighed.scaleb(shift)):
        bucket = portion.bucket
        tiers, exact = graduated(steps, portion.charged)
        if not bucket.quantity and not exact:
            continue
        sentences = [f"{show(portion.free)} {currency} of the value are included in the plan"] if portion.free else []
        for tier in tiers:
            flat = f" + {show(tier.flat)} {currency} flat" if tier.flat else ""
            sentences.append(
                f"{show(tier.unit_amount * 100)} % of {show(tier.quantity)} {currency}{flat} = {show(tier.amount)} "
                f"{currency}"
            )
        label = f"{price.label}: {of_group(bucket.group)}" if bucket.group else price.label
        value = Decimal(bucket.quantity).scaleb(shift)
        drafts.append(
            Draft(
                *("", label, price.meter, bucket.group, value, currency, 1),
                *(tiers, exact, "usage", tuple(sentences)),
            )
        )
    return drafts
