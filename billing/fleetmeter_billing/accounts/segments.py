"""The parts of an account's billing period: cut where its subscription changes or another card version takes effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from fleetmeter_billing.accounts.account import Account, DiscountTerms, Subscriber, Subscription
from fleetmeter_billing.errors import AccountsError
from fleetmeter_billing.periods.period import Period, day_begins
from fleetmeter_billing.rates.cohorts import plan_in
from fleetmeter_billing.rates.plan import Experiment
from fleetmeter_billing.rates.usage import Discount, Segment


@dataclass(frozen=True, slots=True)
class CardVersion:
    """What segments need to know of a published card."""

    version: int
    effective_from: date
    currency: str
    plans: frozenset[str]
    experiments: tuple[Experiment, ...] = ()
    cut_days: frozenset[date] = frozenset()
    """Days inside the version's life at whose midnight a rate of exchange changes: no part reaches across one."""
    prices: frozenset[str] | None = None
    """Their names; None if they are not known here, as for `commitments`."""
    commitments: frozenset[str] | None = None
    """The names of committed quantities that mean something: to its prices, or as limits of seats and devices."""


Cards = Mapping[str, Sequence[CardVersion]]
"""The published versions of each card, by its name."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an account's period. `terms` is None where no subscription holds, so that nothing is charged."""

    start: datetime
    end: datetime
    first_day: date
    days: int
    period_days: int
    terms: Terms | None

    @property
    def segment(self) -> Segment | None:
        """What rating takes; None where no subscription holds."""
        if self.terms is None:
            return None
        terms = self.terms
        return Segment(
            card=terms.card,
            version=terms.version,
            plan=terms.plan,
            first_day=self.first_day,
            start=self.start,
            end=self.end,
            days=self.days,
            period_days=self.period_days,
            committed=dict(terms.committed),
            discounts=tuple(
                Discount(one.name, one.label, one.percent, one.amount, one.prices) for one in terms.discounts
            ),
            status=terms.status,
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """What a subscription says at one moment, with everything that its rows left to those before them."""

    status: Literal["trial", "active"]
    card: str
    plan: str
    pinned: int | None
    version: int
    committed: tuple[tuple[str, int], ...]
    discounts: tuple[DiscountTerms, ...]


def segments_of(subscriber: Subscriber, period: Period, cards: Cards) -> list[Part]:
    """The parts of `period`, in order, without gaps: at least one, most often exactly one.

    Raises AccountsError for a card, version, plan or currency that does not fit.
    """
    account = subscriber.account
    days = {period.first, *(row.from_day for row in subscriber.subscriptions)}
    held = _terms_by_day(subscriber.subscriptions)
    for _, terms in held:
        if terms is None:
            continue
        for version in cards.get(terms.card, ()):
            days |= version.cut_days if terms.pinned is not None else {version.effective_from, *version.cut_days}
    cuts = sorted(day for day in days if period.first <= day < period.after)
    found: list[tuple[date, Terms | None]] = []
    for day in cuts:
        terms = _terms_on(held, day)
        resolved = None if terms is None else _resolved(account, terms, day, cards)
        if not found or found[-1][1] != resolved or _is_cut(resolved, day, cards):
            found.append((day, resolved))
    ends = [day for day, _ in found[1:]] + [period.after]
    return [
        Part(
            start=day_begins(first, account.zone),
            end=day_begins(after, account.zone),
            first_day=first,
            days=(after - first).days,
            period_days=period.days,
            terms=terms,
        )
        for (first, terms), after in zip(found, ends, strict=True)
    ]


def subscribed_terms(subscriber: Subscriber, day: date) -> Terms | None:
    """What the account's subscription itself says on a day, before card versions and experiments; None without one."""
    return _terms_on(_terms_by_day(subscriber.subscriptions), day)


def misfits(subscriber: Subscriber, cards: Cards) -> dict[date, str]:
    """The rows that no close could price with the cards that are published so far, each with the reason: no such card,
    version or plan, or another currency."""
    found: dict[date, str] = {}
    for day, terms in _terms_by_day(subscriber.subscriptions):
        if terms is not None:
            try:
                _resolved(subscriber.account, terms, day, cards)
            except AccountsError as error:
                found[day] = str(error)
    return found


def without_effect(subscriber: Subscriber, cards: Cards) -> dict[date, str]:
    """The rows that say something which their card has nothing for, each with what it is: a commitment that no price
    names, or a discount on a price that is not there. A typing error here is charged, or given, as if it were not said.
    """
    found: dict[date, str] = {}
    misfitting = misfits(subscriber, cards)
    for day, terms in _terms_by_day(subscriber.subscriptions):
        if terms is None or day in misfitting:
            continue
        number = _resolved(subscriber.account, terms, day, cards).version
        version = next(one for one in cards[terms.card] if one.version == number)
        idle = [
            f"committed {name!r}"
            for name, _ in terms.committed
            if version.commitments is not None and name not in version.commitments
        ]
        idle += [
            f"discount {discount.name!r} on price {price!r}"
            for discount in terms.discounts
            for price in discount.prices
            if version.prices is not None and price not in version.prices
        ]
        if idle:
            who = f"account {subscriber.account.account!r} on {day}"
            found[day] = f"{who}: version {number} of {terms.card!r} has nothing for {', '.join(idle)}"
    return found


def _is_cut(terms: Terms | None, day: date, cards: Cards) -> bool:
    """Whether a part must end before `day` though the terms stay as they are."""
    if terms is None:
        return False
    return any(one.version == terms.version and day in one.cut_days for one in cards.get(terms.card, ()))


def _terms_by_day(rows: Sequence[Subscription]) -> list[tuple[date, Terms | None]]:
    """What holds from which day on, before card versions are looked up."""
    held: list[tuple[date, Terms | None]] = []
    now: Terms | None = None
    for row in rows:
        match row.status:
            case "cancelled":
                now = None
            case "trial" | "active":
                now = Terms(
                    row.status,
                    row.card or "",
                    row.plan or "default",
                    row.version,
                    0,
                    tuple(sorted((row.committed or {}).items())),
                    row.discounts or (),
                )
            case "changed":
                if now is None:
                    raise AccountsError(f"on {row.from_day} nothing holds that could be changed")
                card = row.card or now.card
                now = replace(
                    now,
                    card=card,
                    plan=row.plan or now.plan,
                    # A pinned version belongs to its card.
                    pinned=row.version if row.version is not None or card != now.card else now.pinned,
                    committed=now.committed if row.committed is None else tuple(sorted(row.committed.items())),
                    discounts=now.discounts if row.discounts is None else row.discounts,
                )
        held.append((row.from_day, now))
    return held


def _terms_on(held: Sequence[tuple[date, Terms | None]], day: date) -> Terms | None:
    return next((terms for first, terms in reversed(held) if first <= day), None)


def _resolved(account: Account, terms: Terms, day: date, cards: Cards) -> Terms:
    """The terms with the card version that holds on `day`: the pinned one, else the newest that is effective. The plan
    is that of the account's arm, where an experiment of that version is on the one that was subscribed to."""
    who = f"account {account.account!r} on {day}"
    versions = cards.get(terms.card, ())
    if terms.pinned is not None:
        fitting = [one for one in versions if one.version == terms.pinned]
        lacking = f"has no published version {terms.pinned}"
    else:
        fitting = [one for one in versions if one.effective_from <= day]
        lacking = "has no version that is effective by then"
    if not fitting:
        raise AccountsError(f"{who}: rate card {terms.card!r} {lacking}; publish one, or change the subscription")
    version = max(fitting, key=lambda one: one.version)
    if terms.plan not in version.plans:
        plans = ", ".join(sorted(version.plans))
        raise AccountsError(
            f"{who}: version {version.version} of {terms.card!r} has no plan {terms.plan!r}, but {plans}"
        )
    if version.currency != account.currency:
        raise AccountsError(
            f"{who}: it pays in {account.currency}, but version {version.version} of {terms.card!r} is in "
            f"{version.currency}"
        )
    plan = plan_in(version.experiments, terms.plan, account.account)
    return replace(terms, version=version.version, plan=plan)
