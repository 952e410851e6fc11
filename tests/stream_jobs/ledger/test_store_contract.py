"""What commits rely on, on the ledger in memory and on a real ClickHouse alike."""

from __future__ import annotations

import secrets
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fleetmeter_doubles import APPEND_TIME_MS, MemoryLedger, SampleLog, TurnCancel, identities_in
from fleetmeter_jobs.ledger import (
    Backoff,
    ClickHouseStore,
    CommitContext,
    Committed,
    Lost,
    PartitionId,
    Position,
    commit,
    ensure_hash_key,
    ensure_position,
)
from fleetmeter_jobs.ledger.arrow_batch import encode_rows, marker_row
from fleetmeter_jobs.ledger.commit import encode_commit
from fleetmeter_jobs.ledger.decisions import Batch, Decided, decide, plan_growth_step
from fleetmeter_jobs.ledger.errors import LedgerError
from fleetmeter_jobs.ledger.growth_rows import growth_rows
from fleetmeter_jobs.ledger.position import Tail
from fleetmeter_jobs.ledger.side_rows import Fact, Rejection, fact_rows, quarantine_rows
from fleetmeter_jobs.ledger.store import GrowthStep, Guard, LedgerRows, NoPosition, PositionIs

Store = MemoryLedger | ClickHouseStore
PARTITION = PartitionId("fleetmeter.usage", 2, 1)
OTHER = PartitionId("fleetmeter.usage-2", 1)
"""Names that a careless joining would confuse with PARTITION's."""
LOG = SampleLog(PARTITION, 7, 107, seed=3)


def new_context() -> CommitContext:
    return CommitContext(cancel=TurnCancel(), backoff=Backoff(random=lambda: 0.0), now_ms=lambda: APPEND_TIME_MS)


def opened(store: Store, log: SampleLog = LOG) -> Position:
    return ensure_position(store, log.partition, log.start, "topic-id", APPEND_TIME_MS, new_context())


def put(
    store: Store, lo: int, hi: int, token: str, *, table_partition: int = 202603, guard: Guard | None = None
) -> None:
    """One bare marker insert, by hand."""
    tail = Tail(hi, secrets.token_hex(4), "topic-id", 0, 0, table_partition)
    rows = encode_rows([marker_row(PARTITION, table_partition, lo, tail, commits=1)])
    store.insert(rows, guard or PositionIs(PARTITION, lo), token)


def at(store: Store) -> tuple[int, int]:
    position = store.position(PARTITION)
    assert position is not None
    return position.next_offset, position.commits


def test_an_empty_ledger_has_nothing(store: Store) -> None:
    assert store.position(PARTITION) is None
    assert store.hash_key() is None
    assert list(store.blobs(PARTITION, 2**63)) == []
    assert store.tallies() == []


def test_the_first_position_is_the_logs_start(store: Store) -> None:
    made = opened(store)
    assert (made.first_offset, made.next_offset, made.commits) == (7, 7, 0)
    assert (made.tail.topic_id, made.tail.leader_epoch, made.tail.table_partition) == ("topic-id", -1, 202603)
    assert store.position(PARTITION) == made
    # Whoever comes later and sees another start of the log gets the first one's.
    again = ensure_position(store, PARTITION, 50, "other", APPEND_TIME_MS, new_context())
    assert again == made
    assert store.position(replace(PARTITION, epoch=0)) is None


def test_commits_read_back_exactly(store: Store) -> None:
    position, other_log = opened(store), SampleLog(OTHER, 0, 50, seed=9)
    other = opened(store, other_log)
    for step in (17, 18, 60, 107):
        outcome = commit(store, LOG.flush(position, step, f"nonce {step}"), new_context())
        assert isinstance(outcome, Committed)
        position = outcome.position
        if step == 18:
            assert isinstance(commit(store, other_log.flush(other, 50, "other"), new_context()), Committed)
    assert store.position(PARTITION) == position
    assert (position.first_offset, position.next_offset, position.commits) == (7, 107, 4)
    assert position.tail == Tail(107, "nonce 107", "topic-id", 4, 107, 202603)
    assert position.totals.records == 100
    assert position.totals.accepted == LOG.accepted(107)
    assert position.totals.rejected == LOG.rejected(107)
    assert position.watermark_us == max(record.minute for record in LOG.records.values()) * 1_000_000
    blobs = list(store.blobs(PARTITION, 107))
    assert [(blob.first_offset, blob.next_offset) for blob in blobs] == [(7, 17), (17, 18), (18, 60), (60, 107)]
    assert identities_in(blob.data for blob in blobs) == LOG.identities(107)
    assert identities_in(blob.data for blob in store.blobs(PARTITION, 60)) == LOG.identities(60)
    tallies = {tally.partition: tally for tally in store.tallies()}
    assert tallies[PARTITION].position == position
    assert tallies[PARTITION].usage_events == LOG.accepted(107)
    assert tallies[OTHER].usage_events == other_log.accepted(50)
    assert (tallies[PARTITION].facts, tallies[PARTITION].quarantined) == (0, 0)


def test_a_spent_token_lets_nothing_in(store: Store) -> None:
    opened(store)
    put(store, 7, 8, "a")
    put(store, 8, 9, "a")
    assert at(store) == (8, 1)
    put(store, 8, 9, "b")
    assert at(store) == (9, 2)


def test_tokens_are_remembered_by_table_partition(store: Store) -> None:
    """Why rivals for a position must meet in one table partition."""
    opened(store)
    put(store, 7, 8, "a", table_partition=202603)
    put(store, 8, 9, "a", table_partition=202604)
    assert at(store) == (9, 2)


def test_a_guard_that_does_not_hold_lets_nothing_in_and_spends_no_token(store: Store) -> None:
    opened(store)
    put(store, 6, 8, "a")
    put(store, 9, 10, "a")
    put(store, 0, 9, "b", guard=NoPosition(PARTITION))
    assert at(store) == (7, 0)
    put(store, 7, 8, "a")
    assert at(store) == (8, 1)


def test_without_any_marker_no_position_holds(store: Store) -> None:
    put(store, 0, 5, "a")
    assert store.position(PARTITION) is None


@pytest.mark.parametrize("kept", [0, 5, 100, 0.5, -1])
def test_a_cut_body_is_an_error_and_leaves_nothing(store: Store, kept: float) -> None:
    before = opened(store)
    rows = encode_commit(LOG.flush(before, 27, "mine"), 0)
    size = int(rows.body.size * kept) if isinstance(kept, float) else kept if kept >= 0 else rows.body.size + kept
    with pytest.raises(LedgerError):
        store.insert(LedgerRows(rows.row_count, rows.body.slice(0, size)), PositionIs(PARTITION, 7), "a")
    assert at(store) == (7, 0)


def test_of_many_rivals_one_commits(store: Store) -> None:
    """Threads that flush different ranges from the same position at the same moment, again and again."""
    position, rivals = opened(store), 4
    with ThreadPoolExecutor(rivals) as pool:
        for round_number in range(5):
            barrier = threading.Barrier(rivals)

            def race(number: int, barrier: threading.Barrier = barrier, here: Position = position) -> Committed | Lost:
                flush = LOG.flush(here, here.next_offset + 1 + number, f"{here.next_offset} {number}")
                barrier.wait(20)
                return commit(store, flush, new_context())

            outcomes = list(pool.map(race, range(rivals)))
            winners = [outcome for outcome in outcomes if isinstance(outcome, Committed)]
            assert len(winners) == 1
            assert {outcome.position for outcome in outcomes} == {winners[0].position}
            position = winners[0].position
            assert position.commits == round_number + 1
    assert position.totals.offsets == position.next_offset - 7
    assert position.totals.accepted == LOG.accepted(position.next_offset)
    assert store.tallies()[0].usage_events == LOG.accepted(position.next_offset)


def test_rivals_agree_on_start_and_hash_key(store: Store) -> None:
    rivals = 4
    barrier = threading.Barrier(rivals)

    def begin(number: int) -> tuple[Position, bytes]:
        barrier.wait(20)
        start = ensure_position(store, PARTITION, 100 + number, "topic-id", APPEND_TIME_MS, new_context())
        return start, ensure_hash_key(store, new_context())

    with ThreadPoolExecutor(rivals) as pool:
        answers = set(pool.map(begin, range(rivals)))
    assert len(answers) == 1
    ((position, key),) = answers
    assert position == store.position(PARTITION)
    assert position.first_offset == position.next_offset
    assert key == store.hash_key()
    assert len(key) == 16


def test_a_zombie_whose_token_was_forgotten_is_stopped_by_the_guard(
    store: Store, request: pytest.FixtureRequest
) -> None:
    opened(store)
    if isinstance(store, ClickHouseStore):
        store.http.execute("ALTER TABLE ledger MODIFY SETTING non_replicated_deduplication_window = 3")
    else:
        store._window = 3
    for offset in range(7, 15):
        put(store, offset, offset + 1, f"{offset}")
    put(store, 15, 16, "7")  # its token was forgotten, so that only the guard is left
    assert at(store) == (16, 9)
    put(store, 7, 8, "8")
    assert at(store) == (16, 9)


def test_side_rows_count_once_however_often_they_are_written(store: Store) -> None:
    before = opened(store)
    rejections = [
        Rejection(offset, index, APPEND_TIME_MS, 15, "data.gpu_ms", b"{\xff}") for offset in (8, 9) for index in (0, 3)
    ]
    facts = [
        Fact(10, 0, _outcome("1")),
        Fact(11, 0, _outcome("2")),
        Fact(11, 1, _adjustment("3")),
        Fact(12, 0, _estimate("4")),
    ]
    side_rows = (
        *quarantine_rows(PARTITION, rejections, payload_limit_bytes=2),
        *fact_rows(PARTITION, facts, label_keys=("team",)),
    )
    assert sorted(rows.table for rows in side_rows) == [
        "quarantine",
        "usage_adjustments",
        "usage_estimates",
        "usage_facts",
    ]
    for _ in range(2):
        for rows in side_rows:
            store.insert_side_rows(rows)
    (tally,) = store.tallies()
    assert (tally.facts, tally.quarantined) == (0, 0), "they wait for their commit"
    usage = LOG.flush(before, 12, "mine")
    counts = replace(usage.counts, accepted=usage.counts.accepted + 3, events_in=usage.counts.events_in + 3)
    blob = usage.blob + struct.pack("<QQQ", 10, 11, 11)
    commit(store, replace(usage, counts=counts, facts=3, blob=blob), new_context())
    (tally,) = store.tallies()
    assert (tally.facts, tally.quarantined) == (3, 4)
    assert tally.usage_events + tally.facts == tally.position.totals.accepted


def _event(number: str, kind: str, data: str) -> bytes:
    return (
        f'{{"specversion":"1.0","type":"fleetmeter.{kind}.v1","id":"{number}","source":"s","subject":"acme",'
        f'"time":"2026-03-01T12:00:00Z","data":{data}}}'
    ).encode()


def _outcome(number: str) -> bytes:
    return _event(number, "outcome", '{"name":"ticket_resolved","quantity":1,"labels":{"team":"é","secret":"x"}}')


def _adjustment(number: str) -> bytes:
    return _event(number, "adjustment", '{"meter":"output_tokens","quantity":-5,"reason":"double report"}')


def _estimate(number: str) -> bytes:
    return _event(
        number,
        "device_report",
        '{"kind":"estimate","model":"phi-4","period_hash":"h","queries":3,"queries_upper":9,'
        '"period_start":"0001-01-01T00:00:00Z","period_end":"2026-03-01T00:00:00Z"}',
    )


def test_steps_of_a_growth_and_decisions_of_a_topic_read_back(store: Store) -> None:
    planned = GrowthStep("g1", "planned", "", "topic-id", 2, 4, 30, (), "ana", APPEND_TIME_MS)
    settled = replace(planned, step="settled", nonce="g1.settled.a", ends=(7, 2**63), at_ms=APPEND_TIME_MS + 1)
    for step in (planned, planned, settled):
        store.insert_side_rows(growth_rows(PARTITION.topic, step))
    store.insert_side_rows(growth_rows(OTHER.topic, replace(planned, growth="g2")))
    assert sorted(store.growth_steps(PARTITION.topic), key=lambda one: one.step) == [planned, settled]
    assert store.partitions(PARTITION.topic) == []
    position = opened(store)
    change = plan_growth_step("grow", PARTITION, position, "g1.grow.2")
    decided = decide(store, change, Batch(3, 5), "ana", "it grows", new_context())
    assert isinstance(decided, Decided)
    (decision,) = store.topic_decisions(PARTITION.topic)
    assert (decision.partition, decision.kind, decision.nonce) == (change.to, "grow", "g1.grow.2")
    assert store.topic_decisions(OTHER.topic) == []
    assert store.partitions(PARTITION.topic) == [PARTITION.partition]
    ((closed, at), (newest, now)) = store.epochs(PARTITION.topic, PARTITION.partition)
    assert (closed, at.successor) == (PARTITION, change.to.epoch)
    assert (newest, now.first_offset, now.next_offset, now.watermark_us) == (change.to, 7, 7, position.watermark_us)
