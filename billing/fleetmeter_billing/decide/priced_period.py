"""A closed period, ready to be rated by whichever card is asked about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fleetmeter_billing.clickhouse import BillingClient
from fleetmeter_billing.errors import PeriodError
from fleetmeter_billing.invoices.period_lines import PeriodUsage, PlacedLine, rate_period
from fleetmeter_billing.periods.close_log import Close, winning_closes
from fleetmeter_billing.periods.period import first_day_of
from fleetmeter_billing.rates.card import PublishedCard
from fleetmeter_billing.rates.usage import MeteredUsage, Segment
from fleetmeter_billing.usage.frozen import (
    FrozenAdjustment,
    FrozenSegment,
    frozen_adjustments,
    frozen_segments,
    frozen_usage,
)

Priced = Mapping[tuple[str, int], tuple[PublishedCard, Segment]]
"""By account and number of the segment: the card that rates it, and the segment as that card sees it."""
Choose = Callable[[FrozenSegment, Segment], tuple[PublishedCard, Segment] | None]
"""Which card rates a segment, and as which segment (card, version and plan replaced); None leaves it out."""


@dataclass(frozen=True, slots=True)
class ClosedPeriod:
    """What was frozen of a period by all closes so far: late usage is in it."""

    period: str
    closes: tuple[Close, ...]
    segments: tuple[FrozenSegment, ...]
    adjustments: tuple[FrozenAdjustment, ...]


def read_closed(client: BillingClient, period: str, accounts: Sequence[str] = ()) -> ClosedPeriod:
    """The period of all accounts, or of those named. Raises PeriodError if it is not closed."""
    first_day_of(period)  # raises for what names no period
    closes = winning_closes(client)
    if all(one.period != period for one in closes):
        there = ", ".join(one.period for one in closes) or "none"
        raise PeriodError(
            f"period {period} is not closed, so that its usage may still grow; do it with: fleetmeter close --period "
            f"{period}. Closed: {there}"
        )
    segments = tuple(frozen_segments(client, closes, period, accounts))
    return ClosedPeriod(period, tuple(closes), segments, tuple(frozen_adjustments(client, closes, period, accounts)))


def as_billed(card_of: Callable[[str, int], PublishedCard]) -> Choose:
    """The card version that the segment was closed with."""

    def choose(_frozen: FrozenSegment, segment: Segment) -> tuple[PublishedCard, Segment]:
        return card_of(segment.card, segment.version), segment

    return choose


def chosen(closed: ClosedPeriod, choose: Choose) -> Priced:
    """The segments that `choose` doesn't leave out, with their cards."""
    found: dict[tuple[str, int], tuple[PublishedCard, Segment]] = {}
    for frozen in closed.segments:
        if frozen.segment is not None and (pair := choose(frozen, frozen.segment)) is not None:
            found[frozen.account, frozen.index] = pair
    return found


def usage_for(client: BillingClient, closed: ClosedPeriod, priced: Priced) -> dict[str, PeriodUsage]:
    """By account: the segments of `priced` with what the meters of their cards count in them."""
    # A card is known by the object that it is: comparing two of them reads them through.
    cards: dict[int, PublishedCard] = {}
    wanted: dict[tuple[str, int, int], set[tuple[str, int]]] = {}
    own = {(frozen.account, frozen.index): frozen for frozen in closed.segments}
    for key, (card, _) in priced.items():
        segment = own[key].segment
        if segment is not None:
            cards[id(card)] = card
            wanted.setdefault((segment.card, segment.version, id(card)), set()).add(key)
    usage: dict[tuple[str, int], tuple[MeteredUsage, ...]] = {}
    for (name, version, identity), keys in wanted.items():
        accounts = sorted({account for account, _ in keys})
        meters = list(cards[identity].card.meters.values())
        for one in frozen_usage(client, closed.closes, closed.period, name, version, meters, accounts):
            if (one.account, one.segment) in keys:
                usage[one.account, one.segment] = one.usage
    segments: dict[str, list[FrozenSegment]] = {}
    for key, (_, segment) in priced.items():
        segments.setdefault(key[0], []).append(replace(own[key], segment=segment))
    adjustments: dict[str, list[FrozenAdjustment]] = {}
    for adjustment in closed.adjustments:
        if (adjustment.account, adjustment.segment) in priced:
            adjustments.setdefault(adjustment.account, []).append(adjustment)
    return {
        account: PeriodUsage(
            tuple(sorted(of, key=lambda one: one.index)),
            {one.index: usage[account, one.index] for one in of if (account, one.index) in usage},
            tuple(adjustments.get(account, ())),
        )
        for account, of in sorted(segments.items())
    }


def rate_all(usage: Mapping[str, PeriodUsage], priced: Priced) -> dict[str, list[PlacedLine]]:
    """The lines of each account. Pure. Raises RatingError."""
    cards = {(card.card.card, card.version): card for card, _ in priced.values()}
    return {account: rate_period(of, lambda card, version: cards[card, version]) for account, of in usage.items()}
