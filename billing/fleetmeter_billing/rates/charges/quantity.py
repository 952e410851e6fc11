"""unit, graduated, volume, package and outcome: a quantity times an amount, with rules, multipliers and allowance."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from fleetmeter_billing.rates.buckets import BASE
from fleetmeter_billing.rates.drafts import Charging, Draft, Portion, portions, taken
from fleetmeter_billing.rates.lines import TierCharge
from fleetmeter_billing.rates.price_models import Graduated, Outcome, Package, Unit, Volume
from fleetmeter_billing.rates.tiers import ZERO, Charges, Step, graduated, package, tiered
from fleetmeter_billing.rates.wording import of_group, show, tier_sentences, units


def by_quantity(charging: Charging) -> list[Draft]:
    """A line for the base, one for each rule that matched, and for each value of `lines_by`."""
    price, prepared = charging.price, charging.prepared
    drafts = []
    for portion in portions(charging):
        bucket = portion.bucket
        if bucket.rule == BASE:
            part, label, model, steps = "", price.label, price.model, prepared.steps
        else:
            rule = price.rules[bucket.rule]
            part, label = rule.name, rule.label or f"{price.label} ({rule.name})"
            model, steps = rule.model, prepared.rule_steps[bucket.rule]
        tiers, exact = walk(model, steps, portion.charged, charging)
        if not bucket.quantity and not exact:
            continue
        if bucket.group:
            label = f"{label}: {of_group(bucket.group)}"
        drafts.append(
            Draft(
                *(part, label, price.meter, bucket.group, Decimal(bucket.quantity), price.unit, price.per),
                *(tiers, exact, "usage", _explain(charging, model, portion, tiers)),
            )
        )
    return drafts


def walk(model: object, steps: Sequence[Step], quantity: Decimal, charging: Charging) -> Charges:
    """What a quantity costs under a model whose tiers are `steps`, for the segment's share of the period."""
    if isinstance(model, Package):
        return package(model.amount, model.size, quantity, model.rounding)
    if isinstance(model, Unit):
        return graduated(steps, quantity)
    if isinstance(model, Graduated | Volume):
        return tiered(
            model, charging.in_segment(steps), quantity, charging.prepared.currency, whole=isinstance(model, Volume)
        )
    raise TypeError(f"{type(model).__name__} prices no quantity")


def before_tiers(charging: Charging, portion: Portion) -> list[str]:
    """Sentences about what became of the quantity before tiers were walked: rule, multipliers, allowance."""
    price, bucket = charging.price, portion.bucket
    sentences = []
    if bucket.rule != BASE:
        when = price.rules[bucket.rule].when
        wanted = "; ".join(f"{name} {' or '.join(values)}" for name, values in when.items())
        sentences.append(f"all of a request with {wanted} is priced so")
    if price.multipliers:
        sentences += [
            f"{units(quantity, price.unit)} count {show(weight)} times: {show(weight * quantity)}"
            for weight, quantity in bucket.weights.items()
        ]
    if portion.free:
        sentences.append(f"{units(portion.free, price.unit)} are included in the plan")
    return sentences


def _explain(charging: Charging, model: object, portion: Portion, tiers: tuple[TierCharge, ...]) -> tuple[str, ...]:
    price, currency = charging.price, charging.prepared.currency
    sentences = before_tiers(charging, portion)
    if isinstance(model, Package):
        sentences += [
            f"{show(tier.quantity)} packages of {units(model.size, price.unit)} (rounded {model.rounding}) at "
            f"{show(tier.unit_amount)} {currency} = {show(tier.amount)} {currency}"
            for tier in tiers
        ]
    else:
        sentences += tier_sentences(tiers, currency, price.per, price.unit)
    return tuple(sentences)


def outcome(charging: Charging) -> list[Draft]:
    """A line for each name that occurred, in alphabetical order, in which the allowance is used up, too."""
    price, model, currency = charging.price, charging.price.model, charging.prepared.currency
    if not isinstance(model, Outcome):
        raise TypeError(f"{type(model).__name__} prices no outcomes")
    counts: dict[str, int] = {}
    for one in charging.of(price.meter):
        name = dict(one.group)["name"]
        counts[name] = counts.get(name, 0) + one.quantity
    left, drafts = charging.allowance(), []
    for name, count in sorted(counts.items()):
        amount = model.amounts.get(name, model.other)
        if amount is None or not count:
            continue
        free = taken(Decimal(count), left)
        left -= free
        charged = charging.chargeable(count - free)
        each = amount / price.per
        tiers, exact = graduated((Step(None, amount, each, ZERO),), charged)
        sentences = [f"{units(count, name)}, reversed ones taken off"]
        if free:
            sentences.append(f"{units(free, price.unit)} are included in the plan")
        sentences += tier_sentences(tiers, currency, price.per, price.unit)
        drafts.append(
            Draft(
                *("", f"{price.label}: {name}", price.meter, (("name", name),), Decimal(count), price.unit, price.per),
                *(tiers, exact, "usage", tuple(sentences)),
            )
        )
    return drafts
