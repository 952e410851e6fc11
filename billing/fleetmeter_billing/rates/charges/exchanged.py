"""Matrix units and credits: usage is exchanged into another unit, and that unit has the price."""

from __future__ import annotations

from fleetmeter_billing.rates.buckets import matches
from fleetmeter_billing.rates.charges.quantity import before_tiers
from fleetmeter_billing.rates.drafts import Charging, Draft, portions, taken
from fleetmeter_billing.rates.lines import TierCharge
from fleetmeter_billing.rates.price_models import Credits, ExchangeRate, MatrixUnits
from fleetmeter_billing.rates.tiers import ZERO, graduated
from fleetmeter_billing.rates.wording import of_group, show, tier_sentences, units


def matrix_units(charging: Charging) -> list[Draft]:
    """One unit for all generation modes: 10^9 operations become units, fractions and all."""
    price, model, currency = charging.price, charging.price.model, charging.prepared.currency
    if not isinstance(model, MatrixUnits):
        raise TypeError(f"{type(model).__name__} has no matrix units")
    unit, size = price.unit or "matrix unit", model.gflop_per_unit
    drafts = []
    for portion in portions(charging, lambda weighed: weighed / size):
        bucket = portion.bucket
        tiers, exact = graduated(charging.prepared.steps, portion.charged)
        if not bucket.quantity and not exact:
            continue
        sentences = [f"{units(bucket.quantity, 'x 10^9 operations')} at {show(size)} a {unit}"]
        sentences += before_tiers(charging, portion)
        sentences += tier_sentences(tiers, currency, price.per, unit)
        label = f"{price.label}: {of_group(bucket.group)}" if bucket.group else price.label
        drafts.append(
            Draft(
                *("", label, price.meter, bucket.group, bucket.quantity / size, unit, price.per),
                *(tiers, exact, "usage", tuple(sentences)),
            )
        )
    return drafts


def credit(charging: Charging) -> list[Draft]:
    """One line whose quantity is in credits, with a tier for each rate of exchange that was used. Its amount is what
    the credits cost; balances that were paid before are drawn down afterwards."""
    price, model, currency = charging.price, charging.price.model, charging.prepared.currency
    if not isinstance(model, Credits):
        raise TypeError(f"{type(model).__name__} has no credits")
    unit = charging.prepared.credit
    rates = rates_on(model, charging.segment.first_day.isoformat())
    quantities = [0] * len(rates)
    for one in charging.of(price.meter):
        group = dict(one.group)
        quantities[next(i for i, rate in enumerate(rates) if matches(rate.when, group))] += one.quantity
    sentences, total = [], ZERO
    for rate, quantity in zip(rates, quantities, strict=True):
        if not quantity:
            continue
        made = quantity * rate.credits / rate.per
        total += made
        kind = "; ".join(f"{name} {' or '.join(values)}" for name, values in rate.when.items())
        sentences.append(
            f"{units(quantity, price.unit)}{f' with {kind}' if kind else ''} at {show(rate.credits)} {unit}s per "
            f"{show(rate.per)} (rate since {rate.since}) = {show(made)} {unit}s"
        )
    if not sentences:
        return []
    free = taken(total, charging.allowance())
    if free:
        sentences.append(f"{show(free)} {unit}s are included in the plan")
    step = charging.prepared.steps[0]
    charged = charging.chargeable(total - free)
    exact = charged * step.each
    tiers = (TierCharge(None, charged, step.shown, ZERO, exact),)
    sentences += tier_sentences(tiers, currency, 1, unit)
    return [Draft("", price.label, price.meter, (), total, unit, 1, tiers, exact, "usage", tuple(sentences))]


def rates_on(model: Credits, day: str) -> list[ExchangeRate]:
    """The rates that hold on a day: of those with the same `when` the newest, in the order in which each `when` first
    stands in the card."""
    newest: dict[tuple[tuple[str, tuple[str, ...]], ...], ExchangeRate | None] = {}
    for rate in model.rates:
        key = tuple(sorted((name, tuple(sorted(values))) for name, values in rate.when.items()))
        before = newest.setdefault(key, None)
        if rate.since <= day and (before is None or before.since <= rate.since):
            newest[key] = rate
    return [rate for rate in newest.values() if rate is not None]
