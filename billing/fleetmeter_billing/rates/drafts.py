"""What charging is given, and what it makes of one price before discounts and rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from fleetmeter_billing.rates.buckets import Bucket, Sorter
from fleetmeter_billing.rates.lines import LineKind, TierCharge
from fleetmeter_billing.rates.meter import Meter
from fleetmeter_billing.rates.price import Price
from fleetmeter_billing.rates.tiers import ZERO, Step, shortened
from fleetmeter_billing.rates.usage import Group, MeteredUsage, Segment


@dataclass(slots=True)
class Draft:
    """A line that is not rounded yet; see RatedLine for the fields."""

    part: str
    label: str
    meter: str | None
    group: Group
    quantity: Decimal
    unit: str
    per: int
    tiers: tuple[TierCharge, ...]
    exact: Decimal
    kind: LineKind
    explanation: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A price made ready once for many accounts: the plan's allowance for a whole period, and steps with the exact
    amount of one unit, for the price itself and for each rule. `meter` is that of the price, None without; `credit` is
    what the card calls one."""

    price: Price
    meter: Meter | None
    currency: str
    included: Decimal
    steps: tuple[Step, ...]
    rule_steps: tuple[tuple[Step, ...], ...]
    sorter: Sorter
    credit: str


@dataclass(slots=True)  # not frozen: one is made for each price of each account, and freezing takes its time
class Charging:
    """All that a price is charged from: itself, the usage of each meter, and the segment's share of its period."""

    prepared: Prepared
    usage: Mapping[str, Sequence[MeteredUsage]]
    segment: Segment
    price: Price = field(init=False)

    def __post_init__(self) -> None:
        self.price = self.prepared.price

    @property
    def whole(self) -> bool:
        """Whether the segment is its whole period."""
        return self.segment.days == self.segment.period_days

    def of(self, meter: str | None) -> Sequence[MeteredUsage]:
        """The usage of a meter; none if it was not used."""
        return self.usage.get(meter, ()) if meter is not None else ()

    def prorated(self, amount: Decimal, share: str) -> Decimal:
        """The amount for the segment's days, if `share` is `days`."""
        if share == "none" or self.whole or not amount:
            return amount
        # Multiplied first, so that the division is the only step that may round.
        return amount * self.segment.days / self.segment.period_days

    def fixed(self, amount: Decimal) -> Decimal:
        """A fixed amount, for the segment's days if the price is prorated."""
        return self.prorated(amount, self.price.proration.fixed)

    def allowance(self) -> Decimal:
        """The free units of this segment."""
        return self.prorated(self.prepared.included, self.price.proration.included)

    def in_segment(self, steps: Sequence[Step]) -> Sequence[Step]:
        """The steps with the bounds that hold in this segment: those for its days, if the price says so."""
        if self.price.proration.tiers == "none" or self.whole:
            return steps
        return shortened(steps, self.segment.days, self.segment.period_days)

    def chargeable(self, quantity: Decimal) -> Decimal:
        """The quantity as it is charged: below zero only where the price credits that."""
        return ZERO if quantity < 0 and self.price.negative == "zero" else quantity


@dataclass(slots=True)
class Portion:
    """A bucket's quantity in the price's unit, how much of it is free, and what remains to be charged."""

    bucket: Bucket
    quantity: Decimal
    free: Decimal
    charged: Decimal


def portions(charging: Charging, convert: Callable[[Decimal], Decimal] | None = None) -> Iterator[Portion]:
    """The price's usage, bucket by bucket; the allowance is used up in this order. `convert` turns weighed quantities
    into the price's unit."""
    left = charging.allowance()
    prepared = charging.prepared
    for bucket in prepared.sorter.sort(charging.of(prepared.price.meter)):
        quantity = bucket.weighed if convert is None else convert(bucket.weighed)
        free = taken(quantity, left)
        left -= free
        yield Portion(bucket, quantity, free, charging.chargeable(quantity - free))


def taken(quantity: Decimal, allowance: Decimal) -> Decimal:
    """How much of a quantity an allowance makes free."""
    return min(quantity, allowance) if quantity > 0 and allowance else ZERO
