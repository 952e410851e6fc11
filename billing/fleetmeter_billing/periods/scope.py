"""What a close is about: the accounts that have the period, and the parts into which their periods fall."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from fleetmeter_billing.accounts.account import Account
from fleetmeter_billing.accounts.account_store import StoredAccount
from fleetmeter_billing.accounts.segments import Cards, Part, segments_of
from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient
from fleetmeter_billing.errors import AccountsError, PeriodError
from fleetmeter_billing.periods.close_log import Close, close_ids
from fleetmeter_billing.periods.period import PeriodRule

_ERRORS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Scope:
    """The accounts of a period with its parts, and earlier periods of accounts that came after those closed."""

    period: str
    starts: datetime
    ends: datetime
    earliest: datetime
    """The first moment of all periods that are looked at, those that are corrected included."""
    accounts: tuple[str, ...]
    """In the order of their ids."""
    corrected: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]
    """Rows for billing_frozen_segments."""
    cards: tuple[tuple[str, int], ...]


def in_window(
    closes: Sequence[Close], rules: Collection[PeriodRule], starts: datetime, window_days: int
) -> tuple[str, ...]:
    """The closed periods that accounts with these rules have, and that are still corrected.

    By the periods' own dates and never by a clock: those that ended at most so many days before `starts`.
    """
    oldest = starts - timedelta(days=window_days)
    return tuple(one.period for one in closes if one.ends >= oldest and any(rule.named(one.period) for rule in rules))


def scope_of(
    client: BillingClient,
    period: str,
    accounts: Mapping[str, StoredAccount],
    cards: Cards,
    closes: Sequence[Close],
    window_days: int,
) -> Scope:
    """Raises PeriodError if no account has the period, AccountsError for accounts that can't be billed as they are."""
    own = {}
    for name in sorted(accounts, key=str.encode):
        account = accounts[name].subscriber.account
        if found := account.rule.named(period):
            own[name] = (found.starts(account.zone), found.ends(account.zone), found)
    if not own:
        raise PeriodError(
            f"no account has a billing period {period}: apply accounts first (fleetmeter accounts apply), or see "
            "fleetmeter accounts list for the days on which their periods begin"
        )
    starts, ends = min(one[0] for one in own.values()), max(one[1] for one in own.values())
    rules = {accounts[name].subscriber.account.rule for name in own}
    corrected = in_window(closes, rules, starts, window_days)
    known = _frozen_accounts(client, closes, corrected)
    rows: list[dict[str, Any]] = []
    wrong: list[str] = []
    for name, (_, _, whole) in own.items():
        subscriber = accounts[name].subscriber
        try:
            rows += _rows(subscriber.account, whole.name, segments_of(subscriber, whole, cards))
            for earlier in corrected:
                past = subscriber.account.rule.named(earlier)
                if past is None or (earlier, name) in known:
                    continue
                parts = segments_of(subscriber, past, cards)
                # An account whose subscription was dated back behind a close joins the period with the next one.
                if any(part.terms is not None for part in parts):
                    rows += _rows(subscriber.account, earlier, parts)
        except AccountsError as error:
            wrong.append(str(error))
    if wrong:
        more = f"\n... and {len(wrong) - _ERRORS_SHOWN} more" if len(wrong) > _ERRORS_SHOWN else ""
        raise AccountsError("\n".join(wrong[:_ERRORS_SHOWN]) + more)
    named = sorted({(row["card"], row["version"]) for row in rows if row["card"]})
    earliest = min([starts, *(one.starts for one in closes if one.period in corrected)])
    earliest = min([earliest, *(datetime.fromisoformat(f"{row['start']}+00:00") for row in rows)])
    return Scope(period, starts, ends, earliest, tuple(own), corrected, tuple(rows), tuple(named))


def _frozen_accounts(
    client: BillingClient, closes: Sequence[Close], corrected: Sequence[str]
) -> frozenset[tuple[str, str]]:
    if not corrected:
        return frozenset()
    rows = client.query(
        "SELECT DISTINCT usage_period, account_id FROM billing_frozen_segments "
        "WHERE has({closed:Array(String)}, close_id) AND has({corrected:Array(String)}, usage_period)",
        parameters={"closed": close_ids(closes, corrected), "corrected": list(corrected)},
        settings=READ_SETTINGS,
    ).result_rows
    return frozenset((period, account) for period, account in rows)


def _rows(account: Account, period: str, parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
    for number, part in enumerate(parts):
        terms = part.terms
        yield {
            "usage_period": period,
            "account_id": account.account,
            "segment": number,
            "start": f"{part.start:%Y-%m-%d %H:%M:%S}",
            "end": f"{part.end:%Y-%m-%d %H:%M:%S}",
            "first_day": part.first_day.isoformat(),
            "days": part.days,
            "period_days": part.period_days,
            "status": "none" if terms is None else terms.status,
            "card": "" if terms is None else terms.card,
            "version": 0 if terms is None else terms.version,
            "plan": "" if terms is None else terms.plan,
            "committed": {} if terms is None else dict(terms.committed),
            "discounts": orjson.dumps(
                [] if terms is None else [one.model_dump(mode="json") for one in terms.discounts]
            ).decode(),
            "currency": account.currency,
            "time_zone": account.time_zone,
            "name": account.name or account.account,
            "details": dict(account.details),
        }
