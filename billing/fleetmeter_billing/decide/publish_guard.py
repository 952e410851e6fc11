"""Looking at what a card would change before it is published: above a limit somebody has to say that it is meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from fleetmeter_billing.clickhouse import BillingClient
from fleetmeter_billing.decide.priced_period import Choose, ClosedPeriod, read_closed
from fleetmeter_billing.decide.simulation import Change, Effect, instead_of, simulate
from fleetmeter_billing.errors import ComparisonError, PublishRefusedError
from fleetmeter_billing.periods.close_log import winning_closes
from fleetmeter_billing.rates.card import PublishedCard, RateCard
from fleetmeter_billing.rates.store import Review

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ChangeLimits:
    """By how many percent bills may change, up or down, without --accept: all together, and any single account's."""

    total_percent: Decimal = Decimal(5)
    account_percent: Decimal = Decimal(25)


def exceeded(effect: Effect, limits: ChangeLimits) -> list[str]:
    """Sentences about what changes by more than the limits. From nothing to something is more than any limit. Pure."""
    found = []
    total = effect.total
    if _beyond(total, limits.total_percent):
        found.append(f"all bills together would change {_spell(total, effect.currency)}")
    accounts = [one for one in effect.accounts if _beyond(one, limits.account_percent)]
    accounts.sort(key=lambda one: (-abs(one.difference), one.name))
    found += [f"{one.name}: {_spell(one, effect.currency)}" for one in accounts[:_SHOWN]]
    if len(accounts) > _SHOWN:
        found.append(f"and {len(accounts) - _SHOWN:,} more accounts beyond {limits.account_percent} %")
    return found


def guard(
    client: BillingClient,
    limits: ChangeLimits,
    *,
    tell: Callable[[str], None] = lambda _sentence: None,
) -> Review:
    """A review for `publish`: rates the newest closed period in which the card priced anything, by its newest version
    and by the one that shall follow, and refuses a change beyond the limits.

    A first version, and a card that has not priced a closed period yet, are let through; `tell` is told so.
    """

    def review(newest: PublishedCard | None, card: RateCard) -> None:
        if newest is None:
            return
        closed = newest_traffic(client, card.card)
        if closed is None:
            tell(f"no closed period was priced by {card.card} yet: there is nothing to compare the new version on")
            return
        after = draft_of(card, newest.version + 1)
        try:
            effects = simulate(client, closed, _same(newest), instead_of(card.card, after))
        except ComparisonError as error:
            raise PublishRefusedError(
                f"what version {after.version} of {card.card} would change can't be told from period {closed.period}: "
                f"{error}. See `fleetmeter rates simulate`, and publish with --accept if it is meant"
            ) from error
        found = [sentence for effect in effects for sentence in exceeded(effect, limits)]
        if found:
            raise PublishRefusedError(
                f"version {after.version} of {card.card} changes bills by more than {limits.total_percent} % in all, "
                f"or {limits.account_percent} % of an account (traffic of {closed.period}):\n  "
                + "\n  ".join(found)
                + "\nLook at it with `fleetmeter rates simulate`; if it is meant, publish with --accept"
            )

    return review


def newest_traffic(client: BillingClient, card: str) -> ClosedPeriod | None:
    """The newest closed period with a segment that some version of the card priced."""
    for close in reversed(winning_closes(client)):
        closed = read_closed(client, close.period)
        if any(one.segment is not None and one.segment.card == card for one in closed.segments):
            return closed
    return None


def draft_of(card: RateCard, version: int) -> PublishedCard:
    """A card that is not published, in the form in which it is rated by."""
    return PublishedCard(
        card=card, version=version, published_at=datetime.now(UTC), published_by="", content_hash=card.content_hash
    )


def _same(newest: PublishedCard) -> Choose:
    # Plans that the newest version has lost since are a reason to look, as are those that the next one loses.
    return instead_of(newest.card.card, newest)


def _beyond(change: Change, limit_percent: Decimal) -> bool:
    if not change.difference:
        return False
    return change.percent is None or abs(change.percent) > limit_percent


def _spell(change: Change, currency: str) -> str:
    percent = "" if change.percent is None else f" ({change.percent:+.1f} %)"
    return f"from {change.before:f} to {change.after:f} {currency}{percent}"
