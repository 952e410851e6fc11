"""The statements that freeze: each compares what the ledger has with what earlier closes froze, and adds what is new.

For the period that is closed nothing was frozen yet, so that all of it is new; for earlier ones it is what came late.
Rows are written under a close_id that nobody reads until the log names it. Each statement is sent once for a close_id,
and ClickHouse takes it once, under its token, even if the connection made two of it.

What is frozen lies below the committed positions. The ledger shows nothing else: a commit's counts and its marker are
one insert. Facts and adjustments are written before their commit; those at or beyond the positions that the close
noted are left to a later one. Subjects have no offsets: those of a commit on its way may be frozen with it, and are
counted once all the same, being identities.
"""

# ruff: noqa: S608  (statements are put together from our own constants; every value is bound by ClickHouse)

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient, insert_settings
from fleetmeter_billing.errors import FreezeFailedError, LedgerShrankError
from fleetmeter_billing.periods.close_log import FROZEN_TABLES
from fleetmeter_billing.periods.completeness import Position
from fleetmeter_billing.periods.frozen_columns import (
    ADJUSTMENT_COLUMNS,
    DIMENSIONS,
    EVENT_TYPES,
    FACT_COLUMNS,
    MEASURES,
    Columns,
    not_among,
)

_SCOPE: Final = """
    SELECT usage_period, account_id, segment, start, end FROM billing_frozen_segments
    WHERE close_id = {close_id:String}
    UNION ALL
    SELECT usage_period, account_id, segment, start, end FROM billing_frozen_segments
    WHERE has({closed:Array(String)}, close_id) AND has({corrected:Array(String)}, usage_period) AND account_id IN (
        SELECT account_id FROM billing_frozen_segments
        WHERE close_id = {close_id:String} AND usage_period = {period:String}
    )
"""
"""Where an account's moments belong: the parts of the period that is closed, and those of earlier ones as frozen."""
_FROZEN: Final = "has({closed:Array(String)}, close_id) AND has({corrected:Array(String)}, usage_period)"
_KEY: Final = "{seq:UInt32}, {close_id:String}, usage_period, account_id, segment"
_COUNTED: Final = (
    "arrayExists(p -> p.1 = topic AND p.2 = partition AND p.3 = epoch AND offset < p.4, "
    "{facts_below:Array(Tuple(String, UInt32, UInt32, UInt64))})"
)
_IDENTITIES: Final = {
    "billing_frozen_segments": ("usage_period", "account_id", "segment"),
    "billing_frozen_facts": ("usage_period", "segment", "source", "event_id"),
    "billing_frozen_adjustments": ("usage_period", "segment", "source", "event_id"),
    "billing_frozen_subjects": ("usage_period", "account_id", "segment", "subject_kind", "subject"),
    "billing_unbilled": ("account_id", "reason"),
}
"""What tells the rows of a close apart."""
_BIG: Final[dict[str, str | int]] = {"join_algorithm": "hash", "max_query_size": 1_000_000}


@dataclass(frozen=True, slots=True)
class Freeze:
    """One attempt at a close: its name, and what the log said when it began."""

    client: BillingClient
    seq: int
    close_id: str
    period: str
    closed: tuple[str, ...]
    """The close_ids that count."""
    corrected: tuple[str, ...]
    """Earlier periods that are compared again."""
    facts_below: Sequence[Position]
    """Facts and adjustments below are counted (see `completeness.reach_of_facts`)."""

    def segments(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write the parts of accounts' periods: columns of billing_frozen_segments but seq and close_id."""
        own = {"seq": self.seq, "close_id": self.close_id}
        body = b"\n".join(orjson.dumps({**own, **row}) for row in rows)
        self.client.raw_insert(
            "billing_frozen_segments",
            insert_block=body,
            fmt="JSONEachRow",
            settings=insert_settings(self._token("segments")),
        )

    def survey(self, starts: datetime, ends: datetime, sample: tuple[str, str]) -> Columns:
        """Which dimensions and measures occur at all, from `starts` to `ends` and in what was frozen: leaving the
        others out makes freezing several times faster. Ask after positions were noted: all below them is looked at.

        Most occur in the usage of a few accounts, `sample` (first and last of a range); only the others are looked for
        everywhere, and what is empty everywhere is quick to read.
        """
        span = {"starts": _seconds(starts), "ends": _seconds(ends)}
        usage = (
            f"FROM ledger WHERE row_kind = 'usage' AND event_type IN ({EVENT_TYPES}) "
            "AND minute >= {starts:DateTime('UTC')} AND minute < {ends:DateTime('UTC')}"
        )
        some = f"{usage} AND account_id BETWEEN {{first:String}} AND {{last:String}}"
        found = self._occurring((*DIMENSIONS, *MEASURES), some, {**span, "first": sample[0], "last": sample[1]})
        if self.corrected:
            found |= self._occurring(not_among(found), f"FROM billing_frozen_usage WHERE {_FROZEN}")
        found |= self._occurring(not_among(found), usage, span)
        return Columns(
            tuple(name for name in DIMENSIONS if name in found),
            tuple(name for name in MEASURES if name in found) or ("requests",),
        )

    def _occurring(self, names: Sequence[str], of: str, more: Mapping[str, object] | None = None) -> set[str]:
        if not names:
            return set()
        asked = ", ".join(f"max({name} != '')" if name in DIMENSIONS else f"max({name} != 0)" for name in names)
        (row,) = self._rows(f"SELECT {asked} {of}", more)
        return {name for name, occurs in zip(names, row, strict=True) if occurs}

    def usage(self, columns: Columns, first: str, last: str) -> None:
        """Freeze sums of the accounts from `first` to `last`, both included, in the order of their ids.

        What is counted while this runs may bring dimensions or measures that the survey did not see. Such rows, or such
        sums, are left to a later close, which finds them missing like any other late usage.
        """
        keys = ["usage_period", "account_id", "segment", "event_type", *columns.dimensions]
        sums = columns.measures
        absent = "".join(f" AND u.{name} = ''" for name in DIMENSIONS if name not in columns.dimensions)
        rows = (
            f"SELECT s.usage_period AS usage_period, u.account_id AS account_id, s.segment AS segment, "
            f"{', '.join(f'u.{name} AS {name}' for name in keys[3:])}, "
            f"{', '.join(f'sum(toInt128(u.{name})) AS {name}' for name in sums)} "
            f"FROM ledger AS u ASOF INNER JOIN scope AS s ON u.account_id = s.account_id AND u.minute >= s.start "
            f"WHERE u.row_kind = 'usage' AND u.event_type IN ({EVENT_TYPES}){absent} "
            "AND u.account_id BETWEEN {first:String} AND {last:String} AND u.minute < s.end "
            f"GROUP BY {', '.join(keys)}"
        )
        if self.corrected:
            taken = (
                f"SELECT {', '.join(keys)}, {', '.join(f'-sum(f.{name}) AS {name}' for name in sums)} "
                f"FROM billing_frozen_usage AS f WHERE {_FROZEN} AND account_id BETWEEN {{first:String}} AND "
                f"{{last:String}} AND account_id IN (SELECT account_id FROM scope) GROUP BY {', '.join(keys)}"
            )
            rows = (
                f"SELECT * FROM (SELECT {', '.join(keys)}, {', '.join(f'sum(d.{name}) AS {name}' for name in sums)} "
                f"FROM ({rows} UNION ALL {taken}) AS d GROUP BY {', '.join(keys)}) "
                f"WHERE {' OR '.join(f'{name} != 0' for name in sums)}"
            )
        self._insert(
            f"usage/{first}",
            f"INSERT INTO billing_frozen_usage (seq, close_id, {', '.join((*keys, *sums))}) "
            f"WITH scope AS (SELECT * FROM ({_SCOPE}) WHERE account_id BETWEEN {{first:String}} AND {{last:String}}) "
            f"SELECT {_KEY}, {', '.join((*keys[3:], *sums))} FROM ({rows})",
            {"first": first, "last": last},
        )

    def facts(self) -> None:
        """Freeze facts that are not frozen yet. A seat counts in every part of a period that its reported span touches;
        the reversal of an outcome where the outcome did, once that is known."""
        columns = ", ".join(FACT_COLUMNS)
        self._insert(
            "facts",
            f"""
            INSERT INTO billing_frozen_facts
                (seq, close_id, usage_period, account_id, segment, effective_time, {columns})
            WITH scope AS ({_SCOPE}),
                counted AS (SELECT * FROM usage_facts FINAL WHERE {_COUNTED}),
                originals AS (
                    SELECT account_id, source, event_id AS original, time AS original_time FROM counted
                    WHERE event_type = 'outcome' AND reverses = ''
                        AND event_id IN (SELECT reverses FROM counted WHERE reverses != '')
                ),
                placed AS (
                    SELECT f.*,
                        if(f.reverses = '', coalesce(f.period_start, f.time), o.original_time) AS effective_time,
                        if(f.reverses = '', coalesce(f.period_end, f.time), o.original_time) AS effective_until
                    FROM counted AS f
                    LEFT JOIN originals AS o
                        ON f.account_id = o.account_id AND f.source = o.source AND f.reverses = o.original
                    WHERE f.reverses = '' OR o.original != ''
                )
            SELECT {_KEY}, effective_time, {columns}
            FROM placed INNER JOIN scope USING (account_id)
            WHERE effective_time < end AND (effective_until > start OR effective_time >= start)
                AND (source, event_id, usage_period, segment) NOT IN (
                    SELECT source, event_id, usage_period, segment FROM billing_frozen_facts WHERE {_FROZEN}
                )
            """,
        )

    def adjustments(self) -> None:
        """Freeze adjustments that are not frozen yet, in the part of the period in which what they correct happened."""
        columns = ", ".join(ADJUSTMENT_COLUMNS)
        self._insert(
            "adjustments",
            f"""
            INSERT INTO billing_frozen_adjustments (seq, close_id, usage_period, account_id, segment, {columns})
            WITH scope AS ({_SCOPE}),
                counted AS (
                    SELECT *, coalesce(effective_time, time) AS happened FROM usage_adjustments FINAL WHERE {_COUNTED}
                )
            SELECT {_KEY}, {columns}
            FROM counted INNER JOIN scope USING (account_id)
            WHERE happened >= start AND happened < end
                AND (source, event_id) NOT IN (SELECT source, event_id FROM billing_frozen_adjustments WHERE {_FROZEN})
            """,
        )

    def subjects(self) -> None:
        """Freeze the subjects of each part of a period that are not frozen yet.

        A row of usage_subjects is a UTC day with the first and last moment of a subject. Parts of a period are longer
        than a day has hours before and after a midnight, so that these two say in which parts it was seen.
        """
        self._insert(
            "subjects",
            f"""
            INSERT INTO billing_frozen_subjects
                (seq, close_id, usage_period, account_id, segment, subject_kind, subject)
            WITH scope AS ({_SCOPE}),
                days AS (
                    SELECT account_id, subject_kind, subject, min(first_seen) AS first, max(last_seen) AS last
                    FROM usage_subjects
                    WHERE day >= (SELECT toDate(min(start)) FROM scope) AND day <= (SELECT toDate(max(end)) FROM scope)
                    GROUP BY account_id, subject_kind, day, subject
                )
            SELECT DISTINCT {_KEY}, subject_kind, subject
            FROM days INNER JOIN scope USING (account_id)
            WHERE first < end AND last >= start
                AND (usage_period, account_id, segment, subject_kind, subject) NOT IN (
                    SELECT usage_period, account_id, segment, subject_kind, subject
                    FROM billing_frozen_subjects WHERE {_FROZEN}
                )
            """,
        )

    def unbilled(self, starts: datetime, ends: datetime, *, strangers: bool) -> None:
        """List usage of the period that no subscription covers; with `strangers`, also that of accounts nobody applied,
        from `starts` to `ends`."""
        own = "close_id = {close_id:String} AND usage_period = {period:String}"
        idle = f"SELECT account_id, segment FROM billing_frozen_segments WHERE {own} AND status = 'none'"
        rows_of_idle = f"{own} AND (account_id, segment) IN ({idle})"
        unknown = "{strangers:Bool} AND account_id NOT IN (SELECT account_id FROM billing_accounts)"
        within = ">= {starts:DateTime('UTC')}", "< {ends:DateTime('UTC')}"
        self._insert(
            "unbilled",
            f"""
            INSERT INTO billing_unbilled (
                seq, close_id, usage_period, account_id, reason, requests, fallbacks, input_tokens, output_tokens, facts
            )
            SELECT {{seq:UInt32}}, {{close_id:String}}, {{period:String}}, account_id, why,
                sum(a), sum(b), sum(c), sum(d), sum(e)
            FROM (
                SELECT account_id, 'no_subscription' AS why, sum(requests) AS a, sum(fallbacks) AS b,
                    sum(input_tokens) AS c, sum(output_tokens) AS d, toInt128(0) AS e
                FROM billing_frozen_usage WHERE {rows_of_idle} GROUP BY account_id
                UNION ALL
                SELECT account_id, 'no_subscription', 0, 0, 0, 0, toInt128(count()) FROM (
                    SELECT account_id FROM billing_frozen_facts WHERE {rows_of_idle}
                    UNION ALL SELECT account_id FROM billing_frozen_adjustments WHERE {rows_of_idle}
                ) GROUP BY account_id
                UNION ALL
                SELECT account_id, 'no_account', sum(toInt128(requests)), sum(toInt128(fallbacks)),
                    sum(toInt128(input_tokens)), sum(toInt128(output_tokens)), toInt128(0)
                FROM ledger
                WHERE row_kind = 'usage' AND event_type IN ({EVENT_TYPES}) AND {unknown}
                    AND minute {within[0]} AND minute {within[1]}
                GROUP BY account_id
                UNION ALL
                SELECT account_id, 'no_account', 0, 0, 0, 0, toInt128(count()) FROM (
                    SELECT account_id, time FROM usage_facts FINAL WHERE {_COUNTED}
                    UNION ALL
                    SELECT account_id, coalesce(effective_time, time) AS time FROM usage_adjustments FINAL
                    WHERE {_COUNTED}
                ) WHERE {unknown} AND time {within[0]} AND time {within[1]} GROUP BY account_id
            )
            GROUP BY account_id, why
            """,
            {"strangers": strangers, "starts": _seconds(starts), "ends": _seconds(ends)},
        )

    def check(self, segments: int, columns: Columns) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Rows and checksums of what was frozen, by FROZEN_TABLES.

        Raises FreezeFailedError if something is there twice, or segments are not all there, and LedgerShrankError if an
        earlier period has less than was frozen of it.
        """
        keys = dict(_IDENTITIES)
        keys["billing_frozen_usage"] = ("usage_period", "account_id", "segment", "event_type", *columns.dimensions)
        found = [frozen_sum(self.client, table, self.close_id, keys[table]) for table in FROZEN_TABLES]
        for table, (count, _, distinct) in zip(FROZEN_TABLES, found, strict=True):
            if distinct != count or (table == "billing_frozen_segments" and count != segments):
                raise FreezeFailedError(
                    f"close {self.close_id}: {table} has {count} rows with {distinct} keys, and {segments} segments "
                    "were sent. Nothing was closed; run it again"
                )
        shrunk = self._rows(
            "SELECT usage_period, account_id, count() FROM billing_frozen_usage WHERE close_id = {close_id:String} "
            f"AND ({' OR '.join(f'{name} < 0' for name in MEASURES)}) GROUP BY usage_period, account_id "
            "ORDER BY usage_period, account_id LIMIT 5"
        )
        if shrunk:
            shown = ", ".join(f"{account} in {period}" for period, account, _ in shrunk)
            raise LedgerShrankError(
                f"the ledger holds less usage than earlier closes froze: {shown}. Counts only grow, so rows were "
                "deleted (a TTL, or by hand), and a correction would credit usage that happened. Nothing was closed. "
                "Make the correction window shorter than the ledger's TTL (FLEETMETER_CORRECTION_WINDOW_DAYS), or "
                "restore the rows"
            )
        return tuple(count for count, _, _ in found), tuple(checksum for _, checksum, _ in found)

    def _insert(self, what: str, statement: str, more: Mapping[str, object] | None = None) -> None:
        self.client.command(
            statement,
            parameters={**self._parameters(statement), **(more or {})},
            settings={**insert_settings(self._token(what)), **_BIG},
        )

    def _rows(self, statement: str, more: Mapping[str, object] | None = None) -> Sequence[Sequence[Any]]:
        return self.client.query(
            statement,
            parameters={**self._parameters(statement), **(more or {})},
            settings={**READ_SETTINGS, **_BIG},
        ).result_rows

    def _parameters(self, statement: str) -> dict[str, Any]:
        known = {
            "seq": self.seq,
            "close_id": self.close_id,
            "period": self.period,
            "closed": list(self.closed),
            "corrected": list(self.corrected),
            "facts_below": list(self.facts_below),
        }
        return {name: value for name, value in known.items() if f"{{{name}:" in statement}

    def _token(self, what: str) -> str:
        return f"{self.close_id}/{what}"


def frozen_sum(client: BillingClient, table: str, close_id: str, keys: Sequence[str] = ()) -> tuple[int, int, int]:
    """Number of rows that a close_id froze in a table, the sum of their hashes (modulo 2^64), and how many combinations
    of `keys` they have."""
    # A hash of several columns is NULL if one of them is; text has no NULL.
    row = "*" if table in {"billing_frozen_usage", "billing_frozen_subjects"} else "toString(tuple(*))"
    distinct = f"uniqExact({', '.join(keys)})" if keys else "0"
    ((count, checksum, combinations),) = client.query(
        f"SELECT count(), sum(cityHash64({row})), {distinct} FROM {table} WHERE close_id = {{close_id:String}}",
        parameters={"close_id": close_id},
        settings=READ_SETTINGS,
    ).result_rows
    return int(count), int(checksum), int(combinations)


def _seconds(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
