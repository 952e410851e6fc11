"""A partition's first marker and the ledger's hash key: rivals agree on both, whatever goes wrong."""

from __future__ import annotations

from functools import partial

import pytest
from fleetmeter_doubles import APPEND_TIME_MS, Fault, MemoryLedger, Turn, TurnCancel
from fleetmeter_jobs.ledger import Backoff, CommitContext, PartitionId, Position, ensure_hash_key, ensure_position
from fleetmeter_jobs.ledger.arrow_batch import blob_row, encode_rows
from fleetmeter_jobs.ledger.errors import CommitAbandonedError, DedupStateError
from fleetmeter_jobs.ledger.store import NoHashKey

PARTITION = PartitionId("fleetmeter.usage", 0)


def new_context() -> CommitContext:
    return CommitContext(cancel=TurnCancel(limit=50), backoff=Backoff(random=lambda: 0.0), now_ms=lambda: 0)


def begin(store: MemoryLedger, log_start: int) -> Position:
    return ensure_position(store, PARTITION, log_start, "topic-id", APPEND_TIME_MS, new_context())


def test_rivals_between_guard_and_token_agree() -> None:
    store = MemoryLedger()
    store.between_steps = lambda _inflight: Turn.pause("between_steps")
    starts = [Turn(partial(begin, store, 100 + n)) for n in range(3)]
    for start in starts:
        assert start.step() == "between_steps"
    for start in reversed(starts):
        while not start.done:
            start.step()
    assert {start.result.first_offset for start in starts if isinstance(start.result, Position)} == {102}
    assert len(store.parts) == 1
    keys = [Turn(lambda: ensure_hash_key(store, new_context())) for _ in range(3)]
    for key in keys:
        assert key.step() == "between_steps"
    for key in keys:
        while not key.done:
            key.step()
    assert len({key.result for key in keys}) == 1
    assert len(store.parts) == 2


def test_a_late_rival_does_not_start_again() -> None:
    """Its read came before the first marker, its insert after the token was forgotten: the guard is left."""
    store = MemoryLedger(window=2)
    calls = []

    def pause_after_read(operation: str, _label: str) -> None:
        calls.append(operation)
        if operation == "insert":
            Turn.pause("insert")

    store.fault = pause_after_read
    late = Turn(lambda: begin(store, 500))
    assert late.step() == "insert"
    late_key = Turn(lambda: ensure_hash_key(store, new_context()))
    assert late_key.step() == "insert"
    first, key = begin(store, 7), ensure_hash_key(store, new_context())
    for number in range(1, 4):
        ensure_position(store, PartitionId("other", number), 0, "x", APPEND_TIME_MS, new_context())
    for rival in (late, late_key):
        while not rival.done:
            rival.step()
    assert late.result == first
    assert first.first_offset == 7
    assert late_key.result == key
    assert store.hash_key() == key


@pytest.mark.parametrize("fault", list(Fault))
def test_any_error_is_overcome(fault: Fault) -> None:
    store = MemoryLedger()
    left: list[Fault] = [fault]
    store.fault = lambda operation, _label: left.pop() if operation == "insert" and left else None
    position = begin(store, 7)
    left.append(fault)
    key = ensure_hash_key(store, new_context())
    for _ in list(store.late):
        store.land_late(0)
    assert begin(store, 9) == position
    assert position.first_offset == position.next_offset == 7
    assert ensure_hash_key(store, new_context()) == key
    assert len(store.parts) == 2


def test_reading_waits_for_the_store() -> None:
    store, context = MemoryLedger(), new_context()
    left = [Fault.BEFORE] * 3
    store.fault = lambda _operation, _label: left.pop() if left else None
    assert len(ensure_hash_key(store, context)) == 16
    assert isinstance(context.cancel, TurnCancel)
    assert context.cancel.waits == [0.2, 0.4, 0.8]


def test_told_to_stop_before_it_began() -> None:
    store, context = MemoryLedger(), new_context()
    assert isinstance(context.cancel, TurnCancel)
    context.cancel.cancelled = True
    with pytest.raises(CommitAbandonedError, match="before reading the hash key"):
        ensure_hash_key(store, context)


def test_a_key_of_the_wrong_length_is_refused() -> None:
    store = MemoryLedger()
    store.insert(encode_rows([blob_row(PartitionId("", 0), 0, 0, 0, b"short")]), NoHashKey(), "k")
    with pytest.raises(DedupStateError, match="must have 16 bytes, found 5"):
        ensure_hash_key(store, new_context())
