"""hybrid and bundle: prices over several meters."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from fleetmeter_billing.rates.charges.quantity import before_tiers
from fleetmeter_billing.rates.drafts import Charging, Draft, portions, taken
from fleetmeter_billing.rates.iteration_cap import IterationCap
from fleetmeter_billing.rates.price_models import Bundle, Hybrid
from fleetmeter_billing.rates.tiers import ZERO, Step, graduated, tiered
from fleetmeter_billing.rates.usage import MeteredUsage
from fleetmeter_billing.rates.wording import of_group, show, tier_sentences, units

ITERATIONS = "iterations"
"""The part under which the second line of a hybrid price stands."""


def hybrid(charging: Charging) -> list[Draft]:
    """output tokens x base + iterations x rate, on two lines; minimum and maximum of the price hold for both."""
    return [*_tokens(charging), *_iterations(charging)]


def _tokens(charging: Charging) -> list[Draft]:
    price, currency = charging.price, charging.prepared.currency
    drafts = []
    for portion in portions(charging):
        bucket = portion.bucket
        tiers, exact = graduated(charging.prepared.steps, portion.charged)
        if not bucket.quantity and not exact:
            continue
        label = f"{price.label}: {of_group(bucket.group)}" if bucket.group else price.label
        sentences = before_tiers(charging, portion) + tier_sentences(tiers, currency, price.per, price.unit)
        drafts.append(
            Draft(
                *("", label, price.meter, bucket.group, Decimal(bucket.quantity), price.unit, price.per),
                *(tiers, exact, "usage", tuple(sentences)),
            )
        )
    return drafts


def _iterations(charging: Charging) -> list[Draft]:
    price, model, currency = charging.price, charging.price.model, charging.prepared.currency
    if not isinstance(model, Hybrid):
        raise TypeError(f"{type(model).__name__} is no hybrid price")
    given = model.iterations
    usage = charging.of(given.meter)
    counted = sum(one.quantity for one in usage)
    sentences: list[str] = []
    charged = Decimal(counted)
    if given.cap is not None:
        capped, sentences = _capped(given.cap, usage, charging.of(given.cap.requests), given.unit)
        charged = Decimal(capped)
    tiers, exact = graduated((Step(None, given.amount, given.amount / given.per, ZERO),), charging.chargeable(charged))
    if not counted and not exact:
        return []
    sentences += tier_sentences(tiers, currency, given.per, given.unit)
    label = given.label or f"{price.label}: {given.unit}s"
    return [
        Draft(
            *(ITERATIONS, label, given.meter, (), Decimal(counted), given.unit, given.per),
            *(tiers, exact, "usage", tuple(sentences)),
        )
    ]


def _capped(
    cap: IterationCap, iterations: Sequence[MeteredUsage], requests: Sequence[MeteredUsage], unit: str
) -> tuple[int, list[str]]:
    """The iterations that are charged, and a sentence for each value whose cap took effect."""
    used, asked = _by(cap.by, iterations), _by(cap.by, requests)
    total, sentences = 0, []
    for value, quantity in sorted(used.items()):
        most = cap.per_request.get(value)
        limit = None if most is None else most * asked.get(value, 0)
        if limit is None or quantity <= limit:
            total += quantity
            continue
        total += limit
        sentences.append(
            f"{cap.by} {value or 'unknown'}: {units(quantity, unit)} in {show(asked.get(value, 0))} requests, capped "
            f"at {most} a request = {show(limit)}"
        )
    return total, sentences


def _by(dimension: str, usage: Sequence[MeteredUsage]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for one in usage:
        value = dict(one.group)[dimension]
        sums[value] = sums.get(value, 0) + one.quantity
    return sums


def bundle(charging: Charging) -> list[Draft]:
    """One line over several meters, each weighed; the parts stand in the explanation."""
    price, model, currency = charging.price, charging.price.model, charging.prepared.currency
    if not isinstance(model, Bundle):
        raise TypeError(f"{type(model).__name__} is no bundle")
    sentences, total = [], ZERO
    for part in model.parts:
        counted = sum(one.quantity for one in charging.of(part.meter))
        if counted:
            made = counted * part.weight
            total += made
            sentences.append(f"{units(counted, part.meter)} at {show(part.weight)} = {units(made, price.unit)}")
    free = taken(total, charging.allowance())
    if free:
        sentences.append(f"{units(free, price.unit)} are included in the plan")
    charged = charging.chargeable(total - free)
    steps = charging.in_segment(charging.prepared.steps)
    tiers, exact = tiered(model, steps, charged, currency, whole=model.mode == "volume")
    if not total and not exact:
        return []
    sentences += tier_sentences(tiers, currency, price.per, price.unit)
    return [Draft("", price.label, None, (), total, price.unit, price.per, tiers, exact, "usage", tuple(sentences))]
