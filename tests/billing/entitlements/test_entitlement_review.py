"""A review on ClickHouse: facts of several accounts, time zones and plans."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fleetmeter_billing.accounts.account_store import load_accounts
from fleetmeter_billing.accounts.published import cards_of
from fleetmeter_billing.entitlements.review import AccountReview, review
from fleetmeter_billing.errors import PeriodError
from fleetmeter_billing.rates.card import PublishedCard
from fleetmeter_billing.rates.loading import parse_card
from fleetmeter_doubles.counted_usage import CountedUsage, apply_yaml

pytestmark = pytest.mark.clickhouse

CARD = parse_card(
    """
card: fleet
currency: EUR
effective_from: 2026-01-01
meters:
  users: {fact: seat, count: user, where: {seat_kind: user}}
  devices: {fact: seat}
prices:
  seats: {label: Seats, meter: users, model: {type: seat, amount: 5, basis: committed, committed: people}}
  devices: {label: Devices, meter: devices, model: {type: capacity, levels: [{amount: 10}]}}
plans:
  basic:
    entitlements: {model_tiers: [1b], fallback_models: [mercury-coder-small], seats: 3, downloads: 2}
  pro:
    entitlements: {model_tiers: [1b, 7b], features: [fine_tuning]}
"""
)
PUBLISHED = PublishedCard(
    card=CARD, version=1, published_at=datetime(2026, 1, 1, tzinfo=UTC), published_by="t", content_hash="h"
)
ACCOUNTS = """
accounts:
  - account: acme
    currency: EUR
    time_zone: Europe/Berlin
    subscription:
      - {from: 2026-10-01, status: active, card: fleet, plan: basic, committed: {people: 1, devices: 2}}
      - {from: 2026-11-16, status: changed, plan: pro}
  - {account: east, currency: EUR, time_zone: Asia/Tokyo, subscription: [{from: 2026-10-01, card: fleet, plan: pro}]}
"""


@pytest.fixture(scope="module")
def reviews(counted: CountedUsage) -> dict[str, AccountReview]:
    apply_yaml(counted.client, ACCOUNTS)

    def device(kind: str, account: str, time: str, event_id: str, **values: Any) -> None:
        values = {"kind": kind, "installation": "i1", "model": "mistral-7b", "model_version": "1", **values}
        counted.fact(account, time, event_id, **values)

    seat = {"model": "", "seat_kind": "user", "period_start": "2026-11-01 00:00:00"}
    for number in range(2):
        for device_number in range(2):
            own = {"user": f"u{number}", "installation": f"i{number}-{device_number}"}
            ends = {"period_end": "2026-11-02 00:00:00"}
            device("seat", "acme", "2026-11-02 00:00:00", f"s{number}{device_number}", **seat, **own, **ends)
    # 23:30 UTC on the 31st of October is November in Berlin, and 22:30 is not.
    device("download", "acme", "2026-10-31 22:30:00", "october")
    device("download", "acme", "2026-10-31 23:30:00", "november")
    device("download", "acme", "2026-11-03 10:00:00", "again")
    device("deploy", "acme", "2026-11-03 11:00:00", "deployed")
    device("download", "acme", "2026-11-04 10:00:00", "small", model="llama-3.2-1b")
    device("remove", "acme", "2026-11-05 10:00:00", "removed")
    device("download", "acme", "2026-11-15 23:30:00", "pro-by-now", model_version="2")
    device("download", "acme", "2026-11-20 10:00:00", "own", model="acme-tuned")
    device("download", "acme", "2026-11-20 10:00:00", "unheard", model="somebody-elses")
    device("download", "east", "2026-11-20 10:00:00", "east-14", model="phi-4")
    job = {"event_type": "job", "model": ""}
    made = {"base_model": "mistral-7b", "result_model": "acme-tuned"}
    device("fine_tuning", "acme", "2026-11-10 00:00:00", "tuned-early", **job, **made)
    device("fine_tuning", "acme", "2026-11-18 00:00:00", "tuned", **job, **made)
    fell = {"route": "fallback", "placement": "cloud"}
    counted.usage("acme", "2026-11-05 10:00:00", model="mercury-coder-small", requests=50, **fell)
    counted.usage("acme", "2026-11-05 10:00:00", model="llama-3.3-70b", requests=3, **fell)
    counted.usage("acme", "2026-11-07 10:00:00", model="llama-3.3-70b", requests=4, **fell)
    counted.usage("acme", "2026-11-07 10:00:00", model="llama-3.3-70b", requests=99, placement="cloud", route="direct")
    stored = [one.subscriber for one in load_accounts(counted.client).values()]
    found = review(counted.client, stored, "2026-11", cards_of([PUBLISHED]), lambda _card, _version: PUBLISHED)
    return {one.account: one for one in found}


def test_violations_name_their_events(reviews: dict[str, AccountReview]) -> None:
    events = [(one.event_id, one.rule, one.plan) for one in reviews["acme"].violations if one.event_id]
    assert events == [
        ("november", "model_not_included", "basic"),
        ("again", "model_not_included", "basic"),
        ("deployed", "model_not_included", "basic"),
        ("tuned-early", "feature_not_included", "basic"),
        ("unheard", "model_not_included", "pro"),
    ]
    assert [(one.event_id, one.sentence) for one in reviews["east"].violations] == [
        ("east-14", "download: phi-4 is of size tier 14b; the plan has 1b, 7b, and does not name the model")
    ]


def test_fallbacks_that_the_plan_does_not_have_are_summed(reviews: dict[str, AccountReview]) -> None:
    (fell_back,) = [one for one in reviews["acme"].violations if one.rule == "fallback_not_included"]
    assert (fell_back.what, fell_back.quantity, fell_back.first, fell_back.last) == (
        "llama-3.3-70b",
        7,
        datetime(2026, 11, 5, 10, tzinfo=UTC),
        datetime(2026, 11, 7, 10, tzinfo=UTC),
    )


def test_seats_devices_and_downloads_are_counted_distinct(reviews: dict[str, AccountReview]) -> None:
    # Downloads: mistral-7b 1 and 2, llama, acme-tuned, somebody-elses, all by i1; `pro` has no limit of them.
    assert [(one.what, one.counted, one.committed, one.limit, one.state) for one in reviews["acme"].standings] == [
        ("seats", 2, 1, None, "over_committed"),
        ("devices", 4, 2, None, "over_committed"),
        ("downloads", 5, None, None, "within"),
    ]


def test_a_period_that_no_account_has_is_refused(counted: CountedUsage) -> None:
    stored = [one.subscriber for one in load_accounts(counted.client).values()]
    with pytest.raises(PeriodError, match="2026-11-15"):
        review(counted.client, stored, "2026-11-15", cards_of([PUBLISHED]), lambda _card, _version: PUBLISHED)
