"""What each account is entitled to, and from when to when: its plan, as billing periods are cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from fleetmeter_billing.accounts.account import Subscriber
from fleetmeter_billing.accounts.segments import Cards, segments_of
from fleetmeter_billing.periods.period import Period
from fleetmeter_billing.rates.card import PublishedCard, RateCard
from fleetmeter_billing.rates.plan import Entitlements
from fleetmeter_billing.rates.price_models import Capacity, Seat

CardOf = Callable[[str, int], PublishedCard]
"""The published card of that name and version."""
Headcount = Literal["seats", "devices"]


@dataclass(frozen=True, slots=True)
class EntitledPart:
    """[start, end) of an account's period in which one plan holds; `plan` is None where no subscription does."""

    account: str
    start: datetime
    end: datetime
    card: str = ""
    version: int = 0
    plan: str | None = None
    status: Literal["trial", "active", "none"] = "none"
    entitlements: Entitlements = field(default_factory=Entitlements)
    committed: Mapping[Headcount, int] = field(default_factory=dict)
    """Seats and devices that the subscription commits to, where it does."""


def entitled_parts(subscriber: Subscriber, period: Period, cards: Cards, card_of: CardOf) -> list[EntitledPart]:
    """The parts of the period, in order, without gaps. Raises AccountsError as `segments_of` does."""
    account = subscriber.account.account
    found = []
    for part in segments_of(subscriber, period, cards):
        terms = part.terms
        if terms is None:
            found.append(EntitledPart(account, part.start, part.end))
            continue
        card = card_of(terms.card, terms.version).card
        found.append(
            EntitledPart(
                account,
                part.start,
                part.end,
                terms.card,
                terms.version,
                terms.plan,
                terms.status,
                card.plan(terms.plan).entitlements,
                committed_heads(card, terms.plan, dict(terms.committed)),
            )
        )
    return found


def part_at(parts: Sequence[EntitledPart], moment: datetime) -> EntitledPart | None:
    """The part that the moment lies in."""
    return next((part for part in parts if part.start <= moment < part.end), None)


def committed_heads(card: RateCard, plan: str, committed: Mapping[str, int]) -> dict[Headcount, int]:
    """What of a subscription's committed quantities is seats, and what is devices.

    The plan's prices tell: a seat or capacity price names the commitment, and its meter counts users or installations.
    A commitment that no price names goes by its own name, `seats` or `devices`.
    """
    found: dict[Headcount, int] = {}
    named: set[str] = set()
    for price in card.prices_of(plan):
        model = price.model
        if not isinstance(model, Seat | Capacity) or price.meter is None or model.committed not in committed:
            continue
        meter = card.meters[price.meter]
        if "user" in (meter.distinct, *meter.aggregate):
            kind: Headcount = "seats"
        elif "installation" in (meter.distinct, *meter.aggregate):
            kind = "devices"
        else:
            continue
        named.add(model.committed)
        found[kind] = max(found.get(kind, 0), committed[model.committed])
    others: tuple[Headcount, ...] = ("seats", "devices")
    for kind in others:
        if kind in committed and kind not in named and kind not in found:
            found[kind] = committed[kind]
    return found
