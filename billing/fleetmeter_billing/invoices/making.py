"""Making the invoices of a close: a pure function of the closes up to it and of published cards.

An invoice of a close has the lines of the period that was closed, and the correction lines of every earlier period of
which that close froze something for the account. Numbers count the invoiced accounts of the close in the order of their
ids, so that whoever makes them again gives them the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from fleetmeter_billing.clickhouse import BillingClient
from fleetmeter_billing.errors import InvoiceError, PeriodError
from fleetmeter_billing.invoices.invoice import ZERO, Invoice, InvoiceLine, Span, ValueStatement, total_of
from fleetmeter_billing.invoices.period_lines import CardOf, PeriodUsage, PlacedLine, corrections, rate_period
from fleetmeter_billing.invoices.queries_answered import Answered, answered
from fleetmeter_billing.periods.close_log import Close, winning_closes
from fleetmeter_billing.periods.period import first_day_of
from fleetmeter_billing.rates.money import CONTEXT, round_amount
from fleetmeter_billing.rates.price_models import Package
from fleetmeter_billing.rates.usage import MeteredUsage
from fleetmeter_billing.usage.frozen import (
    FrozenAdjustment,
    FrozenSegment,
    frozen_adjustments,
    frozen_segments,
    frozen_usage,
)
from fleetmeter_billing.usage.frozen import corrections as corrected_accounts

_Of = TypeVar("_Of")
Progress = Callable[[str, int, int], None]
"""What is being done, how much of it is, out of how much."""


@dataclass(frozen=True, slots=True)
class Material:
    """Everything that the invoices of one close are made of, read once."""

    close: Close
    own: Mapping[str, PeriodUsage]
    """By account, of the period that was closed."""
    earlier: Mapping[str, tuple[Mapping[str, PeriodUsage], Mapping[str, PeriodUsage]]]
    """By earlier period: what was frozen of it before this close, and with it; by account."""
    answered: Mapping[str, Answered]

    @property
    def accounts(self) -> list[str]:
        """Whom an invoice may go to, in order."""
        return sorted({*self.own, *(account for _, after in self.earlier.values() for account in after)})

    @property
    def cards(self) -> set[tuple[str, int]]:
        """The card versions that any of it is priced with."""
        periods = [self.own, *(half for both in self.earlier.values() for half in both)]
        return {
            (part.segment.card, part.segment.version)
            for period in periods
            for usage in period.values()
            for part in usage.segments
            if part.segment is not None
        }

    def of(self, accounts: Iterable[str]) -> Material:
        """That of some accounts alone."""
        wanted = list(accounts)
        earlier = {
            period: (_some(before, wanted), _some(after, wanted)) for period, (before, after) in self.earlier.items()
        }
        return Material(self.close, _some(self.own, wanted), earlier, _some(self.answered, wanted))


def _some(by_account: Mapping[str, _Of], wanted: Iterable[str]) -> dict[str, _Of]:
    return {account: by_account[account] for account in wanted if account in by_account}


def read_material(
    client: BillingClient,
    period: str,
    card_of: CardOf,
    progress: Progress = lambda _doing, _done, _total: None,
) -> Material:
    """What was frozen for the period's invoices. Raises PeriodError if the period is not closed."""
    first_day_of(period)
    closes = winning_closes(client)
    close = next((one for one in closes if one.period == period), None)
    if close is None:
        raise PeriodError(f"period {period} is not closed; do it with: fleetmeter close --period {period}")
    before, through = closes[: close.seq - 1], closes[: close.seq]
    changed = corrected_accounts(client, close)
    total = 2 + 2 * len(changed)
    progress("reading frozen usage", 0, total)
    own = period_usage(client, through, period, card_of)
    progress("reading answered queries", 1, total)
    local = answered(client, close)
    earlier = {}
    for number, (usage_period, accounts) in enumerate(changed.items()):
        progress(f"reading corrections of {usage_period}", 2 + 2 * number, total)
        then = period_usage(client, before, usage_period, card_of, accounts)
        progress(f"reading corrections of {usage_period}", 3 + 2 * number, total)
        earlier[usage_period] = (then, period_usage(client, through, usage_period, card_of, accounts))
    return Material(close, own, earlier, local)


def make_invoices(material: Material, card_of: CardOf) -> Iterator[Invoice]:
    """The invoices, by account. An account without a subscription and without corrections gets none.

    Raises RatingError and InvoiceError, which name the account's invoice.
    """
    for rank, account in enumerate(invoiced_accounts(material, card_of), 1):
        yield invoice_of(material, account, rank, card_of)


def invoiced_accounts(material: Material, card_of: CardOf) -> list[str]:
    """Whom an invoice goes to, in the order of its number. Raises RatingError."""
    return [
        account
        for account in material.accounts
        if _subscribed(material.own.get(account)) or _changes(material, account, card_of)
    ]


def invoice_of(material: Material, account: str, rank: int, card_of: CardOf) -> Invoice:
    """The invoice of one of the `invoiced_accounts`; `rank`, from 1, is its place among them.

    Raises RatingError and InvoiceError, which name the account's invoice.
    """
    own = material.own.get(account)
    placed = rate_period(own, card_of) if own else []
    return _invoice(material, account, rank, placed, _changes(material, account, card_of), card_of)


def _subscribed(own: PeriodUsage | None) -> bool:
    """Whether a subscription held in any part of the period. Without one there are no lines of its own, either."""
    return own is not None and any(one.segment is not None for one in own.segments)


def _changes(material: Material, account: str, card_of: CardOf) -> list[tuple[str, PlacedLine]]:
    """The account's correction lines, each with the period that it is about."""
    return [
        (period, line)
        for period, (before, after) in material.earlier.items()
        if account in after
        for line in corrections(
            rate_period(before[account], card_of) if account in before else [], rate_period(after[account], card_of)
        )
    ]


def _invoice(
    material: Material,
    account: str,
    rank: int,
    placed: Sequence[PlacedLine],
    changes: Sequence[tuple[str, PlacedLine]],
    card_of: CardOf,
) -> Invoice:
    close = material.close
    own = material.own.get(account)
    known = own.segments if own else (changes[0][1].segment,)
    span = Span(known[0].start, known[-1].end) if own else Span(close.starts, close.ends)
    number = f"{close.period}-{rank:06d}"
    currencies = {line.segment.currency for line in placed} | {line.segment.currency for _, line in changes}
    currency = known[-1].currency
    if currencies - {currency}:
        raise InvoiceError(
            f"invoice {number} of {account} would have lines in {', '.join(sorted(currencies | {currency}))}: an "
            "earlier period was billed in another currency. Settle that by hand, or give the account its old currency"
        )
    all_lines = [(close.period, line, False) for line in placed] + [(period, line, True) for period, line in changes]
    lines = tuple(
        _line(place, period, line, card_of, correction=correction)
        for place, (period, line, correction) in enumerate(all_lines, start=1)
    )
    return Invoice(
        number=number,
        account=account,
        account_name=known[-1].name,
        period=close.period,
        span=span,
        time_zone=known[-1].time_zone,
        currency=currency,
        issued_at=close.closed_at,
        close_id=close.close_id,
        lines=lines,
        value=_value(lines, currency, material.answered.get(account), card_of),
    )


def _line(place: int, period: str, placed: PlacedLine, card_of: CardOf, *, correction: bool) -> InvoiceLine:
    rated, frozen = placed.rated, placed.segment
    segment = frozen.segment
    if segment is None:
        raise InvoiceError(f"line {place} of {frozen.account} is of a time without subscription")
    packages = rated.tiers and isinstance(card_of(rated.card, rated.version).card.prices[rated.price].model, Package)
    return InvoiceLine(
        number=place,
        kind=rated.kind,
        price=rated.price,
        part=rated.part,
        label=rated.label,
        meter=rated.meter,
        group=rated.group,
        quantity=rated.quantity,
        unit=rated.unit,
        per=rated.per,
        tiers=rated.tiers,
        tier_unit="packages" if packages else rated.unit,
        exact=rated.exact,
        amount=rated.amount,
        card=rated.card,
        version=rated.version,
        plan=segment.plan,
        segment=frozen.index,
        span=Span(frozen.start, frozen.end),
        usage_period=period,
        correction=correction,
        explanation=rated.explanation,
    )


def _value(
    lines: Sequence[InvoiceLine], currency: str, found: Answered | None, card_of: CardOf
) -> ValueStatement | None:
    """What local answers were worth at the period's own average; None if there were none, or none in the cloud."""
    if found is None or not found.local or not found.cloud:
        return None
    own = [line for line in lines if not line.correction]
    charged = total_of((line for line in own if _by_query(line, card_of)), currency)
    if charged <= ZERO:
        return None
    queries = Decimal(found.cloud + found.local)
    all_cloud = CONTEXT.divide(CONTEXT.multiply(charged, queries), Decimal(found.cloud))
    return ValueStatement(
        paid=total_of(own, currency),
        cloud_queries=found.cloud,
        local_queries=found.local,
        cloud_charges=charged,
        all_cloud=round_amount(all_cloud, currency),
    )


def _by_query(line: InvoiceLine, card_of: CardOf) -> bool:
    """Whether the line is about what queries used, and not about seats, downloads or outcomes."""
    if line.kind != "usage" or line.meter is None:
        return False
    return card_of(line.card, line.version).card.meters[line.meter].measure is not None


def period_usage(
    client: BillingClient, closes: Sequence[Close], usage_period: str, card_of: CardOf, accounts: Sequence[str] = ()
) -> dict[str, PeriodUsage]:
    """What these closes froze of a period, by account: all, or those named."""
    segments: dict[str, list[FrozenSegment]] = {}
    versions: set[tuple[str, int]] = set()
    for one in frozen_segments(client, closes, usage_period, accounts):
        segments.setdefault(one.account, []).append(one)
        if one.segment is not None:
            versions.add((one.segment.card, one.segment.version))
    usage: dict[str, dict[int, tuple[MeteredUsage, ...]]] = {}
    for card, version in sorted(versions):
        meters = list(card_of(card, version).card.meters.values())
        for used in frozen_usage(client, closes, usage_period, card, version, meters, accounts):
            usage.setdefault(used.account, {})[used.segment] = used.usage
    adjustments: dict[str, list[FrozenAdjustment]] = {}
    for adjustment in frozen_adjustments(client, closes, usage_period, accounts):
        adjustments.setdefault(adjustment.account, []).append(adjustment)
    return {
        account: PeriodUsage(tuple(parts), usage.get(account, {}), tuple(adjustments.get(account, ())))
        for account, parts in segments.items()
    }
