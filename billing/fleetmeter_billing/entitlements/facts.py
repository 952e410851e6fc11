"""What entitlements are held against, out of ClickHouse: facts and minutes of fallback, as they are counted so far.

Sums and distinct counts are made there. Single events are read only of models and features that some plan of the
account refuses: one statement finds the suspects, a second one their events.
"""

# ruff: noqa: S608  (names of our own tables; every value is bound by ClickHouse)

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from fleetmeter_billing.accounts.selection import BY_ACCOUNT
from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient, in_utc
from fleetmeter_billing.entitlements.violations import FellBack, Happened, Heads

Window = tuple[datetime, datetime]
"""[start, end) in UTC."""
_PAIRS_AT_ONCE: Final = 200
_DEVICE_KINDS: Final = "('download', 'deploy', 'upgrade')"
_KIND: Final = "if(event_type = 'job', 'job', toString(kind))"
_WHAT: Final = (
    "multiIf(event_type != 'job', toString(model), kind = 'premium_feature', toString(feature), toString(kind))"
)
_FACTS: Final = (
    f"(event_type = 'job' OR (event_type = 'device_report' AND kind IN {_DEVICE_KINDS})) "
    "AND time >= {start:DateTime64(6, 'UTC')} AND time < {end:DateTime64(6, 'UTC')}"
)
_FALLBACKS: Final = (
    "event_type = 'generation' AND route = 'fallback' "
    "AND minute >= {start:DateTime('UTC')} AND minute < {end:DateTime('UTC')}"
)


def facts_by_kind(client: BillingClient, window: Window, accounts: Sequence[str] = ()) -> set[tuple[str, str, str]]:
    """(account, kind, what) of everything that happened in the window: model of a download, feature of a job."""
    rows = _rows(
        client,
        f"SELECT DISTINCT account_id, {_KIND} AS of_kind, {_WHAT} AS what FROM usage_facts FINAL "
        f"WHERE {_FACTS} AND {BY_ACCOUNT}",
        {**_times(window, 6), "accounts": list(accounts)},
    )
    return {(account, kind, what) for account, kind, what in rows}


def events_of(client: BillingClient, window: Window, suspects: Sequence[tuple[str, str, str]]) -> Iterator[Happened]:
    """The events behind (account, kind, what), in order of account and time."""
    for first in range(0, len(suspects), _PAIRS_AT_ONCE):
        some = list(suspects[first : first + _PAIRS_AT_ONCE])
        rows = _rows(
            client,
            f"SELECT account_id, {_KIND} AS of_kind, {_WHAT} AS what, time, source, event_id FROM usage_facts FINAL "
            f"WHERE {_FACTS} AND has(arrayZip({{a:Array(String)}}, {{k:Array(String)}}, {{w:Array(String)}}), "
            "(account_id, of_kind, what)) ORDER BY account_id, time, source, event_id",
            {**_times(window, 6), **dict(zip("akw", map(list, zip(*some, strict=True)), strict=True))},
        )
        for account, kind, what, time, source, event_id in rows:
            yield Happened(account, kind, what, in_utc(time), source, event_id)


def fallback_models(client: BillingClient, window: Window, accounts: Sequence[str] = ()) -> set[tuple[str, str]]:
    """(account, cloud model) of all queries that fell back in the window."""
    rows = _rows(
        client,
        f"SELECT DISTINCT account_id, toString(model) FROM usage_minutes WHERE {_FALLBACKS} AND {BY_ACCOUNT}",
        {**_times(window, 0), "accounts": list(accounts)},
    )
    return {(account, model) for account, model in rows}


def fallbacks_of(client: BillingClient, window: Window, suspects: Sequence[tuple[str, str]]) -> Iterator[FellBack]:
    """The minutes in which queries of these accounts fell back to these models."""
    for first in range(0, len(suspects), _PAIRS_AT_ONCE):
        some = list(suspects[first : first + _PAIRS_AT_ONCE])
        rows = _rows(
            client,
            f"SELECT account_id, toString(model) AS cloud, minute, sum(requests) FROM usage_minutes WHERE {_FALLBACKS} "
            "AND has(arrayZip({a:Array(String)}, {m:Array(String)}), (account_id, toString(model))) "
            "GROUP BY account_id, cloud, minute ORDER BY account_id, cloud, minute",
            {**_times(window, 0), **dict(zip("am", map(list, zip(*some, strict=True)), strict=True))},
        )
        for account, model, minute, requests in rows:
            yield FellBack(account, model, in_utc(minute), int(requests))


def heads_of(client: BillingClient, window: Window, accounts: Sequence[str] = ()) -> dict[str, Heads]:
    """Distinct seats, devices and downloads by account; accounts without any are left out.

    A seat is held in the window if a report says that it was seen in a period that overlaps it, as bills count it.
    """
    rows = _rows(
        client,
        "SELECT account_id, "
        "uniqExactIf(user, kind = 'seat' AND seat_kind = 'user' AND user != ''), "
        "uniqExactIf(installation, kind = 'seat' AND installation != ''), "
        "uniqExactIf((installation, model, model_version), kind = 'download') "
        f"FROM usage_facts FINAL WHERE event_type = 'device_report' AND {BY_ACCOUNT} AND "
        "((kind = 'seat' AND period_start < {end:DateTime64(6, 'UTC')} AND period_end > {start:DateTime64(6, 'UTC')}) "
        "OR (kind = 'download' AND time >= {start:DateTime64(6, 'UTC')} AND time < {end:DateTime64(6, 'UTC')})) "
        "GROUP BY account_id",
        {**_times(window, 6), "accounts": list(accounts)},
    )
    return {account: Heads(account, *counts) for account, *counts in rows}


def derived_models(client: BillingClient, accounts: Sequence[str] = ()) -> dict[str, Mapping[str, str]]:
    """By account: models that its jobs made, and the base that each was made from (by the newest such job)."""
    found: dict[str, dict[str, str]] = {}
    rows = _rows(
        client,
        "SELECT account_id, result_model, argMax(base_model, (time, event_id)) FROM usage_facts FINAL "
        f"WHERE event_type = 'job' AND result_model != '' AND base_model != '' AND {BY_ACCOUNT} "
        "GROUP BY account_id, result_model",
        {"accounts": list(accounts)},
    )
    for account, result, base in rows:
        found.setdefault(account, {})[result] = base
    return dict(found)


def _rows(client: BillingClient, statement: str, parameters: dict[str, Any]) -> Sequence[Sequence[Any]]:
    return client.query(statement, parameters=parameters, settings=READ_SETTINGS).result_rows


def _times(window: Window, digits: int) -> dict[str, str]:
    text = "%Y-%m-%d %H:%M:%S.%f" if digits else "%Y-%m-%d %H:%M:%S"
    return {name: f"{moment.astimezone(UTC):{text}}" for name, moment in zip(("start", "end"), window, strict=True)}
