"""The rated lines of one account and usage period, and what changes between two closes. Pure.

First each part of the period is rated with its usage. Then operators' adjustments are added one after the other, in
order of time: each has one line, with what the bill changes by. So an adjustment across a tier's bound is priced with
the tiers on both sides, and never hides in a line of usage.

A correction is the difference of two such calculations, with the usage of closes up to n and of those before n. So what
was billed plus all corrections is what the newest calculation says, to the last cent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from fleetmeter_billing.rates.card import PublishedCard, RateCard
from fleetmeter_billing.rates.lines import RatedLine
from fleetmeter_billing.rates.money import exact_sum, round_amount
from fleetmeter_billing.rates.rating import difference, rate_segment
from fleetmeter_billing.rates.usage import MeteredUsage
from fleetmeter_billing.usage.frozen import FrozenAdjustment, FrozenSegment

CardOf = Callable[[str, int], PublishedCard]
"""The published card of that name and version."""


@dataclass(frozen=True, slots=True)
class PeriodUsage:
    """What was frozen of one account and usage period."""

    segments: tuple[FrozenSegment, ...]
    usage: Mapping[int, tuple[MeteredUsage, ...]]
    """By number of the segment."""
    adjustments: tuple[FrozenAdjustment, ...] = ()


@dataclass(frozen=True, slots=True)
class PlacedLine:
    """A rated line and where in the period it belongs."""

    segment: FrozenSegment
    rated: RatedLine
    adjustment: tuple[str, str] | None = None
    """Source and id of the adjustment that it is of."""


def rate_period(of: PeriodUsage, card_of: CardOf) -> list[PlacedLine]:
    """The period's lines: those of each part in turn, then adjustments. Raises RatingError."""
    rated: dict[int, list[RatedLine]] = {}
    placed = []
    usage = {index: list(one) for index, one in of.usage.items()}
    for frozen in of.segments:
        if frozen.segment is not None:
            card = card_of(frozen.segment.card, frozen.segment.version)
            lines = rated[frozen.index] = rate_segment(card, frozen.segment, usage.get(frozen.index, ()))
            placed += [PlacedLine(frozen, line) for line in lines]
    by_index = {frozen.index: frozen for frozen in of.segments}
    for adjustment in of.adjustments:
        frozen = by_index[adjustment.segment]
        if frozen.segment is None:
            continue
        card = card_of(frozen.segment.card, frozen.segment.version)
        identity = (adjustment.source, adjustment.event_id)
        extra = metered(adjustment, card.card)
        changes: list[RatedLine] = []
        if extra is not None:
            added = usage[frozen.index] = [*usage.get(frozen.index, ()), extra]
            after = rate_segment(card, frozen.segment, added)
            changes = difference(rated[frozen.index], after)
            rated[frozen.index] = after
        placed.append(PlacedLine(frozen, _adjusted(adjustment, card, changes), identity))
    return placed


def corrections(before: Sequence[PlacedLine], after: Sequence[PlacedLine]) -> list[PlacedLine]:
    """What the second calculation changes: a line for each that differs in amount or quantity, of the same kind."""
    old, new = _buckets(before), _buckets(after)
    changed = []
    for key in [*new, *(key for key in old if key not in new)]:
        was, now = old.get(key, []), new.get(key, [])
        known = {line.rated.key: line for line in (*was, *now)}
        for line in difference([one.rated for one in was], [one.rated for one in now], "usage"):
            like = known[line.key]
            changed.append(replace(like, rated=replace(line, kind=like.rated.kind)))
    return changed


def metered(adjustment: FrozenAdjustment, card: RateCard) -> MeteredUsage | None:
    """The adjustment as usage of one meter: the card's meter of that name, else the one that sums that measure and may
    count the model, mode and project in question. None if there is no such meter, or more than one."""
    known = {
        "model": adjustment.model,
        "generation_mode": adjustment.generation_mode,
        "project_id": adjustment.project_id,
    }
    fitting = [
        meter
        for meter in card.meters.values()
        if meter.name == adjustment.meter
        or (
            meter.measure == adjustment.meter
            and all(not known.get(name) or known[name] in values for name, values in meter.where.items())
        )
    ]
    named = [meter for meter in fitting if meter.name == adjustment.meter] or fitting
    if len(named) != 1:
        return None
    meter = named[0]
    group = tuple((name, known.get(name) or next(iter(meter.where.get(name, ())), "")) for name in meter.group_by)
    return MeteredUsage(meter.name, group, adjustment.quantity)


def _adjusted(adjustment: FrozenAdjustment, card: PublishedCard, changes: Sequence[RatedLine]) -> RatedLine:
    """The adjustment's one line: its reason, its quantity, and the sum of what it changes in other lines."""
    currency = card.card.currency
    amount = round_amount(exact_sum(one.amount for one in changes), currency)
    reference = f" ({adjustment.reference})" if adjustment.reference else ""
    explanation = [f"decided on {adjustment.time:%Y-%m-%d}{reference}: {adjustment.quantity:+,} {adjustment.meter}"]
    explanation += [f"{one.label}: {', '.join(one.explanation)}" for one in changes]
    if not changes:
        explanation.append(
            f"costs nothing: card {card.card.card} has no price for it, or not exactly one meter that "
            f"{adjustment.meter} could mean"
        )
    first = next((one for one in changes if one.meter), None)
    price, part, meter, unit, per = (
        (first.price, first.part, first.meter, first.unit, first.per) if first else ("", "", None, adjustment.meter, 1)
    )
    return RatedLine(
        *(price, part, adjustment.reason, meter, (), Decimal(adjustment.quantity), unit, per, ()),
        *(exact_sum(one.exact for one in changes), amount, currency, card.card.card, card.version),
        *("adjustment", tuple(explanation)),
    )


def _buckets(lines: Sequence[PlacedLine]) -> dict[tuple[int, tuple[str, str] | None], list[PlacedLine]]:
    found: dict[tuple[int, tuple[str, str] | None], list[PlacedLine]] = {}
    for line in lines:
        found.setdefault((line.segment.index, line.adjustment), []).append(line)
    return found
