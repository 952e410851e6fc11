"""An operator's decision and a worker's commit, or two decisions, for one position: one of them is made, whole."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fleetmeter_doubles import APPEND_TIME_MS, Fault, MemoryLedger, SampleLog, Turn, TurnCancel
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
from fleetmeter_jobs.ledger.decisions import NEW_EPOCH, Decided, Overtaken, begin_epoch
from fleetmeter_jobs.ledger.store import Decision

Store = MemoryLedger | ClickHouseStore
OLD = PartitionId("fleetmeter.usage", 2, 0)
NEW = replace(OLD, epoch=1)
LOG = SampleLog(OLD, 7, 107, seed=3)


def new_context() -> CommitContext:
    return CommitContext(
        cancel=TurnCancel(limit=50), backoff=Backoff(random=lambda: 0.0), now_ms=lambda: APPEND_TIME_MS
    )


def opened(store: Store) -> Position:
    return ensure_position(store, OLD, LOG.start, "topic-a", APPEND_TIME_MS, new_context())


def begin(store: Store, position: Position, old: PartitionId = OLD) -> Decided | Overtaken:
    return begin_epoch(store, old, position, 3, "topic-b", APPEND_TIME_MS, new_context())


def committed(store: Store, position: Position, to: int) -> Position:
    outcome = commit(store, LOG.flush(position, to, f"to {to}"), new_context())
    assert isinstance(outcome, Committed)
    return outcome.position


def test_a_new_epoch_closes_the_old_one(store: Store) -> None:
    position = committed(store, opened(store), 27)
    outcome = begin(store, position)
    assert isinstance(outcome, Decided)
    assert store.decisions(OLD.topic, OLD.partition) == [outcome.decision]
    assert outcome.decision == Decision(NEW, NEW_EPOCH, 3, 3, outcome.decision.nonce)
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
