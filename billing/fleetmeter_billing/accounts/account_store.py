"""Accounts and subscriptions in ClickHouse: rows are added, never changed; the highest revision of one holds."""

# ruff: noqa: S608  (names of our own tables; every value is bound by ClickHouse)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final, Literal

import orjson
from pydantic import ValidationError

from fleetmeter_billing.accounts.account import Account, Subscriber, Subscription
from fleetmeter_billing.clickhouse import INSERT_SETTINGS, READ_SETTINGS, BillingClient
from fleetmeter_billing.errors import AccountsError

Change = Literal["new", "revised", "unchanged"]
_FIXED: Final = ("currency", "time_zone", "period", "anchor_day")
"""What an account can't change: its periods would overlap or leave gaps, its bills mix currencies."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying did, or would do, with one row. `what` is `account`, or the day of a subscription's row."""

    account: str
    what: str
    change: Change
    revision: int


@dataclass(frozen=True, slots=True)
class StoredAccount:
    """An account as the tables have it, with the revisions that hold."""

    subscriber: Subscriber
    revision: int
    revisions: Mapping[date, int] = field(default_factory=dict)


def load_accounts(client: BillingClient, account: str | None = None) -> dict[str, StoredAccount]:
    """All accounts by id, or the one that is named, with what holds of each. Raises AccountsError for rows that no
    version of fleetmeter writes."""
    condition = "1" if account is None else "account_id = {account:String}"
    parameters = {} if account is None else {"account": account}
    accounts = client.query(
        "SELECT account_id, revision, name, currency, time_zone, period, anchor_day, details FROM billing_accounts "
        f"WHERE {condition} ORDER BY account_id, revision DESC, content_hash DESC LIMIT 1 BY account_id",
        parameters=parameters,
        settings=READ_SETTINGS,
    ).result_rows
    rows = client.query(
        "SELECT account_id, from_day, revision, status, card, plan, version, terms, reason "
        f"FROM billing_subscriptions WHERE {condition} "
        "ORDER BY account_id, from_day, revision DESC, content_hash DESC LIMIT 1 BY account_id, from_day",
        parameters=parameters,
        settings=READ_SETTINGS,
    ).result_rows
    subscriptions: dict[str, list[tuple[date, int, Sequence[Any]]]] = {}
    for name, from_day, revision, *members in rows:
        subscriptions.setdefault(name, []).append((from_day, revision, members))
    found: dict[str, StoredAccount] = {}
    for name, revision, *members in accounts:
        own = subscriptions.get(name, [])
        try:
            subscriber = Subscriber(
                account=_account(name, *members), subscriptions=tuple(_subscription(day, *row) for day, _, row in own)
            )
        except ValidationError as error:
            reason = _in_words(error)
            raise AccountsError(f"account {name!r} as it is stored can't be used: {reason}. Apply it again") from error
        found[name] = StoredAccount(subscriber, revision, {day: number for day, number, _ in own})
    return found


def plan_apply(subscribers: Sequence[Subscriber], stored: Mapping[str, StoredAccount]) -> list[Applied]:
    """What applying would do. Accounts and days that are stored and not given stay as they are.

    Raises AccountsError for what can't change, and where the rows that are stored and those given don't fit together.
    """
    changes: list[Applied] = []
    wrong: list[str] = []
    for subscriber in subscribers:
        name, before = subscriber.account.account, stored.get(subscriber.account.account)
        if before is None:
            changes.append(Applied(name, "account", "new", 1))
            changes += [Applied(name, str(row.from_day), "new", 1) for row in subscriber.subscriptions]
            continue
        was = before.subscriber
        fixed = [one for one in _FIXED if getattr(was.account, one) != getattr(subscriber.account, one)]
        if fixed:
            wrong.append(
                f"account {name!r}: {', '.join(fixed)} can't change, since its bills would overlap, leave gaps or mix "
                "currencies; cancel it, and begin another account"
            )
        same = was.account.content_hash == subscriber.account.content_hash
        revision = before.revision if same else before.revision + 1
        changes.append(Applied(name, "account", "unchanged" if same else "revised", revision))
        rows = {row.from_day: row for row in was.subscriptions}
        for row in subscriber.subscriptions:
            old = rows.get(row.from_day)
            change: Change = "new" if old is None else "unchanged" if old == row else "revised"
            number = before.revisions.get(row.from_day, 0) + (change != "unchanged")
            changes.append(Applied(name, str(row.from_day), change, number))
        try:
            with_stored_rows(subscriber, before)
        except ValidationError as error:
            wrong.append(f"account {name!r}, with the rows that are stored: {_in_words(error)}")
    if wrong:
        raise AccountsError("\n".join(wrong))
    return changes


def with_stored_rows(subscriber: Subscriber, stored: StoredAccount | None) -> Subscriber:
    """What holds of an account after applying. Raises ValidationError where its rows then don't fit together."""
    if stored is None:
        return subscriber
    rows = {row.from_day: row for row in (*stored.subscriber.subscriptions, *subscriber.subscriptions)}
    return Subscriber(account=subscriber.account, subscriptions=tuple(rows[day] for day in sorted(rows)))


def apply_accounts(
    client: BillingClient, subscribers: Sequence[Subscriber], changes: Sequence[Applied], *, by: str, at_ms: int
) -> None:
    """Add the rows of a plan. Again after any error is harmless: what is there already is added under the same key."""
    given = {one.account.account: one for one in subscribers}
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    stamp = {"applied_by": by, "applied_at": f"{at:%Y-%m-%d %H:%M:%S}.{at_ms % 1000:03}"}
    accounts: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for change in changes:
        if change.change == "unchanged":
            continue
        subscriber = given[change.account]
        if change.what == "account":
            accounts.append({**_account_row(subscriber.account), "revision": change.revision, **stamp})
        else:
            row = next(one for one in subscriber.subscriptions if str(one.from_day) == change.what)
            rows.append({"account_id": change.account, **_subscription_row(row), "revision": change.revision, **stamp})
    # The account last: until it is there, its subscription is not looked at.
    for table, added in (("billing_subscriptions", rows), ("billing_accounts", accounts)):
        if added:
            body = b"\n".join(orjson.dumps(one) for one in added)
            client.raw_insert(table, insert_block=body, fmt="JSONEachRow", settings=INSERT_SETTINGS)


def _in_words(error: ValidationError) -> str:
    return "; ".join(one["msg"].removeprefix("Value error, ") for one in error.errors())


def _account_row(account: Account) -> dict[str, Any]:
    values = account.model_dump(mode="json")
    return {"account_id": values.pop("account"), **values, "content_hash": account.content_hash}


def _account(name: str, *members: Any) -> Account:
    fields = ("name", "currency", "time_zone", "period", "anchor_day", "details")
    return Account.model_validate({"account": name, **dict(zip(fields, members, strict=True))})


def _subscription_row(row: Subscription) -> dict[str, Any]:
    """A row's columns. What the row leaves to those before it is kept as such: empty, 0, or `null` in the JSON."""
    values = row.model_dump(mode="json")
    return {
        "from_day": row.from_day.isoformat(),
        "status": row.status,
        "card": row.card or "",
        "plan": row.plan or "",
        "version": row.version or 0,
        "terms": orjson.dumps({name: values[name] for name in ("committed", "discounts")}).decode(),
        "reason": row.reason,
        "content_hash": row.content_hash,
    }


def _subscription(
    from_day: date, status: str, card: str, plan: str, version: int, terms: str, reason: str
) -> Subscription:
    return Subscription.model_validate(
        {
            "from": from_day,
            "status": status,
            "card": card or None,
            "plan": plan or None,
            "version": version or None,
            **orjson.loads(terms),
            "reason": reason,
        }
    )
