"""The parts of a period: cut where the subscription changes or another card version takes effect."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from fleetmeter_billing.accounts.account import Account, Subscriber, Subscription
from fleetmeter_billing.accounts.segments import Part, misfits, segments_of, without_effect
from fleetmeter_billing.errors import AccountsError
from fleetmeter_billing.rates.plan import Experiment
from fleetmeter_doubles.counted_usage import card_version
from hypothesis import given
from hypothesis import strategies as st

CARDS = {
    "fleet": [
        card_version(1, "2026-01-01", plans=("team", "business")),
        card_version(2, "2026-11-11", plans=("team", "business")),
        card_version(3, "2026-11-21", plans=("team", "business")),
    ],
    "other": [card_version(7, "2026-01-01", plans=("team",))],
}


def subscriber_of(*rows: dict[str, Any], **account: Any) -> Subscriber:
    return Subscriber(
        account=Account(account="acme", currency="EUR", **account),
        subscriptions=tuple(Subscription.model_validate(row) for row in rows),
    )


def parts(*rows: dict[str, Any], period: str = "2026-11", **account: Any) -> list[Part]:
    subscriber = subscriber_of(*rows, **account)
    found = subscriber.account.rule.named(period)
    assert found is not None
    return segments_of(subscriber, found, CARDS)


def shown(found: list[Part]) -> list[tuple[int, int, str, int, str]]:
    """First day, days, card, version and plan of each part."""
    return [
        (
            one.first_day.day,
            one.days,
            *((one.terms.card, one.terms.version, one.terms.plan) if one.terms else ("", 0, "")),
        )
        for one in found
    ]


def active(day: str, **more: Any) -> dict[str, Any]:
    return {"from": date.fromisoformat(day), "card": "fleet", "plan": "team", **more}


def test_most_periods_have_one_part() -> None:
    (one,) = parts(active("2026-01-01", committed={"seats": 5}), period="2026-10")
    segment = one.segment
    assert segment is not None
    assert (segment.card, segment.version, segment.plan, segment.days, segment.period_days) == (
        "fleet",
        1,
        "team",
        31,
        31,
    )
    assert (segment.committed, segment.status, segment.first_day) == ({"seats": 5}, "active", date(2026, 10, 1))


def test_a_card_version_takes_effect_at_its_local_midnight() -> None:
    found = parts(active("2026-01-01"), time_zone="Asia/Kolkata")
    assert shown(found) == [(1, 10, "fleet", 1, "team"), (11, 10, "fleet", 2, "team"), (21, 10, "fleet", 3, "team")]
    assert found[1].start == datetime(2026, 11, 10, 18, 30, tzinfo=UTC)
    assert found[0].end == found[1].start


def test_a_pinned_version_stays() -> None:
    assert shown(parts(active("2026-01-01", version=2))) == [(1, 30, "fleet", 2, "team")]


def test_a_trial_a_change_and_the_end() -> None:
    found = parts(
        {"from": date(2026, 11, 3), "status": "trial", "card": "fleet", "plan": "team", "committed": {"seats": 2}},
        {"from": date(2026, 11, 6), "status": "changed", "plan": "business"},
        {"from": date(2026, 11, 8), "status": "active", "card": "fleet", "plan": "business"},
        {"from": date(2026, 11, 15), "status": "changed", "committed": {"seats": 9}},
        {"from": date(2026, 11, 26), "status": "cancelled"},
    )
    assert shown(found) == [
        (1, 2, "", 0, ""),
        (3, 3, "fleet", 1, "team"),
        (6, 2, "fleet", 1, "business"),
        (8, 3, "fleet", 1, "business"),
        (11, 4, "fleet", 2, "business"),
        (15, 6, "fleet", 2, "business"),
        (21, 5, "fleet", 3, "business"),
        (26, 5, "", 0, ""),
    ]
    assert [one.terms.status if one.terms else "" for one in found][:4] == ["", "trial", "trial", "active"]
    assert [dict(one.terms.committed) if one.terms else {} for one in found][2:6] == [
        {"seats": 2},
        {},
        {},
        {"seats": 9},
    ]


def test_a_change_of_card_forgets_the_pinned_version() -> None:
    found = parts(active("2026-01-01", version=2), {"from": date(2026, 11, 16), "status": "changed", "card": "other"})
    assert shown(found) == [(1, 15, "fleet", 2, "team"), (16, 15, "other", 7, "team")]


def test_a_change_that_changes_nothing_makes_no_part() -> None:
    row = {"from": date(2026, 10, 16), "status": "changed", "plan": "team"}
    assert len(parts(active("2026-01-01"), row, period="2026-10")) == 1


@pytest.mark.parametrize(
    ("rows", "account", "message"),
    [
        ([active("2026-01-01", card="missing")], {}, "no version that is effective"),
        ([active("2026-01-01", version=9)], {}, "no published version 9"),
        ([active("2026-01-01", plan="gold")], {}, "has no plan 'gold', but business, team"),
        (
            [active("2026-01-01")],
            {"time_zone": "UTC", "currency": "USD"},
            "pays in USD, but version 1 of 'fleet' is in EUR",
        ),
    ],
)
def test_what_does_not_fit_is_refused(rows: list[dict[str, Any]], account: dict[str, Any], message: str) -> None:
    subscriber = Subscriber(
        account=Account(**{"account": "acme", "currency": "EUR", **account}),
        subscriptions=tuple(Subscription.model_validate(row) for row in rows),
    )
    period = subscriber.account.rule.named("2026-11")
    assert period is not None
    with pytest.raises(AccountsError, match=message):
        segments_of(subscriber, period, CARDS)


@given(
    st.lists(st.tuples(st.integers(0, 70), st.sampled_from(["active", "cancelled", "trial"])), max_size=6),
    st.sampled_from(["Europe/Berlin", "Asia/Kolkata", "Africa/Cairo", "Pacific/Auckland"]),
    st.sampled_from([("calendar", 1, "2026-11"), ("anniversary", 31, "2026-10-31")]),
)
def test_parts_fill_the_period(rows: list[tuple[int, str]], zone: str, kind: tuple[str, int, str]) -> None:
    days = {date(2026, 10, 1) + timedelta(days=day): status for day, status in rows}
    history, holds = [], False
    for day in sorted(days):
        if days[day] == "cancelled":
            if holds:
                history.append({"from": day, "status": "cancelled"})
            holds = False
        else:
            history.append({"from": day, "status": days[day], "card": "fleet", "plan": "team"})
            holds = True
    found = _parts(history, zone, kind)
    assert sum(one.days for one in found) == found[0].period_days
    assert [one.end for one in found[:-1]] == [one.start for one in found[1:]]
    assert all(first.terms != second.terms for first, second in itertools.pairwise(found))


def _parts(history: list[dict[str, Any]], zone: str, kind: tuple[str, int, str]) -> list[Part]:
    name, anchor, period_name = kind
    account = Account.model_validate(
        {"account": "acme", "currency": "EUR", "time_zone": zone, "period": name, "anchor_day": anchor}
    )
    subscriber = Subscriber(account=account, subscriptions=tuple(Subscription.model_validate(row) for row in history))
    period = account.rule.named(period_name)
    assert period is not None
    return segments_of(subscriber, period, CARDS)


def test_a_part_ends_where_a_rate_of_exchange_changes() -> None:
    cut = replace(CARDS["other"][0], cut_days=frozenset({date(2026, 11, 6)}))
    subscriber = Subscriber(
        account=Account(account="acme", currency="EUR"),
        subscriptions=(Subscription.model_validate(active("2026-01-01", card="other")),),
    )
    period = subscriber.account.rule.named("2026-11")
    assert period is not None
    found = segments_of(subscriber, period, {"other": [cut]})
    assert shown(found) == [(1, 5, "other", 7, "team"), (6, 25, "other", 7, "team")]


def test_an_experiment_on_the_plan_gives_the_plan_of_the_accounts_arm() -> None:
    """acme falls into the upper half of the hash's range (see test_cohorts), which is that of the later name."""
    arms = {"a": {"weight": 1, "plan": "team"}, "b": {"weight": 1, "plan": "business"}}
    experiment = Experiment.model_validate({"salt": "autumn", "on": "team", "arms": arms})
    first, second, third = CARDS["fleet"]
    subscriber = Subscriber(
        account=Account(account="acme", currency="EUR"),
        subscriptions=(Subscription.model_validate(active("2026-01-01")),),
    )
    period = subscriber.account.rule.named("2026-11")
    assert period is not None
    found = segments_of(subscriber, period, {"fleet": [first, replace(second, experiments=(experiment,)), third]})
    assert shown(found) == [
        (1, 10, "fleet", 1, "team"),
        (11, 10, "fleet", 2, "business"),
        (21, 10, "fleet", 3, "team"),
    ]


def test_rows_that_no_card_fits_are_named_before_a_close_finds_them() -> None:
    found = misfits(
        subscriber_of(
            active("2025-12-31"),
            active("2026-01-01"),
            {"from": date(2026, 2, 1), "status": "changed", "plan": "taem"},
            {"from": date(2026, 3, 1), "status": "cancelled"},
            active("2026-04-01", version=9),
            active("2026-05-01", card="flete"),
        ),
        CARDS,
    )
    assert [(day.month, words) for (day, reason) in found.items() for words in [reason.split(": ", 1)[1]]] == [
        (12, "rate card 'fleet' has no version that is effective by then; publish one, or change the subscription"),
        (2, "version 1 of 'fleet' has no plan 'taem', but business, team"),
        (4, "rate card 'fleet' has no published version 9; publish one, or change the subscription"),
        (5, "rate card 'flete' has no version that is effective by then; publish one, or change the subscription"),
    ]
    assert misfits(subscriber_of(active("2026-01-01")), CARDS) == {}


def test_what_the_card_has_nothing_for_is_named() -> None:
    known = replace(CARDS["other"][0], prices=frozenset({"tokens"}), commitments=frozenset({"seats"}))
    off = [{"name": "loyal", "percent": 5, "prices": ["tokens", "tokn"]}]
    found = without_effect(
        subscriber_of(
            active("2026-01-01", card="other", committed={"seat": 10, "seats": 2}),
            active("2026-02-01", card="other", discounts=off),
            active("2026-03-01", card="other", committed={"seats": 10}),
            active("2026-04-01", card="flete", committed={"seat": 10}),
        ),
        {"other": [known]},
    )
    assert [(day.month, reason) for day, reason in found.items()] == [
        (1, "account 'acme' on 2026-01-01: version 7 of 'other' has nothing for committed 'seat'"),
        (2, "account 'acme' on 2026-02-01: version 7 of 'other' has nothing for discount 'loyal' on price 'tokn'"),
    ]
    assert without_effect(subscriber_of(active("2026-01-01", committed={"seat": 1})), CARDS) == {}
