"""Closing a period: what is frozen, what late usage does, and what nobody pays for."""

from __future__ import annotations

from typing import Any

import pytest
from fleetmeter_billing.errors import AccountsError, IncompleteError, LedgerShrankError, PeriodError
from fleetmeter_billing.periods.close import CloseRules, close_period
from fleetmeter_billing.periods.close_log import winning_closes
from fleetmeter_billing.rates.meter import Meter
from fleetmeter_billing.usage.frozen import (
    corrections,
    frozen_adjustments,
    frozen_segments,
    frozen_usage,
    unbilled,
)
from fleetmeter_doubles.counted_usage import CountedUsage, apply_yaml, card_version, one_card

pytestmark = pytest.mark.clickhouse

RULES = CloseRules(lateness_s=3600, by="test")
TOKENS = Meter(name="tokens", measure="output_tokens")
ACME = """
accounts:
  - account: acme
    currency: EUR
    time_zone: Europe/Berlin
    subscription: [{from: 2026-01-01, card: fleet}]
"""


def used(counted: CountedUsage, period: str, meter: Meter = TOKENS, *, through: int | None = None) -> dict[Any, int]:
    closes = winning_closes(counted.client, through=through)
    return {
        (one.account, one.segment, *(value for _, value in metered.group)): metered.quantity
        for one in frozen_usage(counted.client, closes, period, "fleet", 1, [meter])
        for metered in one.usage
    }


def test_usage_of_the_period_in_the_accounts_time_zone_is_frozen(counted: CountedUsage) -> None:
    apply_yaml(counted.client, ACME)
    # Berlin's November is 2026-10-31T23:00Z to 2026-11-30T23:00Z.
    counted.usage("acme", "2026-10-31 22:59:00", output_tokens=1)
    counted.usage("acme", "2026-10-31 23:00:00", output_tokens=10)
    counted.usage("acme", "2026-11-30 22:59:00", output_tokens=100)
    counted.usage("acme", "2026-11-30 23:00:00", output_tokens=1000)
    counted.marker("2026-12-01 00:00:00")
    outcome = close_period(counted.client, "2026-11", one_card, RULES)
    assert outcome.ours
    assert outcome.close.seq == 1
    assert used(counted, "2026-11") == {("acme", 0): 110}
    again = close_period(counted.client, "2026-11", one_card, RULES)
    assert not again.ours
    assert again.close == winning_closes(counted.client)[0]
    (segment,) = frozen_segments(counted.client, winning_closes(counted.client), "2026-11")
    assert segment.segment is not None
    assert (segment.segment.card, segment.segment.version, segment.segment.days) == ("fleet", 1, 30)
    assert f"{segment.start:%d %H} {segment.end:%d %H}" == "31 23 30 23"


def test_a_period_that_is_not_complete_is_refused_with_what_each_partition_lacks(counted: CountedUsage) -> None:
    apply_yaml(counted.client, ACME)
    with pytest.raises(IncompleteError, match="nothing has been counted yet"):
        close_period(counted.client, "2026-11", one_card, RULES)
    counted.marker("2026-11-30 23:59:59")
    counted.marker("2026-12-02 00:00:00", partition=1)
    with pytest.raises(IncompleteError, match=r"t/0 has come to 2026-11-30 23:59:59 and lacks 1 second\. ") as refused:
        close_period(counted.client, "2026-11", one_card, RULES)
    assert "t/1 has" not in str(refused.value)
    assert winning_closes(counted.client) == []


def test_late_usage_is_frozen_with_the_next_close(counted: CountedUsage) -> None:
    apply_yaml(counted.client, ACME)
    counted.usage("acme", "2026-11-05 10:00:00", output_tokens=10, model="a")
    counted.marker("2026-12-01 00:00:00")
    close_period(counted.client, "2026-11", one_card, RULES)
    counted.usage("acme", "2026-11-05 10:00:00", output_tokens=5, model="a", labels="team=x")
    counted.usage("acme", "2026-11-07 10:00:00", output_tokens=7, model="b")
    counted.usage("acme", "2026-12-07 10:00:00", output_tokens=1000)
    counted.marker("2027-01-02 00:00:00")
    close = close_period(counted.client, "2026-12", one_card, RULES).close
    assert close.corrected == ("2026-11",)
    by_model = Meter(name="tokens", measure="output_tokens", group_by=("model",))
    assert used(counted, "2026-11", by_model, through=1) == {("acme", 0, "a"): 10}
    assert used(counted, "2026-11", by_model) == {("acme", 0, "a"): 15, ("acme", 0, "b"): 7}
    assert used(counted, "2026-12") == {("acme", 0): 1000}
    assert corrections(counted.client, close) == {"2026-11": ("acme",)}
    counted.marker("2027-02-02 00:00:00")
    assert corrections(counted.client, close_period(counted.client, "2027-01", one_card, RULES).close) == {}


def test_facts_count_below_the_committed_position_only(counted: CountedUsage) -> None:
    apply_yaml(counted.client, ACME)
    span = {"period_start": "2026-11-01 00:00:00", "period_end": "2026-11-08 00:00:00"}
    seat = {"kind": "seat", "seat_kind": "device", **span}
    counted.fact("acme", "2026-11-08 00:00:00", "e1", installation="i1", **seat)
    counted.fact("acme", "2026-11-09 00:00:00", "e2", installation="i1", **seat)
    beyond = counted.fact("acme", "2026-11-09 00:00:00", "e3", installation="i2", **seat)
    counted.marker("2026-12-01 00:00:00", next_offset=beyond)
    seats = Meter(name="seats", fact="seat")
    close_period(counted.client, "2026-11", one_card, RULES)
    assert used(counted, "2026-11", seats) == {("acme", 0): 1}
    counted.marker("2027-01-02 00:00:00")
    close_period(counted.client, "2026-12", one_card, RULES)
    assert used(counted, "2026-11", seats) == {("acme", 0): 2}
    assert used(counted, "2026-12", seats) == {}


def test_a_reversal_takes_an_outcome_back_where_it_was_counted(counted: CountedUsage) -> None:
    apply_yaml(counted.client, ACME)
    outcome = {"event_type": "outcome", "name": "ticket_resolved"}
    counted.fact("acme", "2026-11-08 00:00:00", "o1", quantity=3, value_minor=900, currency="EUR", **outcome)
    counted.fact("acme", "2026-11-08 00:00:00", "o2", quantity=1, value_minor=400, **outcome)
    counted.fact("acme", "2026-11-09 00:00:00", "r0", quantity=1, reverses="never-seen", **outcome)
    counted.marker("2026-12-01 00:00:00")
    close_period(counted.client, "2026-11", one_card, RULES)
    resolved = Meter(name="resolved", fact="outcome", where={"name": "ticket_resolved"})
    value = Meter(name="value", fact="outcome", sum="value_minor")
    assert used(counted, "2026-11", resolved) == {("acme", 0): 4}
    counted.fact("acme", "2026-12-09 00:00:00", "r1", quantity=1, value_minor=300, reverses="o1", **outcome)
    counted.fact("acme", "2026-12-09 00:00:00", "r2", quantity=5, reverses="o2", **outcome)
    counted.marker("2027-01-02 00:00:00")
    close_period(counted.client, "2026-12", one_card, RULES)
    assert used(counted, "2026-11", resolved) == {("acme", 0): 2}
    assert used(counted, "2026-11", value) == {("acme", 0): 600}
    assert used(counted, "2026-11", value, through=1) == {("acme", 0): 1300}
    assert used(counted, "2026-12", resolved) == {}


def test_subjects_are_counted_once_a_part_of_the_period(counted: CountedUsage) -> None:
    apply_yaml(counted.client, ACME)
    counted.subject("acme", "user", "u1", "2026-11-03 10:00:00", "2026-11-03 11:00:00")
    counted.subject("acme", "user", "u1", "2026-11-04 10:00:00")
    # On the last UTC day of November, but in Berlin's December; and one in both.
    counted.subject("acme", "user", "u2", "2026-11-30 23:30:00")
    counted.subject("acme", "user", "u3", "2026-11-30 22:30:00", "2026-11-30 23:30:00")
    counted.subject("acme", "conversation", "u9", "2026-11-04 10:00:00")
    counted.marker("2026-12-01 00:00:00")
    close_period(counted.client, "2026-11", one_card, RULES)
    users = Meter(name="users", distinct="user")
    assert used(counted, "2026-11", users) == {("acme", 0): 2}
    counted.subject("acme", "user", "u1", "2026-11-05 10:00:00")
    counted.subject("acme", "user", "u4", "2026-11-05 10:00:00")
    counted.marker("2027-01-02 00:00:00")
    close_period(counted.client, "2026-12", one_card, RULES)
    assert used(counted, "2026-11", users) == {("acme", 0): 3}
    assert used(counted, "2026-12", users) == {("acme", 0): 2}


def test_adjustments_come_with_the_period_of_what_they_correct(counted: CountedUsage) -> None:
    apply_yaml(counted.client, ACME)
    counted.adjustment("acme", "2026-11-20 00:00:00", "a1", meter="output_tokens", quantity=-5)
    counted.marker("2026-12-01 00:00:00")
    close_period(counted.client, "2026-11", one_card, RULES)
    counted.adjustment(
        "acme", "2026-12-20 00:00:00", "a2", meter="output_tokens", quantity=9, effective_time="2026-11-03 00:00:00"
    )
    counted.marker("2027-01-02 00:00:00")
    close_period(counted.client, "2026-12", one_card, RULES)
    found = frozen_adjustments(counted.client, winning_closes(counted.client), "2026-11")
    assert [(one.event_id, one.quantity, one.seq) for one in found] == [("a1", -5, 1), ("a2", 9, 2)]


def test_usage_that_nobody_pays_for_is_listed(counted: CountedUsage) -> None:
    apply_yaml(
        counted.client,
        ACME
        + """
  - account: gone
    currency: EUR
    subscription: [{from: 2026-01-01, card: fleet}, {from: 2026-11-10, status: cancelled}]
""",
    )
    counted.usage("stranger", "2026-11-30 23:30:00", input_tokens=3, output_tokens=4)
    counted.fact("stranger", "2026-11-09 00:00:00", "e1", kind="download", model="m")
    counted.usage("gone", "2026-11-09 10:00:00", output_tokens=1)
    counted.usage("gone", "2026-11-11 10:00:00", output_tokens=2)
    counted.marker("2026-12-01 02:00:00")
    close = close_period(counted.client, "2026-11", one_card, RULES).close
    listed = [
        (one.account, one.reason, one.requests, one.output_tokens, one.facts) for one in unbilled(counted.client, close)
    ]
    assert listed == [("gone", "no_subscription", 1, 2, 0), ("stranger", "no_account", 1, 4, 1)]
    assert used(counted, "2026-11") == {("gone", 0): 1}


def test_a_subscription_dated_back_behind_a_close_joins_with_the_next(counted: CountedUsage) -> None:
    apply_yaml(counted.client, ACME)
    counted.usage("newcomer", "2026-11-15 10:00:00", output_tokens=7)
    counted.marker("2026-12-01 00:00:00")
    close_period(counted.client, "2026-11", one_card, RULES)
    apply_yaml(counted.client, ACME.replace("acme", "newcomer").replace("2026-01-01", "2026-11-10"))
    counted.marker("2027-01-02 00:00:00")
    close = close_period(counted.client, "2026-12", one_card, RULES).close
    assert corrections(counted.client, close) == {"2026-11": ("newcomer",)}
    assert used(counted, "2026-11") == {("newcomer", 1): 7}
    parts = frozen_segments(counted.client, winning_closes(counted.client), "2026-11", ["newcomer"])
    assert [(one.index, one.segment and one.segment.days, one.seq) for one in parts] == [(0, None, 2), (1, 21, 2)]


def test_what_was_agreed_later_does_not_move_a_closed_period(counted: CountedUsage) -> None:
    apply_yaml(counted.client, ACME)
    counted.usage("acme", "2026-11-05 10:00:00", output_tokens=10)
    counted.marker("2026-12-01 00:00:00")
    close_period(counted.client, "2026-11", one_card, RULES)
    two = {"fleet": [card_version(), card_version(2, "2026-11-01")]}
    counted.usage("acme", "2026-11-06 10:00:00", output_tokens=10)
    counted.marker("2027-01-02 00:00:00")
    close = close_period(counted.client, "2026-12", lambda: two, RULES).close
    assert close.cards == (("fleet", 2),)
    assert used(counted, "2026-11") == {("acme", 0): 20}


def test_a_ledger_that_lost_rows_is_never_credited(counted: CountedUsage) -> None:
    apply_yaml(counted.client, ACME)
    counted.usage("acme", "2026-11-05 10:00:00", output_tokens=10)
    counted.marker("2026-12-01 00:00:00")
    close_period(counted.client, "2026-11", one_card, RULES)
    counted.client.command("DELETE FROM ledger WHERE row_kind = 'usage'", settings={"lightweight_deletes_sync": 2})
    counted.marker("2027-01-02 00:00:00")
    with pytest.raises(LedgerShrankError, match="acme in 2026-11"):
        close_period(counted.client, "2026-12", one_card, RULES)
    # Outside the correction window nothing is compared, and the period can be closed.
    rules = CloseRules(lateness_s=3600, window_days=-1)
    assert close_period(counted.client, "2026-12", one_card, rules).close.corrected == ()


def test_periods_that_nobody_has_and_accounts_that_fit_no_card_are_refused(counted: CountedUsage) -> None:
    counted.marker("2026-12-01 00:00:00")
    with pytest.raises(PeriodError, match="no account has a billing period 2026-11"):
        close_period(counted.client, "2026-11", one_card, RULES)
    with pytest.raises(PeriodError, match="is no billing period"):
        close_period(counted.client, "november", one_card, RULES)
    apply_yaml(counted.client, ACME)
    with pytest.raises(AccountsError, match="rate card 'fleet' has no version that is effective by then"):
        close_period(counted.client, "2026-11", dict, RULES)
