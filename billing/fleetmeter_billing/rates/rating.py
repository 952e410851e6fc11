"""Rating: usage of one segment of one account, and a published card, become lines. Pure, exact and fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, localcontext
from functools import lru_cache

from fleetmeter_billing.errors import RatingError
from fleetmeter_billing.rates.buckets import Sorter
from fleetmeter_billing.rates.card import PublishedCard, RateCard
from fleetmeter_billing.rates.charges import CHARGES
from fleetmeter_billing.rates.drafts import Charging, Draft, Prepared
from fleetmeter_billing.rates.lines import LineKind, RatedLine, TierCharge
from fleetmeter_billing.rates.modifiers import Remainders, modify
from fleetmeter_billing.rates.money import CONTEXT, round_amount
from fleetmeter_billing.rates.price import Price
from fleetmeter_billing.rates.price_models import (
    Credits,
    GraduatedPercentage,
    Hybrid,
    MatrixUnits,
    Percentage,
    PercentTier,
    Seat,
    Tier,
    Tiered,
    Unit,
)
from fleetmeter_billing.rates.tiers import ZERO, Step, percent_steps, steps_of
from fleetmeter_billing.rates.usage import MeteredUsage, Segment


def rate_segment(card: PublishedCard, segment: Segment, usage: Sequence[MeteredUsage]) -> list[RatedLine]:
    """The lines of one segment, in the order of the card: of each price its own, then discounts, minimum, maximum.

    `usage` is that of the segment alone, in any order and any number of rows; rows of one meter and group are added.
    Lines of quantity zero and amount zero are left out. Raises RatingError for usage that lacks a dimension of its
    meter's group_by, an unknown plan, or a card that is not the segment's.
    """
    if (segment.card, segment.version) != (card.card.card, card.version):
        raise RatingError(
            f"a segment of {segment.card} version {segment.version} can't be rated by {card.card.card} version "
            f"{card.version}"
        )
    by_meter: dict[str, list[MeteredUsage]] = {}
    for one in usage:
        by_meter.setdefault(one.meter, []).append(one)
    with localcontext(CONTEXT):
        return _rate(card, segment, by_meter)


def _rate(card: PublishedCard, segment: Segment, usage: Mapping[str, Sequence[MeteredUsage]]) -> list[RatedLine]:
    trial_percent, prices = _prepare(_Same(card.card), segment.plan)
    currency = card.card.currency
    remainders = Remainders(segment)
    lines: list[RatedLine] = []
    for prepared in prices:
        price = prepared.price
        charging = Charging(prepared, usage, segment)
        try:
            drafts = CHARGES[price.model.type](charging)
        except KeyError as error:
            raise RatingError(
                f"usage of meter {price.meter} lacks the dimension {error}, which price {price.name} tells apart: it "
                f"must come with the meter's group_by"
            ) from error
        drafts += modify(charging, drafts, remainders, trial_percent)
        lines += [_line(card, price.name, currency, draft) for draft in drafts]
    return lines


def _line(card: PublishedCard, price: str, currency: str, draft: Draft) -> RatedLine:
    return RatedLine(
        price,
        draft.part,
        draft.label,
        draft.meter,
        draft.group,
        draft.quantity,
        draft.unit,
        draft.per,
        draft.tiers,
        draft.exact,
        round_amount(draft.exact, currency),
        currency,
        card.card.card,
        card.version,
        draft.kind,
        draft.explanation,
    )


class _Same:
    """A card as a key: the very object, since comparing what two cards say takes longer than rating by them."""

    __slots__ = ("card",)

    def __init__(self, card: RateCard) -> None:
        self.card = card

    def __hash__(self) -> int:
        return id(self.card)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.card is other.card


@lru_cache(256)
def _prepare(key: _Same, plan_name: str) -> tuple[Decimal, tuple[Prepared, ...]]:
    """The plan's prices, ready to be charged many times."""
    card = key.card
    try:
        plan = card.plan(plan_name)
    except KeyError:
        raise RatingError(
            f"card {card.card} has no plan {plan_name!r}: it has {', '.join(card.plans) or 'default'}"
        ) from None
    with localcontext(CONTEXT):
        prices = [
            Prepared(
                price,
                None if price.meter is None else card.meters[price.meter],
                card.currency,
                plan.included.get(price.name, price.included),
                _steps(card, price, price.model),
                tuple(_steps(card, price, rule.model) for rule in price.rules),
                Sorter(price),
                card.credits.unit if card.credits is not None else "",
            )
            for price in card.prices_of(plan_name)
        ]
    return plan.trial_percent, tuple(prices)


def _steps(card: RateCard, price: Price, model: object) -> tuple[Step, ...]:
    match model:
        case Unit() | Hybrid() | MatrixUnits():
            return steps_of((Tier(amount=model.amount),), price.per)
        case Seat():
            return steps_of(model.tiers or (Tier(amount=model.amount or ZERO),), 1)
        case Tiered():
            return steps_of(model.tiers, price.per)
        case Percentage():
            return percent_steps((PercentTier(percent=model.percent),))
        case GraduatedPercentage():
            return percent_steps(model.tiers)
        case Credits() if card.credits is not None:
            return steps_of((Tier(amount=card.credits.amount),), 1)
        case _:
            return ()


def difference(
    before: Sequence[RatedLine], after: Sequence[RatedLine], kind: LineKind = "adjustment"
) -> list[RatedLine]:
    """What changed between two ratings of one segment: a line for each key whose amount or quantity differs, with the
    difference of rounded amounts, so that what was billed plus the differences is exactly the newer rating.

    This is how late usage and operators' corrections are priced: across a tier's bound with the tiers on both sides.
    """
    old = {line.key: line for line in before}
    new = {line.key: line for line in after}
    changes = []
    for key in [*new, *(key for key in old if key not in new)]:
        was, now = old.get(key), new.get(key)
        if (was.amount if was else ZERO) != (now.amount if now else ZERO) or _quantity(was) != _quantity(now):
            changes.append(_change(was, now, kind))
    return changes


def _quantity(line: RatedLine | None) -> Decimal:
    return line.quantity if line else ZERO


def _change(was: RatedLine | None, now: RatedLine | None, kind: LineKind) -> RatedLine:
    line = now or was
    if line is None:
        raise ValueError("there is no line to tell a difference of")
    with localcontext(CONTEXT):
        exact = (now.exact if now else ZERO) - (was.exact if was else ZERO)
        amount = (now.amount if now else ZERO) - (was.amount if was else ZERO)
        quantity = _quantity(now) - _quantity(was)
    sentences = (
        f"was {_quantity(was):f} {line.unit}".rstrip() + f": {was.amount if was else ZERO:f} {line.currency}",
        f"is {_quantity(now):f} {line.unit}".rstrip() + f": {now.amount if now else ZERO:f} {line.currency}",
    )
    return RatedLine(
        *(line.price, line.part, line.label, line.meter, line.group, quantity, line.unit, line.per, ()),
        *(exact, amount, line.currency, line.card, line.version, kind, sentences),
    )


__all__ = ["RatedLine", "TierCharge", "difference", "rate_segment"]
