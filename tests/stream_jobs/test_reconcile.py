"""The audit says "ok" of a sound ledger only, and names what is wrong with another."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest
from fleetmeter_jobs.ledger import Counts, PartitionId, Position, Tail
from fleetmeter_jobs.ledger.store import Decision, Reason, Tally
from fleetmeter_jobs.reconcile import LogEnds, Report, SharedFacts, describe, notes, reconcile

TOPIC = "fleetmeter.usage"


def tally(**changes: int) -> Tally:
    """Partition 0, offsets 10 to 110: 90 records, 6 control and 4 aborted offsets; 200 events."""
    counts = {
        "records": 90,
        "control_offsets": 6,
        "aborted_offsets": 4,
        "events_in": 200,
        "accepted": 150,
        "duplicates": 30,
        "rejected": 20,
    }
    counts.update({name: value for name, value in changes.items() if name in counts})
    return Tally(
        partition=PartitionId(TOPIC, changes.get("partition", 0), changes.get("epoch", 0)),
        position=Position(
            first_offset=10,
            next_offset=changes.get("next_offset", 110),
            tail=Tail(110, "n", "t", 0, 0, 202603),
            totals=Counts(**counts),
            commits=7,
        ),
        usage_events=changes.get("usage_events", 140),
        facts=changes.get("facts", 10),
        quarantined=changes.get("quarantined", 20),
    )


class Tallies:
    def __init__(self, *tallies: Tally) -> None:
        self._tallies = list(tallies)
        self.said: dict[str, Reason] = {}

    def tallies(self) -> list[Tally]:
        return self._tallies

    def partitions(self, topic: str) -> list[int]:
        return [one.partition.partition for one in self._tallies if one.partition.topic == topic]

    def reasons(self) -> dict[str, Reason]:
        return self.said


def audit(*tallies: Tally, start: int = 0, end: int = 130, partitions: tuple[int, ...] = (0,)) -> Report:
    return reconcile(Tallies(*tallies), lambda: {(TOPIC, n): LogEnds(start, end) for n in partitions})


def test_a_sound_ledger() -> None:
    report = audit(tally())
    assert report.ok
    assert describe(report) == []
    values = report.as_dict()
    (partition,) = cast("list[dict[str, object]]", values.pop("partitions"))
    assert values == {
        "ok": True,
        "kafka_records": 120,
        "events_in": 200,
        "accepted": 150,
        "duplicates": 30,
        "rejected": 20,
        "counted": 150,
        "quarantined": 20,
        "offsets_span": 100,
        "offsets_committed": 100,
        "pending": 20,
        "shared": 0,
        "skipped": 0,
        "lost": 0,
        "double_counted": 0,
    }
    assert partition == {"topic": TOPIC, "partition": 0, "epoch": 0, "problems": [], "notes": [], **values}


@pytest.mark.parametrize(
    ("changes", "lost", "doubled", "says"),
    [
        ({"records": 87}, 3, 0, "97 found, 100 expected: 3 lost"),
        ({"records": 95}, 0, 5, "105 found, 100 expected: 5 counted twice"),
        ({"usage_events": 138}, 2, 0, "148 found, 150 expected: 2 lost"),
        ({"facts": 11}, 0, 1, "151 found, 150 expected: 1 counted twice"),
        ({"usage_events": 139, "facts": 12}, 0, 1, "counted twice"),
        ({"duplicates": 29}, 0, 0, "200 events in are not 150 accepted + 29 duplicates + 20 rejected"),
        ({"quarantined": 18}, 2, 0, "quarantine has 18 rows for 20 rejected"),
        ({"quarantined": 21}, 0, 0, "quarantine has 21 rows for 20 rejected"),
        # A second commit of offsets 60 to 110: its records and events count again, its offsets don't reach further.
        (
            {"records": 140, "events_in": 300, "accepted": 225, "duplicates": 45, "rejected": 30, "usage_events": 215},
            10,
            50,
            "150 found, 100 expected: 50 counted twice",
        ),
    ],
)
def test_what_is_wrong_is_counted_and_named(changes: dict[str, int], lost: int, doubled: int, says: str) -> None:
    report = audit(tally(**changes))
    assert not report.ok
    assert (report.total.lost, report.total.double_counted) == (lost, doubled)
    assert says in describe(report)[0]
    assert describe(report)[0].startswith(f"{TOPIC}-0/0: ")


def test_facts_that_another_log_has_are_no_loss_and_those_forgotten_may_be_none() -> None:
    def audited(found: SharedFacts) -> Report:
        return reconcile(Tallies(tally(facts=4)), lambda: {(TOPIC, 0): LogEnds(0, 130)}, lambda _tally: found)

    known = audited(SharedFacts(accepted=6, forgotten=3))
    assert (known.ok, known.total.lost, known.total.shared) == (True, 0, 6)
    for found, lost in ((SharedFacts(accepted=4, forgotten=3), 2), (SharedFacts(accepted=-1, forgotten=3), 6)):
        report = audited(found)
        assert (report.ok, report.total.lost) == (False, lost)
        (problem,) = describe(report)
        assert f"{lost} lost. Up to 3 of them may be facts that another partition accepted too" in problem
    assert describe(audited(SharedFacts()))[0].endswith("6 lost")


def test_a_position_beyond_the_log() -> None:
    report = audit(tally(), end=100)
    assert not report.ok
    assert "lies beyond the log's end 100" in describe(report)[0]
    assert report.total.pending == 0


def test_what_retention_took_unread_is_lost() -> None:
    report = audit(tally(), start=115)
    assert not report.ok
    assert report.total.lost == 5
    assert report.total.pending == 15
    assert "retention took 5 offsets from 110 on" in describe(report)[0]


def test_a_partition_that_kafka_does_not_know() -> None:
    report = audit(tally(), partitions=())
    assert not report.ok
    assert "Kafka does not" in describe(report)[0]


def test_partitions_are_summed_and_those_not_begun_are_pending() -> None:
    report = audit(tally(), tally(partition=1, next_offset=111, records=91), partitions=(0, 1, 2), start=4)
    assert report.ok
    assert [each.partition.partition for each in report.partitions] == [0, 1, 2]
    assert report.total.offsets_span == 201
    assert report.total.accepted == 300
    assert [each.line.pending for each in report.partitions] == [20, 19, 126]
    assert [each.line.kafka_records for each in report.partitions] == [120, 120, 126]


def test_of_log_epochs_only_the_newest_is_held_against_kafka() -> None:
    """The older log is gone; what was counted from it must still add up."""
    report = audit(tally(), tally(epoch=1), end=115)
    assert report.ok
    assert [each.line.pending for each in report.partitions] == [0, 5]
    assert [each.line.kafka_records for each in report.partitions] == [100, 105]
    assert not audit(tally(records=1), tally(epoch=1)).ok


def test_kafka_is_asked_after_the_ledger() -> None:
    order: list[str] = []

    class Ordered(Tallies):
        def tallies(self) -> list[Tally]:
            order.append("ledger")
            return super().tallies()

    def ends() -> dict[tuple[str, int], LogEnds]:
        order.append("kafka")
        return {(TOPIC, 0): LogEnds(0, 110)}

    assert reconcile(Ordered(tally()), ends).ok
    assert order == ["ledger", "kafka"]


def test_totals_follow_from_the_parts() -> None:
    lines = [replace(tally(partition=n), usage_events=140 - n) for n in range(3)]
    report = audit(*lines, partitions=(0, 1, 2))
    assert report.total.lost == 0 + 1 + 2
    assert [each.ok for each in report.partitions] == [True, False, False]


def skipped(*nonces: str, offsets: int = 8) -> Tally:
    """The sound tally, but that 8 of its records were left out by decision."""
    sound = tally(records=82)
    position = replace(sound.position, totals=replace(sound.position.totals, skipped_offsets=8))
    decisions = tuple(Decision(sound.partition, "skip", 30, 30 + offsets, offsets, nonce) for nonce in nonces)
    return replace(sound, position=position, decisions=decisions)


def test_what_an_operator_left_out_is_no_loss_and_is_said() -> None:
    store = Tallies(skipped("n-1"))
    store.said = {"n-1": Reason("ana", "retention was too short", datetime(2026, 5, 1, 12, 30, tzinfo=UTC))}
    report = reconcile(store, lambda: {(TOPIC, 0): LogEnds(0, 130)})
    assert report.ok
    assert (report.total.lost, report.total.skipped) == (0, 8)
    (note,) = notes(report)
    assert note.startswith(f"{TOPIC}-0/0: offsets 30 to 38 (8) were left out by decision of ana on 2026-05-01 12:30")
    assert note.endswith(" UTC: retention was too short")


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (skipped("n-2"), "has no row in position_changes"),
        (skipped(), "8 offsets are accounted for as skipped, but operators have skipped 0"),
        (skipped("n-1", offsets=9), "8 offsets are accounted for as skipped, but operators have skipped 9"),
    ],
)
def test_a_skip_that_nobody_answers_for_is_a_problem(told: Tally, says: str) -> None:
    store = Tallies(told)
    store.said = {"n-1": Reason("ana", "why", datetime(2026, 5, 1, tzinfo=UTC))}
    report = reconcile(store, lambda: {(TOPIC, 0): LogEnds(0, 130)})
    assert not report.ok
    assert any(says in line for line in describe(report))
