"""The log of closes: what is closed, in which order, and what was frozen with it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient, in_utc
from fleetmeter_billing.errors import LogDamagedError
from fleetmeter_billing.linear_log import LinearLog

CLOSE_LOG: Final = LinearLog("billing_closes")
FROZEN_TABLES: Final = (
    "billing_frozen_segments",
    "billing_frozen_usage",
    "billing_frozen_facts",
    "billing_frozen_adjustments",
    "billing_frozen_subjects",
    "billing_unbilled",
)
"""What a close freezes, in the order of its checksums. Each table has `seq` and `close_id`."""

_COLUMNS: Final = {
    "seq": "UInt32",
    "close_id": "String",
    "period": "String",
    "starts": "DateTime('UTC')",
    "ends": "DateTime('UTC')",
    "corrected": "Array(String)",
    "accounts": "UInt32",
    "lateness_s": "UInt32",
    "watermark": "DateTime64(6, 'UTC')",
    "positions": "Array(Tuple(String, UInt32, UInt32, UInt64))",
    "cards": "Array(Tuple(String, UInt32))",
    "row_counts": "",
    "checksums": "Array(UInt64)",
    "closed_by": "String",
    "closed_at": "DateTime64(3, 'UTC')",
}
_COUNTS: Final = ("segments", "usage_rows", "facts", "adjustments", "subjects", "unbilled")


@dataclass(frozen=True, slots=True)
class Close:
    """A close that took effect: one row of the log."""

    seq: int
    close_id: str
    period: str
    starts: datetime
    ends: datetime
    corrected: tuple[str, ...]
    """Earlier periods that were compared with what had been frozen of them."""
    accounts: int
    lateness_s: int
    watermark: datetime
    positions: tuple[tuple[str, int, int, int], ...]
    """Topic, partition, epoch, next offset: what lies below is frozen."""
    cards: tuple[tuple[str, int], ...]
    row_counts: tuple[int, ...]
    """Rows in each of FROZEN_TABLES."""
    checksums: tuple[int, ...]
    closed_by: str
    closed_at: datetime

    def columns(self) -> dict[str, tuple[str, object]]:
        """Type and value of each of its columns but the number, for the log."""
        found: dict[str, tuple[str, object]] = {}
        for name, kind in _COLUMNS.items():
            value = getattr(self, name)
            if name == "row_counts":
                found.update({column: ("UInt64", count) for column, count in zip(_COUNTS, value, strict=True)})
            elif name != "seq":
                found[name] = (kind, _literal(value))
        return found


def winning_closes(client: BillingClient, *, through: int | None = None) -> list[Close]:
    """All closes that took effect, in order; or those up to number `through`.

    What any other close_id froze does not count: a close that was killed, or lost to a rival. Raises LogDamagedError.
    """
    names = [name for column in _COLUMNS for name in (_COUNTS if column == "row_counts" else (column,))]
    statement = f"SELECT {', '.join(names)} FROM billing_closes ORDER BY seq"  # noqa: S608  (our own columns)
    rows = client.query(statement, settings=READ_SETTINGS).result_rows
    closes = [_close(row) for row in rows]
    numbers, periods = [one.seq for one in closes], [one.period for one in closes]
    if numbers != list(range(1, len(closes) + 1)) or len(set(periods)) != len(periods):
        raise LogDamagedError(
            f"billing_closes has the numbers {numbers} and periods {periods}; there must be one row for each number, "
            "and no period twice. Nothing in fleetmeter writes that; find out who did before anything is billed"
        )
    return closes if through is None else closes[:through]


def close_ids(closes: Sequence[Close], of: Collection[str] | None = None) -> list[str]:
    """Whose frozen rows count: of all closes, or of those that may have frozen something of the periods `of`."""
    return [one.close_id for one in closes if of is None or one.period in of or not set(of).isdisjoint(one.corrected)]


def _close(row: Sequence[Any]) -> Close:
    head, counts, tail = row[:11], row[11 : 11 + len(_COUNTS)], row[11 + len(_COUNTS) :]
    seq, close_id, period, starts, ends, corrected, accounts, lateness_s, watermark, positions, cards = head
    checksums, closed_by, closed_at = tail
    return Close(
        seq,
        close_id,
        period,
        in_utc(starts),
        in_utc(ends),
        tuple(corrected),
        accounts,
        lateness_s,
        in_utc(watermark),
        tuple(_members(one) for one in positions),
        tuple(_members(one) for one in cards),
        tuple(counts),
        tuple(checksums),
        closed_by,
        in_utc(closed_at),
    )


def _members(value: Any) -> Any:
    return tuple(value.values()) if isinstance(value, dict) else tuple(value)


def _literal(value: object) -> object:
    """A value as the client binds it: lists for arrays, times as ClickHouse reads them."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f").removesuffix(".000000")
    return list(value) if isinstance(value, tuple) else value
