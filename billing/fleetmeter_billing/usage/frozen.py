"""What closes froze, as rating and invoices read it: segments, quantities, adjustments, and what a close corrected.

Everything here takes a list of closes and sums over them, so that a bill "as of close n" is asked with the closes up to
n (`winning_closes(client, through=n)`), and is the same whenever it is asked:

    closes = winning_closes(client)
    for period, accounts in corrections(client, closes[-1]).items():
        before, after = closes[:-1], closes         # a correction line is the difference between the two
"""

# ruff: noqa: S608  (names of our own tables; every value is bound by ClickHouse)

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import orjson

from fleetmeter_billing.accounts.selection import BY_ACCOUNT, few, rows_of
from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient, in_utc
from fleetmeter_billing.periods.close_log import Close, close_ids
from fleetmeter_billing.rates.meter import Meter
from fleetmeter_billing.rates.usage import Discount, MeteredUsage, Segment
from fleetmeter_billing.usage.meter_sql import meter_statements

_OF_PERIOD: Final = "has({closed:Array(String)}, close_id) AND usage_period = {usage_period:String}"


@dataclass(frozen=True, slots=True)
class FrozenSegment:
    """A part of an account's period, as it was when the period was closed for the account."""

    usage_period: str
    account: str
    index: int
    segment: Segment | None
    """What rating takes; None where no subscription held, so that nothing is charged."""
    first_day: date
    start: datetime
    end: datetime
    currency: str
    time_zone: str
    name: str
    details: Mapping[str, str]
    seq: int
    """The close that froze it: that of the period, or a later one if the account was not known then."""


@dataclass(frozen=True, slots=True)
class AccountUsage:
    """The quantities of one account in one part of a period; meters without any usage are left out."""

    account: str
    usage_period: str
    segment: int
    usage: tuple[MeteredUsage, ...]


@dataclass(frozen=True, slots=True)
class FrozenAdjustment:
    """An operator's correction: its own invoice line."""

    account: str
    usage_period: str
    segment: int
    seq: int
    source: str
    event_id: str
    time: datetime
    meter: str
    quantity: int
    reason: str
    reference: str
    model: str
    generation_mode: str
    project_id: str


def frozen_segments(
    client: BillingClient, closes: Sequence[Close], usage_period: str, accounts: Sequence[str] = ()
) -> list[FrozenSegment]:
    """The parts of a period for all its accounts (or those named), by account and number."""
    rows = client.query(
        "SELECT account_id, segment, start, end, first_day, days, period_days, status, card, version, plan, committed, "
        "discounts, currency, time_zone, name, details, seq FROM billing_frozen_segments "
        f"WHERE {_OF_PERIOD} AND {BY_ACCOUNT} ORDER BY account_id, segment",
        parameters=_parameters(closes, usage_period, accounts),
        settings=READ_SETTINGS,
    ).result_rows
    return [_segment(usage_period, row) for row in rows_of(accounts, rows)]


def frozen_usage(
    client: BillingClient,
    closes: Sequence[Close],
    usage_period: str,
    card: str,
    version: int,
    meters: Sequence[Meter],
    accounts: Sequence[str] = (),
) -> list[AccountUsage]:
    """What accounts (all, or those named) used in the parts of a period that this card version prices.

    By account and number of the part; a part without usage has no entry. Exact integers, summed in ClickHouse.
    """
    found: dict[tuple[str, int], dict[tuple[str, tuple[str, ...]], int]] = {}
    for statement in meter_statements(meters):
        answer = client.query(
            statement.text,
            parameters={
                **_parameters(closes, usage_period, accounts),
                "card": card,
                "version": version,
                **statement.parameters,
            },
            settings=READ_SETTINGS,
        )
        width = 2 + len(statement.dimensions)
        places = [
            (meter.name, tuple(2 + statement.dimensions.index(name) for name in meter.group_by))
            for meter in statement.meters
        ]
        for row in rows_of(accounts, answer.result_rows):
            of_part = found.setdefault((row[0], row[1]), {})
            for (name, group), quantity in zip(places, row[width:], strict=True):
                if quantity:
                    key = (name, tuple(row[place] for place in group))
                    of_part[key] = of_part.get(key, 0) + quantity
    names = {meter.name: meter.group_by for meter in meters}
    return [
        AccountUsage(
            account,
            usage_period,
            segment,
            tuple(
                MeteredUsage(meter, tuple(zip(names[meter], group, strict=True)), quantity)
                for (meter, group), quantity in sorted(of_part.items())
                if quantity
            ),
        )
        for (account, segment), of_part in sorted(found.items())
    ]


def frozen_adjustments(
    client: BillingClient, closes: Sequence[Close], usage_period: str, accounts: Sequence[str] = ()
) -> list[FrozenAdjustment]:
    """Operators' corrections of a period, in order of account and time. `seq` says with which close each came."""
    rows = client.query(
        "SELECT account_id, segment, seq, source, event_id, time, meter, quantity, reason, reference, model, "
        f"generation_mode, project_id FROM billing_frozen_adjustments WHERE {_OF_PERIOD} AND {BY_ACCOUNT} "
        "ORDER BY account_id, time, source, event_id",
        parameters=_parameters(closes, usage_period, accounts),
        settings=READ_SETTINGS,
    ).result_rows
    return [
        FrozenAdjustment(account, usage_period, segment, seq, source, event_id, in_utc(time), *members)
        for account, segment, seq, source, event_id, time, *members in rows_of(accounts, rows)
    ]


def corrections(client: BillingClient, close: Close) -> dict[str, tuple[str, ...]]:
    """The earlier periods of which this close froze something, each with the accounts that it is about, both sorted."""
    tables = (
        "billing_frozen_segments",
        "billing_frozen_usage",
        "billing_frozen_facts",
        "billing_frozen_adjustments",
        "billing_frozen_subjects",
    )
    each = " UNION DISTINCT ".join(
        f"SELECT DISTINCT usage_period, account_id FROM {table} "
        "WHERE close_id = {close_id:String} AND usage_period != {period:String}"
        for table in tables
    )
    rows = client.query(
        f"SELECT usage_period, account_id FROM ({each}) ORDER BY usage_period, account_id",
        parameters={"close_id": close.close_id, "period": close.period},
        settings=READ_SETTINGS,
    ).result_rows
    found: dict[str, list[str]] = {}
    for period, account in rows:
        found.setdefault(period, []).append(account)
    return {period: tuple(accounts) for period, accounts in found.items()}


@dataclass(frozen=True, slots=True)
class Unbilled:
    """Usage of a period that no subscription covers, as its close found it."""

    account: str
    reason: str
    """`no_account`: nobody applied such an account; `no_subscription`: none held then."""
    requests: int
    fallbacks: int
    input_tokens: int
    output_tokens: int
    facts: int


def unbilled(client: BillingClient, close: Close) -> list[Unbilled]:
    """What the close listed, by account."""
    rows = client.query(
        "SELECT account_id, reason, requests, fallbacks, input_tokens, output_tokens, facts FROM billing_unbilled "
        "WHERE close_id = {close_id:String} ORDER BY account_id, reason",
        parameters={"close_id": close.close_id},
        settings=READ_SETTINGS,
    ).result_rows
    return [Unbilled(*row) for row in rows]


def _parameters(closes: Sequence[Close], usage_period: str, accounts: Sequence[str]) -> dict[str, Any]:
    return {
        "closed": close_ids(closes, (usage_period,)),
        "usage_period": usage_period,
        "accounts": few(accounts),
    }


def _segment(usage_period: str, row: Sequence[Any]) -> FrozenSegment:
    (
        account,
        index,
        start,
        end,
        first_day,
        days,
        period_days,
        status,
        card,
        version,
        plan,
        committed,
        discounts,
        *more,
    ) = row
    currency, time_zone, name, details, seq = more
    segment = None
    if status != "none":
        segment = Segment(
            card=card,
            version=version,
            plan=plan,
            first_day=first_day,
            start=in_utc(start),
            end=in_utc(end),
            days=days,
            period_days=period_days,
            committed=dict(committed),
            discounts=tuple(_discounts(discounts)),
            status=status,
        )
    return FrozenSegment(
        usage_period,
        account,
        index,
        segment,
        first_day,
        in_utc(start),
        in_utc(end),
        currency,
        time_zone,
        name,
        details,
        seq,
    )


def _discounts(text: str) -> Iterator[Discount]:
    for one in orjson.loads(text):
        percent, amount = (None if one[name] is None else Decimal(one[name]) for name in ("percent", "amount"))
        yield Discount(one["name"], one["label"], percent, amount, tuple(one["prices"]))
