"""Usage of one price, sorted into what becomes a line: by rule, then by the dimensions that have lines of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from fleetmeter_billing.rates.price import Multiplier, Price
from fleetmeter_billing.rates.tiers import ONE, ZERO
from fleetmeter_billing.rates.usage import Group, MeteredUsage

BASE = -1
"""The number of what no rule matches."""


@dataclass(slots=True)
class Bucket:
    """What one line is made of. `rule` is the rule's number or BASE; `weighed` is the quantity after multipliers, and
    `weights` tells how much was counted how many times, in the order in which it came."""

    rule: int
    group: Group
    quantity: int
    weighed: Decimal
    weights: dict[Decimal, int]


def matches(when: Mapping[str, tuple[str, ...]], group: Mapping[str, str]) -> bool:
    """Whether a group has one of the wanted values in each dimension that `when` names."""
    return all(group[dimension] in values for dimension, values in when.items())


def buckets_of(price: Price, usage: Sequence[MeteredUsage]) -> list[Bucket]:
    """The buckets that usage of the price's meter falls in: the base first, then rules in the card's order, groups
    sorted within. There is always a base bucket if the price has no `lines_by`. Call it in CONTEXT."""
    if not (price.rules or price.lines_by or price.multipliers):
        total = sum(one.quantity for one in usage)
        weighed = Decimal(total)
        return [Bucket(BASE, (), total, weighed, {ONE: total})]
    found: dict[tuple[int, Group], Bucket] = {}
    if not price.lines_by:
        found[BASE, ()] = Bucket(BASE, (), 0, ZERO, {})
    for one in usage:
        group = dict(one.group)
        rule = next((i for i, rule in enumerate(price.rules) if matches(rule.when, group)), BASE)
        key = rule, tuple((dimension, group[dimension]) for dimension in price.lines_by)
        bucket = found.get(key)
        if bucket is None:
            bucket = found[key] = Bucket(*key, 0, ZERO, {})
        weight = _weight(price.multipliers, group)
        bucket.quantity += one.quantity
        bucket.weighed += weight * one.quantity
        bucket.weights[weight] = bucket.weights.get(weight, 0) + one.quantity
    return sorted(found.values(), key=lambda bucket: (bucket.rule, bucket.group))


def _weight(multipliers: Sequence[Multiplier], group: Mapping[str, str]) -> Decimal:
    weight = ONE
    for multiplier in multipliers:
        weight *= multiplier.values.get(group[multiplier.by], multiplier.other)
    return weight
