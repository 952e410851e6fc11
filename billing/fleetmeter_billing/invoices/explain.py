"""From an invoice line back to where it came from: price, frozen usage by close, rollup rows, Kafka offsets.

Nothing is taken on trust. The line is rated again from what closes froze and must come out the same; the frozen
quantities must add up to the line's; and the ledger, asked directly, must hold at least what was frozen of it. If one
of these fails, `Explanation.ok` is false and the check says what was expected and what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from fleetmeter_billing.clickhouse import BillingClient
from fleetmeter_billing.errors import InvoiceError
from fleetmeter_billing.invoices.invoice import Invoice, InvoiceLine
from fleetmeter_billing.invoices.making import period_usage
from fleetmeter_billing.invoices.period_lines import CardOf, PeriodUsage, PlacedLine, corrections, rate_period
from fleetmeter_billing.invoices.sources import FactSource, Source, adjustment_sources, fact_sources, ledger_sources
from fleetmeter_billing.periods.close_log import Close, winning_closes
from fleetmeter_billing.rates.buckets import matches
from fleetmeter_billing.rates.card import PublishedCard
from fleetmeter_billing.rates.meter import Meter
from fleetmeter_billing.rates.money import exact_sum
from fleetmeter_billing.rates.price import Price

Wanted = Callable[[Mapping[str, str]], bool]
"""Whether a combination of a meter's dimensions belongs to the line."""


@dataclass(frozen=True, slots=True)
class FrozenShare:
    """What one close froze of the line's usage."""

    seq: int
    close_id: str
    period: str
    quantity: int
    counts: bool
    """Whether it is part of this line, or came with a later close and is on a later invoice."""


@dataclass(frozen=True, slots=True)
class Check:
    """Two figures that have to agree."""

    what: str
    expected: str
    found: str
    ok: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything behind one line."""

    invoice: Invoice
    line: InvoiceLine
    card: PublishedCard
    meter: Meter | None
    frozen: tuple[FrozenShare, ...]
    metered: int
    """What the meter counted for the line; the price may turn it into another unit."""
    sources: tuple[Source, ...]
    facts: tuple[FactSource, ...]
    not_closed: int
    """What the ledger holds beyond all closes: it becomes a correction with the next one."""
    read: tuple[tuple[str, int, int, int, int], ...]
    """Topic, partition, epoch, and the offsets between which the closes of this line read what they added."""
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether everything agrees."""
        return all(one.ok for one in self.checks)

    @property
    def price(self) -> Price | None:
        """The price as published; None for an adjustment that none applies to."""
        return self.card.card.prices.get(self.line.price)


def explain_line(client: BillingClient, invoice: Invoice, number: int, card_of: CardOf) -> Explanation:
    """The explanation of one line. Raises UnknownInvoiceError for a line that is not there, InvoiceError if the
    invoice's close is not in the log."""
    line = invoice.line(number)
    closes = winning_closes(client)
    close = next((one for one in closes if one.close_id == invoice.close_id), None)
    if close is None:
        raise InvoiceError(f"invoice {invoice.number} says it is of close {invoice.close_id}, which is not in the log")
    card = card_of(line.card, line.version)
    world = _Frozen(client, closes, invoice.account, line, card_of)
    checks = [_rated_again(world, line, close)]
    meter = card.card.meters.get(line.meter or "")
    # An adjustment is no usage: what it changes is in the check above, and its record is listed.
    if meter is None or line.kind == "adjustment":
        decided = (
            adjustment_sources(client, closes[: close.seq], invoice.account, line) if line.kind == "adjustment" else ()
        )
        return Explanation(invoice, line, card, meter, (), 0, (), tuple(decided), 0, (), tuple(checks))
    wanted = _wanted(line, card.card.prices[line.price])
    frozen = world.shares(meter, wanted, close)
    metered = sum(one.quantity for one in frozen if one.counts)
    if line.kind == "usage" and line.quantity == line.quantity.to_integral_value() and _counts_units(line, card):
        checks.append(_check("frozen usage adds up to the line's quantity", line.quantity, Decimal(metered)))
    sources: Sequence[Source] = ()
    facts: Sequence[FactSource] = ()
    not_closed = 0
    if meter.measure is not None:
        sources = ledger_sources(client, invoice.account, line, meter, wanted)
        held = sum(one.quantity for one in sources)
        billed = sum(one.quantity for one in frozen)
        not_closed = held - billed
        checks.append(
            Check(
                "the ledger's rows add up to what was frozen" + (", and what came since" if not_closed > 0 else ""),
                f"{billed:,}" + (f" + {not_closed:,}" if not_closed > 0 else ""),
                f"{held:,}",
                not_closed >= 0,
            )
        )
    elif meter.fact is not None:
        mine = closes[close.seq - 1 : close.seq] if line.correction else closes[: close.seq]
        facts = fact_sources(client, mine, invoice.account, line, meter)
    read = _read(closes, close) if line.correction else _read(closes, close, whole=True)
    return Explanation(
        *(invoice, line, card, meter, frozen, metered, tuple(sources), tuple(facts), not_closed, read, tuple(checks))
    )


@dataclass(frozen=True, slots=True)
class _Frozen:
    """The frozen usage of one account and period, as of any close."""

    client: BillingClient
    closes: Sequence[Close]
    account: str
    line: InvoiceLine
    card_of: CardOf

    def through(self, seq: int) -> PeriodUsage:
        """Of the closes up to number `seq`."""
        found = period_usage(self.client, self.closes[:seq], self.line.usage_period, self.card_of, (self.account,))
        return found.get(self.account) or PeriodUsage((), {})

    def shares(
        self, meter: Meter, wanted: Callable[[Mapping[str, str]], bool], close: Close
    ) -> tuple[FrozenShare, ...]:
        """What each close added to the line's usage."""
        shares, before = [], 0
        for one in self.closes:
            usage = self.through(one.seq).usage.get(self.line.segment, ())
            now = sum(each.quantity for each in usage if each.meter == meter.name and wanted(dict(each.group)))
            counts = one.seq == close.seq if self.line.correction else one.seq <= close.seq
            if now != before:
                shares.append(FrozenShare(one.seq, one.close_id, one.period, now - before, counts))
            before = now
        return tuple(shares)


def _rated_again(world: _Frozen, line: InvoiceLine, close: Close) -> Check:
    after = rate_period(world.through(close.seq), world.card_of)
    lines = corrections(rate_period(world.through(close.seq - 1), world.card_of), after) if line.correction else after
    found = [one for one in lines if _is(one, line)]
    amount = exact_sum(one.rated.amount for one in found)
    quantity = exact_sum(one.rated.quantity for one in found)
    return Check(
        "rating what was frozen again gives the same line",
        f"{line.quantity:,f} {line.unit}: {line.amount:,f}",
        f"{quantity:,f} {line.unit}: {amount:,f}",
        (amount, quantity) == (line.amount, line.quantity),
    )


def _is(placed: PlacedLine, line: InvoiceLine) -> bool:
    rated = placed.rated
    return (placed.segment.index, rated.kind, rated.key, rated.label, rated.explanation) == (
        *(line.segment, line.kind, (line.price, line.part, line.group)),
        *(line.label, line.explanation),
    )


def _wanted(line: InvoiceLine, price: Price) -> Wanted:
    """Whether a combination of dimensions belongs to the line: those it is about, and the rule that it is of."""
    names = [rule.name for rule in price.rules]
    rule = names.index(line.part) if line.part in names else None

    def wanted(group: Mapping[str, str]) -> bool:
        if any(name in group and group[name] != value for name, value in line.group):
            return False
        if not price.rules or (rule is None and line.part):
            return True
        first = next((place for place, one in enumerate(price.rules) if matches(one.when, group)), None)
        return first == rule

    return wanted


def _counts_units(line: InvoiceLine, card: PublishedCard) -> bool:
    """Whether the line's quantity is what its meter counts, and not made of it (credits, money)."""
    return card.card.prices[line.price].model.type in {"unit", "graduated", "volume", "package", "hybrid"}


def _read(closes: Sequence[Close], close: Close, *, whole: bool = False) -> tuple[tuple[str, int, int, int, int], ...]:
    """Between which offsets this close read what those before had not; or, `whole`, all up to it."""
    before: dict[tuple[str, int, int], int] = {}
    if not whole and close.seq > 1:
        before = {position[:3]: position[3] for position in closes[close.seq - 2].positions}
    return tuple(
        (*position[:3], before.get(position[:3], 0), position[3])
        for position in close.positions
        if position[3] > before.get(position[:3], 0)
    )


def _check(what: str, expected: Decimal, found: Decimal) -> Check:
    return Check(what, f"{expected:,f}", f"{found:,f}", expected == found)
