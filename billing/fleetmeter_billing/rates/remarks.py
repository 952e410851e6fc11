"""What a card may say, and is yet worth a second look: bills that fall, meters without a price."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import localcontext
from itertools import pairwise

from fleetmeter_billing.rates.card import RateCard
from fleetmeter_billing.rates.money import CONTEXT
from fleetmeter_billing.rates.price import Price
from fleetmeter_billing.rates.price_models import Bundle, Capacity, Hybrid, Level, Seat, Tier, Volume
from fleetmeter_billing.rates.wording import show, units


@dataclass(frozen=True, slots=True)
class Remark:
    """One remark: the path that it is about, and a sentence."""

    path: str
    sentence: str


def remarks(card: RateCard) -> list[Remark]:
    """All remarks, meters first, then prices in the card's order."""
    with localcontext(CONTEXT):
        return [*_unused_meters(card), *(one for price in card.prices.values() for one in _cliffs(card, price))]


def _unused_meters(card: RateCard) -> Iterator[Remark]:
    used = {price.meter for price in card.prices.values()}
    for price in card.prices.values():
        if isinstance(price.model, Hybrid):
            iterations = price.model.iterations
            used |= {iterations.meter, iterations.cap.requests if iterations.cap else None}
        if isinstance(price.model, Bundle):
            used |= {part.meter for part in price.model.parts}
    for name in card.meters:
        if name not in used:
            yield Remark(f"meters.{name}", "no price uses this meter: what it counts is free")


def _cliffs(card: RateCard, price: Price) -> Iterator[Remark]:
    models: list[tuple[str, object]] = [("model", price.model)]
    models += [(f"rules[{index}].model", rule.model) for index, rule in enumerate(price.rules)]
    for path, model in models:
        place = f"prices.{price.name}.{path}"
        if isinstance(model, Volume) or (isinstance(model, Seat | Bundle) and model.mode == "volume"):
            per = 1 if isinstance(model, Seat) else price.per
            yield from _falls(card, place, model.tiers, per, price.unit)
        if isinstance(model, Capacity):
            yield from _cheaper_levels(card, place, model.levels, price.unit)


def _falls(card: RateCard, place: str, tiers: Sequence[Tier], per: int, unit: str) -> Iterator[Remark]:
    for index, (tier, following) in enumerate(pairwise(tiers)):
        bound = tier.up_to
        if bound is None:
            continue
        at, above = (bound * one.amount / per + one.flat for one in (tier, following))
        if above < at:
            yield Remark(
                f"{place}.tiers[{index}]",
                f"the bill falls above {units(bound, unit)}, from {show(at)} to {show(above)} {card.currency}: "
                "customers just below pay more than those just above",
            )


def _cheaper_levels(card: RateCard, place: str, levels: Sequence[Level], unit: str) -> Iterator[Remark]:
    for index, (level, following) in enumerate(pairwise(levels)):
        if following.amount < level.amount and level.up_to is not None:
            yield Remark(
                f"{place}.levels[{index}]",
                f"the level above {units(level.up_to, unit)} is cheaper: {show(following.amount)} instead of "
                f"{show(level.amount)} {card.currency}",
            )
