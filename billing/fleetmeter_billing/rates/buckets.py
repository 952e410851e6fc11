"""Usage of one price, sorted into what becomes a line: by rule, then by the dimensions that have lines of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final

from fleetmeter_billing.rates.price import Price
from fleetmeter_billing.rates.tiers import ONE, ZERO
from fleetmeter_billing.rates.usage import Group, MeteredUsage

BASE: Final = -1
"""The number of what no rule matches."""
_GROUPS_KEPT: Final = 10_000


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


class Sorter:
    """Sorts the usage of one price. Made once a price; where a group belongs is looked up once, since the same few
    groups come with all accounts."""

    def __init__(self, price: Price) -> None:
        self._price = price
        self._plain = not (price.rules or price.lines_by or price.multipliers)
        self._place = lru_cache(_GROUPS_KEPT)(self._find_place)

    def sort(self, usage: Sequence[MeteredUsage]) -> list[Bucket]:
        """The buckets: the base first, then rules in the card's order, groups sorted within. There is always a base
        bucket if the price has no `lines_by`. Call it in CONTEXT; raises KeyError for usage that lacks a dimension."""
        if self._plain:
            total = usage[0].quantity if len(usage) == 1 else sum(one.quantity for one in usage)
            return [Bucket(BASE, (), total, Decimal(total), {})]
        found: dict[tuple[int, Group], Bucket] = {}
        if not self._price.lines_by:
            found[BASE, ()] = Bucket(BASE, (), 0, ZERO, {})
        for one in usage:
            key, weight = self._place(one.group)
            bucket = found.get(key)
            if bucket is None:
                bucket = found[key] = Bucket(*key, 0, ZERO, {})
            quantity = one.quantity
            bucket.quantity += quantity
            bucket.weighed += weight * quantity
            bucket.weights[weight] = bucket.weights.get(weight, 0) + quantity
        return (
            sorted(found.values(), key=lambda bucket: (bucket.rule, bucket.group))
            if len(found) > 1
            else [*found.values()]
        )

    def _find_place(self, group: Group) -> tuple[tuple[int, Group], Decimal]:
        price, values = self._price, dict(group)
        rule = next((i for i, rule in enumerate(price.rules) if matches(rule.when, values)), BASE)
        weight = ONE
        for multiplier in price.multipliers:
            weight *= multiplier.values.get(values[multiplier.by], multiplier.other)
        return (rule, tuple((dimension, values[dimension]) for dimension in price.lines_by)), weight
