"""Where the usage behind an invoice line came from: rollup rows of the ledger by Kafka partition, and single facts.

The ledger is asked directly, and not through what was frozen, so that the two can be compared.
"""

# ruff: noqa: S608  (columns come from the contract, which meters are checked against; every value is bound)

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient, in_utc
from fleetmeter_billing.invoices.invoice import InvoiceLine
from fleetmeter_billing.periods.close_log import Close, close_ids
from fleetmeter_billing.rates.meter import Meter

FACTS_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Source:
    """Rollup rows of one Kafka partition (and log epoch), and what they add to the meter."""

    topic: str
    partition: int
    epoch: int
    first_offset: int
    next_offset: int
    rows: int
    first_minute: datetime
    last_minute: datetime
    quantity: int


@dataclass(frozen=True, slots=True)
class FactSource:
    """One event that counts by itself, and the record that it came in."""

    topic: str
    partition: int
    epoch: int
    offset: int
    event_index: int
    source: str
    event_id: str
    time: datetime
    what: str


def ledger_sources(
    client: BillingClient, account: str, line: InvoiceLine, meter: Meter, wanted: Callable[[dict[str, str]], bool]
) -> list[Source]:
    """What the ledger holds now for a meter that sums a measure, in the line's stretch of time, by partition.

    `wanted` says whether a combination of the meter's dimensions belongs to the line.
    """
    conditions = [] if meter.include_estimated else ["usage_fidelity != 'estimated'"]
    conditions += [f"has({{where_{place}:Array(String)}}, {name})" for place, name in enumerate(meter.where)]
    dimensions = "".join(f", {name}" for name in meter.group_by)
    rows = client.query(
        f"SELECT topic, partition, epoch{dimensions}, min(first_offset), max(next_offset), count(), min(minute), "
        f"max(minute), sum({_signed(meter)}) AS quantity FROM ledger "
        "WHERE row_kind = 'usage' AND account_id = {account:String} AND minute >= {start:DateTime('UTC')} "
        f"AND minute < {{end:DateTime('UTC')}}{''.join(f' AND {one}' for one in conditions)} "
        f"GROUP BY topic, partition, epoch{dimensions} HAVING quantity != 0 ORDER BY topic, partition, epoch",
        parameters={
            "account": account,
            "start": f"{line.span.start:%Y-%m-%d %H:%M:%S}",
            "end": f"{line.span.end:%Y-%m-%d %H:%M:%S}",
            **{f"where_{place}": list(values) for place, values in enumerate(meter.where.values())},
        },
        settings=READ_SETTINGS,
    ).result_rows
    found: dict[tuple[str, int, int], Source] = {}
    for row in rows:
        topic, partition, epoch, *group = row[:-6]
        first, after, count, begin, last, quantity = row[-6:]
        begin, last = in_utc(begin), in_utc(last)
        if not wanted(dict(zip(meter.group_by, group, strict=True))):
            continue
        key = topic, partition, epoch
        known = found.get(key) or Source(*key, first, after, 0, begin, last, 0)
        found[key] = Source(
            *key,
            min(known.first_offset, first),
            max(known.next_offset, after),
            known.rows + count,
            min(known.first_minute, begin),
            max(known.last_minute, last),
            known.quantity + quantity,
        )
    return list(found.values())


def fact_sources(
    client: BillingClient, closes: Sequence[Close], account: str, line: InvoiceLine, meter: Meter
) -> list[FactSource]:
    """The first facts that these closes froze for a meter of facts, in order of time."""
    kind = meter.fact or ""
    condition = f"event_type = '{kind}'" if kind in {"job", "outcome"} else f"kind = '{kind}'"
    return _facts(client, "billing_frozen_facts", condition, closes, account, line)


def adjustment_sources(
    client: BillingClient, closes: Sequence[Close], account: str, line: InvoiceLine
) -> list[FactSource]:
    """The first adjustments that these closes froze for the account and period, in order of time."""
    return _facts(client, "billing_frozen_adjustments", "1", closes, account, line)


def _facts(
    client: BillingClient, table: str, condition: str, closes: Sequence[Close], account: str, line: InvoiceLine
) -> list[FactSource]:
    what = "reason" if table.endswith("adjustments") else "if(kind = '', event_type, kind)"
    rows = client.query(
        f"SELECT topic, partition, epoch, offset, event_index, source, event_id, time, {what} FROM {table} "
        "WHERE has({closed:Array(String)}, close_id) AND usage_period = {usage_period:String} "
        f"AND account_id = {{account:String}} AND segment = {{segment:UInt32}} AND {condition} "
        f"ORDER BY time, source, event_id LIMIT {FACTS_SHOWN}",
        parameters={
            "closed": close_ids(closes),
            "usage_period": line.usage_period,
            "account": account,
            "segment": line.segment,
        },
        settings=READ_SETTINGS,
    ).result_rows
    return [
        FactSource(topic, partition, epoch, offset, index, source, event_id, in_utc(time), told)
        for topic, partition, epoch, offset, index, source, event_id, time, told in rows
    ]


def _signed(meter: Meter) -> str:
    added = (f"+ toInt128({one})" for one in meter.plus)
    return " ".join((f"toInt128({meter.measure})", *added, *(f"- toInt128({one})" for one in meter.minus)))
