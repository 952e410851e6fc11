"""What another card would have made of a closed period: who pays less, who pays more, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from fleetmeter_billing.clickhouse import BillingClient
from fleetmeter_billing.decide.priced_period import Choose, ClosedPeriod, chosen, rate_all, usage_for
from fleetmeter_billing.errors import ComparisonError
from fleetmeter_billing.invoices.period_lines import PlacedLine
from fleetmeter_billing.rates.card import PublishedCard
from fleetmeter_billing.rates.cohorts import plan_in
from fleetmeter_billing.rates.money import CONTEXT
from fleetmeter_billing.rates.usage import Segment
from fleetmeter_billing.usage.frozen import FrozenSegment

ZERO = Decimal(0)
_HUNDRED = Decimal(100)
EVERY_CARD = "*"


@dataclass(frozen=True, slots=True)
class Change:
    """An amount before and after; `name` is an account's, or a price's label."""

    name: str
    before: Decimal
    after: Decimal

    @property
    def difference(self) -> Decimal:
        """After less before: above zero, the customer pays more."""
        return self.after - self.before

    @property
    def percent(self) -> Decimal | None:
        """The difference in percent of what it was; None where that was nothing, or a credit."""
        return CONTEXT.divide(self.difference * _HUNDRED, self.before) if self.before > 0 else None


@dataclass(frozen=True, slots=True)
class Effect:
    """What two cards make of the same traffic, in one currency.

    `accounts` begins with who would gain most (pays less) and ends with who would lose most. `prices` are sums of lines
    by the price that made them; prices of one name are taken for the same.
    """

    currency: str
    accounts: tuple[Change, ...]
    prices: tuple[Change, ...]

    @property
    def total(self) -> Change:
        """All accounts together."""
        return Change(
            "total", sum((one.before for one in self.accounts), ZERO), sum((one.after for one in self.accounts), ZERO)
        )

    @property
    def winners(self) -> tuple[Change, ...]:
        """Who would pay less, whoever gains most first."""
        return tuple(one for one in self.accounts if one.difference < 0)

    @property
    def losers(self) -> tuple[Change, ...]:
        """Who would pay more, whoever loses most first."""
        return tuple(one for one in reversed(self.accounts) if one.difference > 0)


def instead_of(name: str, card: PublishedCard, plans: Mapping[str, str] | None = None) -> Choose:
    """Rate every segment of card `name` (EVERY_CARD: of any) by `card`, with its plan, or the one that `plans` gives
    for it; where an experiment of the card is on that plan, with that of the account's arm.

    The card is taken as if it had held through the whole segment, whatever its effective date; a rate of exchange, as
    on the segment's first day. The function raises ComparisonError for another currency, or a plan that the card lacks.
    """

    def choose(frozen: FrozenSegment, segment: Segment) -> tuple[PublishedCard, Segment] | None:
        if name not in (EVERY_CARD, segment.card):
            return None
        if frozen.currency != card.card.currency:
            raise ComparisonError(
                f"account {frozen.account} pays in {frozen.currency}, and {card.card.card} is in {card.card.currency}: "
                "amounts can't be compared"
            )
        plan = plan_in(card.card.experiments.values(), (plans or {}).get(segment.plan, segment.plan), frozen.account)
        try:
            card.card.plan(plan)
        except KeyError:
            has = ", ".join(card.card.plans) or "default"
            raise ComparisonError(
                f"account {frozen.account} has plan {segment.plan}, and the card has no plan {plan}: say which one "
                f"follows it with --plan {segment.plan}=NEW; it has {has}"
            ) from None
        return card, replace(segment, card=card.card.card, version=card.version, plan=plan)

    return choose


def simulate(client: BillingClient, closed: ClosedPeriod, before: Choose, after: Choose) -> list[Effect]:
    """Rate the segments that `after` does not leave out by both choices; one effect a currency.

    Raises ComparisonError if there is no such segment, and as the choices do.
    """
    new = chosen(closed, after)
    old = {key: pair for key, pair in chosen(closed, before).items() if key in new}
    if not new:
        there = sorted({one.segment.card for one in closed.segments if one.segment is not None})
        raise ComparisonError(
            f"no account of period {closed.period} was priced by that card: there are {', '.join(there) or 'none'}; "
            "choose with --instead-of CARD, or --instead-of '*' for all"
        )
    currencies = {one.account: one.currency for one in closed.segments}
    return compare(
        rate_all(usage_for(client, closed, old), old), rate_all(usage_for(client, closed, new), new), currencies
    )


def compare(
    before: Mapping[str, Sequence[PlacedLine]],
    after: Mapping[str, Sequence[PlacedLine]],
    currencies: Mapping[str, str],
) -> list[Effect]:
    """What differs between two ratings of the same accounts, by currency. Pure."""
    effects = []
    for currency in sorted({currencies[account] for account in (*before, *after)}):
        accounts, prices = [], dict[str, list[Decimal]]()
        for account in sorted({*before, *after}):
            if currencies[account] != currency:
                continue
            sums = [ZERO, ZERO]
            for side, lines in enumerate((before.get(account, ()), after.get(account, ()))):
                for line in lines:
                    sums[side] += line.rated.amount
                    prices.setdefault(line.rated.price, [ZERO, ZERO])[side] += line.rated.amount
            accounts.append(Change(account, *sums))
        accounts.sort(key=lambda one: (one.difference, one.name))
        changes = tuple(Change(name, *sums) for name, sums in sorted(prices.items()))
        effects.append(Effect(currency, tuple(accounts), changes))
    return effects
