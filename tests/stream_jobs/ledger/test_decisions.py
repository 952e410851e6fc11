"""An operator's decision and a worker's commit, or two decisions, for one position: one of them is made, whole."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fleetmeter_doubles import APPEND_TIME_MS, Fault, MemoryLedger, SampleLog, Turn, TurnCancel
from fleetmeter_jobs.audit.chain import check_chain
from fleetmeter_jobs.audit.shared_facts import rows_left
from fleetmeter_jobs.audit.strays import check_strays
from fleetmeter_jobs.ledger import (
    Backoff,
    ClickHouseStore,
    CommitContext,
    Committed,
    Lost,
    PartitionId,
    Position,
    commit,
    ensure_position,
)
from fleetmeter_jobs.ledger.context import CommitObserver, HookPoint
from fleetmeter_jobs.ledger.decisions import (
    NEW_EPOCH,
    SKIP,
    Batch,
    Decided,
    LogNow,
    Overtaken,
    decide,
    plan_new_epoch,
    plan_skip,
)
from fleetmeter_jobs.ledger.errors import BooksError, DecisionError
from fleetmeter_jobs.ledger.side_rows import Fact, Rejection, fact_rows, quarantine_rows
from fleetmeter_jobs.ledger.store import Decision
from fleetmeter_jobs.reconcile import LogEnds, describe, reconcile

Store = MemoryLedger | ClickHouseStore
OLD = PartitionId("fleetmeter.usage", 2, 0)
NEW = replace(OLD, epoch=1)
LOG = SampleLog(OLD, 7, 107, seed=3)
NOW = LogNow("topic-b", 3, 50)
SAME = LogNow("topic-a", 0, 107)


def new_context() -> CommitContext:
    return CommitContext(
        cancel=TurnCancel(limit=50), backoff=Backoff(random=lambda: 0.0), now_ms=lambda: APPEND_TIME_MS
    )


def opened(store: Store) -> Position:
    return ensure_position(store, OLD, LOG.start, "topic-a", APPEND_TIME_MS, new_context())


def begin(store: Store, position: Position, old: PartitionId = OLD) -> Decided | Overtaken:
    return decide(store, plan_new_epoch(old, position, NOW), Batch(), "ana", "recreated", new_context())


def skip(store: Store, position: Position, to: int) -> Decided | Overtaken:
    change = plan_skip(OLD, position, SAME, to)
    return decide(store, change, Batch(leader_epoch=5, crc=77), "bo", "a damaged batch", new_context())


def committed(store: Store, position: Position, to: int) -> Position:
    outcome = commit(store, LOG.flush(position, to, f"to {to}"), new_context())
    assert isinstance(outcome, Committed)
    return outcome.position


def test_a_new_epoch_closes_the_old_one(store: Store) -> None:
    # A flush continues the topic id of the log it read; these are of one that is gone.
    position = committed(store, opened(store), 27)
    outcome = begin(store, position)
    assert isinstance(outcome, Decided)
    assert store.decisions(OLD.topic, OLD.partition) == [outcome.decision]
    assert outcome.decision == Decision(NEW, NEW_EPOCH, 3, 3, 0, outcome.decision.nonce)
    (old, closed), (new, begun) = store.epochs(OLD.topic, OLD.partition)
    assert (old, new) == (OLD, NEW)
    assert closed == replace(position, successor=1)
    assert (begun.first_offset, begun.next_offset, begun.commits, begun.successor) == (3, 3, 0, None)
    assert (begun.tail.topic_id, begun.tail.leader_epoch) == ("topic-b", -1)
    # A worker that was asleep all the while continues where it stood, and is told that it lost.
    late = commit(store, LOG.flush(position, 60, "late"), new_context())
    assert isinstance(late, Lost)
    assert late.position == closed
    again = begin(store, closed)
    assert again == Overtaken(closed)
    in_new_log = commit(store, replace(LOG, partition=NEW, start=3).flush(begun, 20, "new"), new_context())
    assert isinstance(in_new_log, Committed)
    assert store.decisions(OLD.topic, OLD.partition) == [outcome.decision]


def test_a_third_epoch(store: Store) -> None:
    assert isinstance(begin(store, opened(store)), Decided)
    (_, begun) = store.epochs(OLD.topic, OLD.partition)[-1]
    assert isinstance(begin(store, begun, NEW), Decided)
    assert [(one.epoch, at.successor) for one, at in store.epochs(OLD.topic, OLD.partition)] == [
        (0, 2),
        (1, 2),
        (2, None),
    ]
    assert store.epochs(OLD.topic, 3) == []


@pytest.mark.parametrize("first", ["commit", "decision"])
def test_between_guard_and_token_one_of_them_wins(first: str) -> None:
    """Both guards held; whoever lands first makes the other find the position moved."""
    store = MemoryLedger()
    position = opened(store)
    store.between_steps = lambda _inflight: Turn.pause("between_steps")
    worker = Turn(lambda: commit(store, LOG.flush(position, 27, "worker"), new_context()))
    operator = Turn(lambda: begin(store, position))
    for turn in (worker, operator):
        assert turn.step() == "between_steps"
    for turn in (worker, operator) if first == "commit" else (operator, worker):
        while not turn.done:
            turn.step()
    if first == "commit":
        assert isinstance(worker.result, Committed)
        assert isinstance(operator.result, Overtaken)
        assert [one for one, _ in store.epochs(OLD.topic, OLD.partition)] == [OLD]
    else:
        assert isinstance(worker.result, Lost)
        assert isinstance(operator.result, Decided)
        assert [at.next_offset for _, at in store.epochs(OLD.topic, OLD.partition)] == [7, 3]


def test_of_many_operators_and_a_worker_one_wins(store: Store) -> None:
    position, rivals = opened(store), 4
    barrier = threading.Barrier(rivals)

    def race(number: int) -> object:
        barrier.wait(20)
        if number:
            return begin(store, position)
        return commit(store, LOG.flush(position, 27, "worker"), new_context())

    with ThreadPoolExecutor(rivals) as pool:
        outcomes = list(pool.map(race, range(rivals)))
    assert sum(isinstance(outcome, Decided | Committed) for outcome in outcomes) == 1
    decisions = store.decisions(OLD.topic, OLD.partition)
    assert len(decisions) == (0 if isinstance(outcomes[0], Committed) else 1)
    assert len(store.epochs(OLD.topic, OLD.partition)) == 1 + len(decisions)


@pytest.mark.parametrize("fault", list(Fault))
def test_any_error_is_overcome(fault: Fault) -> None:
    store = MemoryLedger()
    position = opened(store)
    left: list[Fault] = [fault]
    store.fault = lambda operation, _label: left.pop() if operation == "insert" and left else None
    assert isinstance(begin(store, position), Decided)
    for _ in list(store.late):
        store.land_late(0)
    assert len(store.decisions(OLD.topic, OLD.partition)) == 1
    assert len(store.epochs(OLD.topic, OLD.partition)) == 2


def test_a_decision_is_recognised_after_a_worker_went_on_from_it() -> None:
    store = MemoryLedger()
    position = opened(store)
    reads = 0

    def pause_before_reading_decisions(operation: str, _label: str) -> None:
        nonlocal reads
        reads += operation == "position"
        if reads == 2:
            Turn.pause("decisions")

    operator = Turn(lambda: begin(store, position))
    store.fault = pause_before_reading_decisions
    assert operator.step() == "decisions"
    store.fault = lambda _operation, _label: None
    (_, begun) = store.epochs(OLD.topic, OLD.partition)[-1]
    assert isinstance(
        commit(store, replace(LOG, partition=NEW, start=3).flush(begun, 9, "w"), new_context()), Committed
    )
    while not operator.done:
        operator.step()
    assert isinstance(operator.result, Decided)


def test_a_skip_moves_the_position_and_accounts_for_what_it_leaves_out(store: Store) -> None:
    position = committed(store, opened(store), 27)
    position = replace(position, tail=replace(position.tail, topic_id="topic-a"))
    outcome = skip(store, position, 60)
    assert isinstance(outcome, Decided)
    assert outcome.decision == Decision(OLD, SKIP, 27, 60, 33, outcome.decision.nonce)
    now = store.position(OLD)
    assert now is not None
    assert (now.first_offset, now.next_offset, now.commits, now.watermark_us) == (7, 60, 1, position.watermark_us)
    assert (now.tail.leader_epoch, now.tail.crc, now.tail.topic_id) == (5, 77, "topic-a")
    assert now.totals == replace(position.totals, skipped_offsets=33)
    assert now.totals.offsets == now.next_offset - now.first_offset
    assert isinstance(commit(store, LOG.flush(position, 30, "late"), new_context()), Lost)
    assert skip(store, position, 61) == Overtaken(now)
    after = committed(store, now, 107)
    assert after.totals.offsets == 100
    assert after.totals.accepted == LOG.accepted(27) + LOG.accepted(107) - LOG.accepted(60)


def test_skips_that_follow_each_other_stay_apart(store: Store) -> None:
    position = opened(store)
    for to in (8, 9, 20):
        assert isinstance(skip(store, position, to), Decided)
        (_, position) = store.epochs(OLD.topic, OLD.partition)[-1]
    spans = [(one.first_offset, one.next_offset, one.skipped_offsets) for one in store.decisions(OLD.topic, 2)]
    assert spans == [(7, 8, 1), (8, 9, 1), (9, 20, 11)]
    assert position.totals.skipped_offsets == 13


def test_a_new_epoch_may_leave_out_the_beginning_of_its_log(store: Store) -> None:
    change = plan_new_epoch(OLD, opened(store), NOW, at=11)
    assert isinstance(decide(store, change, Batch(2, 9), "ana", "tests only", new_context()), Decided)
    (_, begun) = store.epochs(OLD.topic, OLD.partition)[-1]
    assert (begun.first_offset, begun.next_offset, begun.totals.offsets, begun.totals.skipped_offsets) == (3, 11, 8, 8)
    assert begun.tail.leader_epoch == 2


def test_who_and_why_are_written_down_even_by_the_loser() -> None:
    store = MemoryLedger()
    position = opened(store)
    won, lost = skip(store, position, 9), begin(store, position)
    assert isinstance(won, Decided)
    assert isinstance(lost, Overtaken)
    rows = store.side_tables["position_changes"]
    assert [(row["who"], row["kind"], row["from_offset"], row["to_offset"]) for row in rows] == [
        (b"bo", "skip", 7, 9),
        (b"ana", "new_epoch", 7, 3),
    ]
    assert [row["nonce"].decode() == won.decision.nonce for row in rows] == [True, False]


@pytest.mark.parametrize(
    ("log", "to", "says"),
    [
        (LogNow("topic-b", 0, 107), 20, "offsets of one mean nothing in the other"),
        (SAME, 7, "moves forward only"),
        (SAME, 5, "moves forward only"),
        (SAME, 108, "not in the log, which goes from 0 to 107"),
        (LogNow("topic-a", 50, 107), 49, "not in the log, which goes from 50 to 107"),
    ],
)
def test_a_skip_that_can_t_be_meant_is_refused(log: LogNow, to: int, says: str) -> None:
    with pytest.raises(DecisionError, match=says):
        plan_skip(OLD, opened(MemoryLedger()), log, to)


@pytest.mark.parametrize("at", [2, 51])
def test_an_epoch_that_would_begin_outside_its_log_is_refused(at: int) -> None:
    with pytest.raises(DecisionError, match="goes from 3 to 50"):
        plan_new_epoch(OLD, opened(MemoryLedger()), NOW, at)


def test_a_worker_skips_nothing() -> None:
    store = MemoryLedger()
    flush = LOG.flush(opened(store), 9, "worker")
    short = replace(flush, counts=replace(flush.counts, records=1, skipped_offsets=1))
    with pytest.raises(BooksError, match="only an operator's decision"):
        commit(store, short, new_context())


@pytest.mark.clickhouse
def test_a_decision_that_is_made_while_an_audit_reads_is_for_the_next_one(clickhouse_store: ClickHouseStore) -> None:
    position = opened(clickhouse_store)
    made: list[object] = []

    class Auditing(ClickHouseStore):
        def decisions(self, topic: str, partition: int) -> list[Decision]:
            if not made:
                made.append(skip(clickhouse_store, position, 60))
            return super().decisions(topic, partition)

    store = Auditing(clickhouse_store.http)
    (tally,) = store.tallies()
    assert (tally.position.totals.skipped_offsets, tally.decisions) == (0, ())
    (tally,) = store.tallies()
    assert [one.skipped_offsets for one in tally.decisions] == [tally.position.totals.skipped_offsets] == [53]


def test_what_was_written_beside_a_commit_that_lost_to_a_skip_is_not_taken_for_counted_twice(store: Store) -> None:
    position = opened(store)
    outcome = {
        "specversion": "1.0",
        "type": "fleetmeter.outcome.v1",
        "source": "desk",
        "id": "1",
        "subject": "acme",
        "time": "2026-03-01T00:00:00Z",
        "data": {"name": "ticket_resolved", "quantity": 1},
    }
    beside = (
        *fact_rows(OLD, [Fact(10, 0, json.dumps(outcome).encode())], label_keys=()),
        *quarantine_rows(OLD, [Rejection(11, 0, APPEND_TIME_MS, 4, "", b"?")], payload_limit_bytes=9),
    )

    class Operator(CommitObserver):
        def at(self, point: HookPoint, label: str) -> None:
            if point == "before_insert":
                skip(store, position, 60)

    lost = commit(
        store, replace(LOG.flush(position, 27, "late"), side_rows=beside), replace(new_context(), observer=Operator())
    )
    assert isinstance(lost, Lost)
    (tally,) = store.tallies()
    assert (tally.facts, tally.quarantined) == (0, 0)
    assert describe(reconcile(store, lambda: {(OLD.topic, OLD.partition): LogEnds(0, 107)})) == []
    if isinstance(store, ClickHouseStore):
        (found,) = check_strays(store.http).findings
        assert "1 rows of usage_facts are of offsets that were left out" in found.sentence
        assert "fleetmeter.usage-2/0 at offset 10" in found.sentence
        assert rows_left(store.http, tally) == 0
        assert check_chain(store.http).findings == ()
