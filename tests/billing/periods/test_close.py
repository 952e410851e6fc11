"""Closing two periods, one after the other: what is frozen, what comes late, and what nobody pays for.

One database, and an account for each question, since a close costs the same for one account as for ten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fleetmeter_billing.periods.close import CloseRules, Outcome, close_period
from fleetmeter_billing.periods.close_log import winning_closes
from fleetmeter_billing.periods.verify import altered_tables
from fleetmeter_billing.rates.meter import Meter
from fleetmeter_billing.usage.frozen import corrections, frozen_adjustments, frozen_segments, frozen_usage, unbilled
from fleetmeter_doubles.billing_store import new_store
from fleetmeter_doubles.counted_usage import CountedUsage, apply_yaml, card_version
from fleetmeter_local import RunningClickHouse

pytestmark = pytest.mark.clickhouse

RULES = CloseRules(lateness_s=3600, by="test")
TOKENS = Meter(name="tokens", measure="output_tokens")
NAMES = ("zoned", "late", "seated", "resolving", "visited", "adjusted", "mixed")
ACCOUNT = """
  - account: {name}
    currency: EUR
    time_zone: Europe/Berlin
    subscription: [{{from: {since}, card: fleet}}]
"""
GONE = """
  - account: gone
    currency: EUR
    subscription: [{from: 2026-01-01, card: fleet}, {from: 2026-11-10, status: cancelled}]
"""
OUTCOME: dict[str, Any] = {"event_type": "outcome", "name": "ticket_resolved"}
CARDS_AFTER = {"fleet": [card_version(), card_version(2, "2026-11-01")]}


@dataclass
class Story:
    """Two closed periods; the card had a second version, dated back, before the second was closed."""

    counted: CountedUsage
    first: Outcome
    second: Outcome

    def used(self, account: str, meter: Meter = TOKENS, period: str = "2026-11", *, through: int = 2) -> dict[Any, int]:
        """By segment and group: quantities as of a close."""
        closes = winning_closes(self.counted.client, through=through)
        version = 1 if period == "2026-11" else 2
        found = frozen_usage(self.counted.client, closes, period, "fleet", version, [meter], [account])
        return {
            (one.segment, *(value for _, value in metered.group)): metered.quantity
            for one in found
            for metered in one.usage
        }


@pytest.fixture(scope="module")
def story(clickhouse: RunningClickHouse) -> Iterator[Story]:
    with new_store(clickhouse) as counted:
        accounts = "".join(ACCOUNT.format(name=name, since="2026-01-01") for name in NAMES)
        apply_yaml(counted.client, f"accounts:{accounts}{GONE}")
        november(counted)
        cards = {"fleet": [card_version()]}
        first = close_period(counted.client, "2026-11", lambda: cards, RULES)
        apply_yaml(counted.client, f"accounts:{ACCOUNT.format(name='newcomer', since='2026-11-10')}")
        december(counted)
        yield Story(counted, first, close_period(counted.client, "2026-12", lambda: CARDS_AFTER, RULES))


def november(counted: CountedUsage) -> None:
    # Berlin's November is 2026-10-31T23:00Z to 2026-11-30T23:00Z.
    for minute, tokens in (("10-31 22:59", 1), ("10-31 23:00", 10), ("11-30 22:59", 100), ("11-30 23:00", 1000)):
        counted.usage("zoned", f"2026-{minute}:00", output_tokens=tokens)
    counted.usage("late", "2026-11-05 10:00:00", output_tokens=10, model="a")
    counted.usage(
        "mixed", "2026-11-05 10:00:00", input_tokens=100, cache_read_input_tokens=30, usage_fidelity="measured"
    )
    counted.usage("mixed", "2026-11-05 10:00:00", input_tokens=7, usage_fidelity="estimated", service_tier="batch")
    counted.usage("stranger", "2026-11-30 23:30:00", input_tokens=3, output_tokens=4)
    counted.fact("stranger", "2026-11-09 00:00:00", "f1", kind="download", model="m")
    counted.usage("gone", "2026-11-09 10:00:00", output_tokens=1)
    counted.usage("gone", "2026-11-11 10:00:00", output_tokens=2)
    counted.usage("newcomer", "2026-11-15 10:00:00", output_tokens=7)
    counted.fact("resolving", "2026-11-08 00:00:00", "o1", quantity=3, value_minor=900, currency="EUR", **OUTCOME)
    counted.fact("resolving", "2026-11-08 00:00:00", "o2", quantity=1, value_minor=400, **OUTCOME)
    counted.fact("resolving", "2026-11-09 00:00:00", "r0", quantity=1, reverses="never-seen", **OUTCOME)
    counted.subject("visited", "user", "u1", "2026-11-03 10:00:00", "2026-11-03 11:00:00")
    counted.subject("visited", "user", "u1", "2026-11-04 10:00:00")
    # On the last UTC day of November, but in Berlin's December; and one in both.
    counted.subject("visited", "user", "u2", "2026-11-30 23:30:00")
    counted.subject("visited", "user", "u3", "2026-11-30 22:30:00", "2026-11-30 23:30:00")
    counted.subject("visited", "conversation", "u9", "2026-11-04 10:00:00")
    counted.adjustment("adjusted", "2026-11-20 00:00:00", "a1", meter="output_tokens", quantity=-5)
    seat = {"kind": "seat", "seat_kind": "device"}
    week = {**seat, "period_start": "2026-11-01 00:00:00", "period_end": "2026-11-08 00:00:00"}
    over = {**seat, "period_start": "2026-11-29 00:00:00", "period_end": "2026-12-06 00:00:00"}
    counted.fact("seated", "2026-11-08 00:00:00", "e1", installation="i1", **week)
    counted.fact("seated", "2026-11-09 00:00:00", "e2", installation="i1", **week)
    counted.fact("seated", "2026-12-06 00:00:00", "e4", installation="i4", **over)
    # Written, but its commit is still to come.
    beyond = counted.fact("seated", "2026-11-09 00:00:00", "e3", installation="i2", **week)
    counted.marker("2026-12-01 02:00:00", next_offset=beyond)


def december(counted: CountedUsage) -> None:
    counted.usage("late", "2026-11-05 10:00:00", output_tokens=5, model="a", labels="team=x")
    counted.usage("late", "2026-11-07 10:00:00", output_tokens=7, model="b")
    counted.usage("late", "2026-12-07 10:00:00", output_tokens=1000)
    counted.fact("resolving", "2026-12-09 00:00:00", "r1", quantity=1, value_minor=300, reverses="o1", **OUTCOME)
    counted.fact("resolving", "2026-12-09 00:00:00", "r2", quantity=5, reverses="o2", **OUTCOME)
    counted.subject("visited", "user", "u1", "2026-11-05 10:00:00")
    counted.subject("visited", "user", "u4", "2026-11-05 10:00:00")
    late = {"meter": "output_tokens", "quantity": 9, "effective_time": "2026-11-03 00:00:00"}
    counted.adjustment("adjusted", "2026-12-20 00:00:00", "a2", **late)
    counted.marker("2027-01-02 00:00:00")


def test_usage_is_frozen_by_the_accounts_own_midnights(story: Story) -> None:
    assert story.used("zoned") == {(0,): 110}
    assert story.used("zoned", period="2026-12") == {(0,): 1000}
    closes = winning_closes(story.counted.client, through=1)
    (segment,) = frozen_segments(story.counted.client, closes, "2026-11", ["zoned"])
    assert segment.segment is not None
    assert (segment.segment.card, segment.segment.version, segment.segment.days) == ("fleet", 1, 30)
    assert f"{segment.start:%d %H} {segment.end:%d %H}" == "31 23 30 23"


def test_a_period_is_closed_once(story: Story) -> None:
    assert (story.first.ours, story.second.ours) == (True, True)
    again = close_period(story.counted.client, "2026-11", dict, RULES)
    assert (again.ours, again.close) == (False, story.first.close)
    closes = winning_closes(story.counted.client)
    assert closes == [story.first.close, story.second.close]
    assert [altered_tables(story.counted.client, one) for one in closes] == [[], []]


def test_late_usage_is_frozen_with_the_next_close(story: Story) -> None:
    by_model = Meter(name="tokens", measure="output_tokens", group_by=("model",))
    assert story.used("late", by_model, through=1) == {(0, "a"): 10}
    assert story.used("late", by_model) == {(0, "a"): 15, (0, "b"): 7}
    assert story.used("late", period="2026-12") == {(0,): 1000}


def test_a_close_tells_whom_it_corrected(story: Story) -> None:
    assert story.second.close.corrected == ("2026-11",)
    found = corrections(story.counted.client, story.second.close)
    assert found == {"2026-11": ("adjusted", "late", "newcomer", "resolving", "seated", "visited")}
    assert corrections(story.counted.client, story.first.close) == {}


def test_parts_are_taken_off_and_estimates_left_out_unless_the_meter_says_so(story: Story) -> None:
    fresh = Meter(name="fresh", measure="input_tokens", minus=("cache_read_input_tokens",))
    assert story.used("mixed", fresh) == {(0,): 70}
    every = Meter(name="all", measure="input_tokens", include_estimated=True, group_by=("service_tier",))
    assert story.used("mixed", every) == {(0, ""): 100, (0, "batch"): 7}
    batch = Meter(name="b", measure="input_tokens", where={"service_tier": ("batch",)}, include_estimated=True)
    assert story.used("mixed", batch) == {(0,): 7}


def test_facts_count_below_the_committed_position_and_where_their_span_lies(story: Story) -> None:
    seats = Meter(name="seats", fact="seat")
    assert story.used("seated", seats, through=1) == {(0,): 2}
    assert story.used("seated", seats) == {(0,): 3}
    assert story.used("seated", seats, "2026-12") == {(0,): 1}


def test_facts_count_where_their_log_went_on_in_another_epoch(clickhouse: RunningClickHouse) -> None:
    """A worker that stood still while the topic grew has written the row again, under the epoch that it knew."""
    seat = {"kind": "seat", "period_start": "2026-11-01 00:00:00", "period_end": "2026-11-08 00:00:00"}
    with new_store(clickhouse) as counted:
        apply_yaml(counted.client, f"accounts:{ACCOUNT.format(name='seated', since='2026-01-01')}")

        def commit(partition: int, epoch: int, first_offset: int, topic_id: str) -> int:
            """One seat under epoch 0, and its commit under `epoch`; returns where that ends."""
            values = {**seat, "installation": f"i{partition}{epoch}", "partition": partition}
            end = counted.fact("seated", "2026-11-08 00:00:00", f"e{partition}{epoch}", **values) + 1
            begins = {"epoch": epoch, "first_offset": first_offset, "topic_id": topic_id}
            counted.marker("2026-12-02 00:00:00", end, partition, **begins)
            return end

        for partition, successor in enumerate(["a log", "another log"]):
            closed = commit(partition, 0, 0, "a log")
            commit(partition, 1, closed, successor)
        outcome = close_period(counted.client, "2026-11", lambda: {"fleet": [card_version()]}, RULES)
        story = Story(counted, outcome, outcome)
        assert story.used("seated", Meter(name="seats", fact="seat"), through=1) == {(0,): 3}


def test_a_reversal_takes_an_outcome_back_where_it_was_counted(story: Story) -> None:
    resolved = Meter(name="resolved", fact="outcome", where={"name": ("ticket_resolved",)})
    value = Meter(name="value", fact="outcome", sum="value_minor")
    events = Meter(name="events", fact="outcome", count="events")
    assert (story.used("resolving", resolved, through=1), story.used("resolving", resolved)) == ({(0,): 4}, {(0,): 2})
    assert (story.used("resolving", value, through=1), story.used("resolving", value)) == ({(0,): 1300}, {(0,): 600})
    assert (story.used("resolving", events, through=1), story.used("resolving", events)) == ({(0,): 2}, {(0,): 1})
    assert story.used("resolving", resolved, "2026-12") == {}


def test_subjects_are_counted_once_a_part_of_the_period(story: Story) -> None:
    users = Meter(name="users", distinct="user")
    assert (story.used("visited", users, through=1), story.used("visited", users)) == ({(0,): 2}, {(0,): 3})
    assert story.used("visited", users, "2026-12") == {(0,): 2}


def test_adjustments_come_with_the_period_of_what_they_correct(story: Story) -> None:
    found = frozen_adjustments(story.counted.client, winning_closes(story.counted.client), "2026-11")
    assert [(one.event_id, one.quantity, one.seq) for one in found] == [("a1", -5, 1), ("a2", 9, 2)]


def test_usage_that_nobody_pays_for_is_listed(story: Story) -> None:
    listed = unbilled(story.counted.client, story.first.close)
    assert [(one.account, one.reason, one.requests, one.output_tokens, one.facts) for one in listed] == [
        ("gone", "no_subscription", 1, 2, 0),
        ("newcomer", "no_account", 1, 7, 0),
        ("stranger", "no_account", 1, 4, 1),
    ]
    assert story.used("gone") == {(0,): 1}


def test_a_subscription_dated_back_behind_a_close_joins_with_the_next(story: Story) -> None:
    parts = frozen_segments(story.counted.client, winning_closes(story.counted.client), "2026-11", ["newcomer"])
    assert [(one.index, one.segment and one.segment.days, one.seq) for one in parts] == [(0, None, 2), (1, 21, 2)]
    closes = winning_closes(story.counted.client)
    (used,) = frozen_usage(story.counted.client, closes, "2026-11", "fleet", 2, [TOKENS], ["newcomer"])
    assert (used.segment, used.usage[0].quantity) == (1, 7)


def test_what_was_published_later_does_not_move_a_closed_period(story: Story) -> None:
    assert story.first.close.cards == (("fleet", 1),)
    closes = winning_closes(story.counted.client)
    (segment,) = frozen_segments(story.counted.client, closes, "2026-11", ["late"])
    assert segment.segment is not None
    assert segment.segment.version == 1
