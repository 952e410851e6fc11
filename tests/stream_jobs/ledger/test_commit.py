"""The commit protocol, one hard case at a time, on the ledger in memory. `test_commit_interleavings` mixes them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial

import pyarrow as pa
import pytest
from fleetmeter_doubles import (
    APPEND_TIME_MS,
    Fault,
    MemoryLedger,
    SampleLog,
    Turn,
    TurnCancel,
    identities_in,
    usage_batch,
)
from fleetmeter_jobs.ledger import (
    Backoff,
    CommitContext,
    CommitObserver,
    Committed,
    Counts,
    HookPoint,
    Lost,
    PartitionId,
    Position,
    commit,
    ensure_position,
)
from fleetmeter_jobs.ledger.errors import (
    BooksError,
    CommitAbandonedError,
    PositionWentBackError,
    StoreRejectedError,
    StoreUnavailableError,
)
from fleetmeter_jobs.ledger.side_rows import watermark_rows

PARTITION = PartitionId("fleetmeter.usage", 0)
LOG = SampleLog(PARTITION, 7, 107, seed=3)


class Recorder(CommitObserver):
    def __init__(self, pausing: bool = False) -> None:
        self.steps: list[str] = []
        self.pausing = pausing

    def at(self, point: HookPoint, label: str) -> None:
        self.steps.append(f"{point} {label}")
        if self.pausing:
            Turn.pause(point)

    def failed(self, label: str, error: StoreUnavailableError) -> None:
        self.steps.append(f"failed {label}")

    def ghost(self, label: str) -> None:
        self.steps.append(f"ghost {label}")


def new_context(observer: CommitObserver | None = None) -> CommitContext:
    return CommitContext(
        cancel=TurnCancel(limit=50),
        backoff=Backoff(first_s=1.0, limit_s=8.0, random=lambda: 0.0),
        observer=observer or CommitObserver(),
        now_ms=lambda: APPEND_TIME_MS,
    )


def opened(store: MemoryLedger) -> Position:
    return ensure_position(store, PARTITION, LOG.start, "topic-id", APPEND_TIME_MS, new_context())


def faults(store: MemoryLedger, *planned: Fault | None, operation: str = "insert") -> list[Fault | None]:
    """The next calls of an operation fail so; later ones don't."""
    left = list(planned)
    store.fault = lambda called, _label: left.pop(0) if called == operation and left else None
    return left


def assert_counted_once(store: MemoryLedger, next_offset: int) -> None:
    counted: Counter[tuple[str, int]] = Counter()
    for part in store.parts:
        for row in part.usage.select(["account_id", "minute", "output_tokens"]).to_pylist():
            counted[row["account_id"], row["minute"]] += row["output_tokens"]
    assert counted == LOG.rollups(next_offset)
    assert identities_in(row["blob"] for part in store.parts for row in part.blobs) == LOG.identities(next_offset)
    (tally,) = store.tallies()
    assert tally.position.next_offset == next_offset
    assert tally.position.totals.offsets == next_offset - LOG.start
    assert tally.position.totals.accepted == tally.usage_events == LOG.accepted(next_offset)
    assert tally.position.totals.rejected == LOG.rejected(next_offset)


def test_a_commit_carries_everything_in_one_part() -> None:
    store = MemoryLedger()
    before = opened(store)
    outcome = commit(store, LOG.flush(before, 27, "mine"), new_context())
    assert isinstance(outcome, Committed)
    assert (outcome.inserts, outcome.errors, outcome.ghosts) == (1, 0, 0)
    assert len(store.parts) == 2  # the first marker, and the commit
    assert_counted_once(store, 27)
    tail = outcome.position.tail
    assert (tail.next_offset, tail.nonce, tail.topic_id, tail.leader_epoch, tail.crc) == (27, "mine", "topic-id", 4, 27)
    assert outcome.position.first_offset == LOG.start
    assert outcome.position.commits == 1
    assert outcome.position.watermark_us == max(LOG.records[offset].minute for offset in range(7, 27)) * 1_000_000


def test_each_commit_goes_where_the_one_before_said() -> None:
    """Rivals must meet in one table partition, whatever each of them would choose."""
    store = MemoryLedger()
    position = opened(store)
    months = [1_772_323_199_999, 1_772_323_200_000, 1_775_001_600_000]  # the last of February, March 1st, April 1st
    for number, append_time_ms in enumerate(months):
        flush = replace(LOG.flush(position, 17 + 10 * number, f"n{number}"), append_time_ms=append_time_ms)
        position = commit(store, flush, new_context()).position
    assert [part.table_partition for part in store.parts] == [0, 202603, 202602, 202603]
    assert position.tail.table_partition == 202604
    flush = replace(LOG.flush(position, 50, "of aborted batches alone"), append_time_ms=0)
    position = commit(store, flush, new_context()).position
    assert position.tail.table_partition == 202604


@pytest.mark.parametrize("fault", list(Fault))
def test_after_any_error_the_same_token_is_sent_again(fault: Fault) -> None:
    store, seen = MemoryLedger(), Recorder()
    before = opened(store)
    faults(store, fault)
    outcome = commit(store, LOG.flush(before, 27, "mine"), new_context(seen))
    assert isinstance(outcome, Committed)
    assert outcome.errors == 1
    sent = [step.split()[1] for step in seen.steps if step.startswith("before_insert")]
    token = f"{PARTITION}@7"
    expected = {
        Fault.BEFORE: [f"{token}#0", f"{token}#0"],
        Fault.ANSWER_LOST: [f"{token}#0"],  # read back: it was there
        Fault.GHOST: [f"{token}#0", f"{token}#0", f"{token}#1"],  # only after "done" for #0
        Fault.LATE: [f"{token}#0", f"{token}#0"],
        Fault.CUT: [f"{token}#0", f"{token}#0"],
    }
    assert sent == expected[fault]
    for _ in list(store.late):
        store.land_late(0)
    assert_counted_once(store, 27)


@pytest.mark.parametrize("planned", [[Fault.LATE, Fault.BEFORE], [Fault.LATE, Fault.LATE, Fault.BEFORE, Fault.LATE]])
def test_an_insert_that_lands_after_many_errors_is_not_doubled(planned: list[Fault]) -> None:
    store = MemoryLedger()
    before = opened(store)
    faults(store, *planned)
    assert isinstance(commit(store, LOG.flush(before, 27, "mine"), new_context()), Committed)
    while store.late:
        store.land_late(0)
    assert_counted_once(store, 27)


def test_a_ghost_and_an_error_after_it_do_not_double() -> None:
    """The error belongs to attempt 1; that attempt 0 was done says nothing about it."""
    store = MemoryLedger()
    before = opened(store)
    faults(store, Fault.GHOST, None, Fault.LATE, Fault.BEFORE)
    outcome = commit(store, LOG.flush(before, 27, "mine"), new_context())
    assert isinstance(outcome, Committed)
    assert outcome.ghosts == 1
    while store.late:
        store.land_late(0)
    assert_counted_once(store, 27)


def test_a_successor_walks_past_the_ghosts_of_its_predecessor() -> None:
    store = MemoryLedger()
    before = opened(store)
    faults(store, Fault.GHOST, None, Fault.GHOST, None)
    crashing = Turn(lambda: commit(store, LOG.flush(before, 27, "first"), new_context(Recorder(pausing=True))))
    while len(store.ghosts) < 2:
        crashing.step()
    crashing.crash()
    outcome = commit(store, LOG.flush(before, 17, "second"), new_context())
    assert isinstance(outcome, Committed)
    assert outcome.ghosts == 2
    assert_counted_once(store, 17)


def test_of_rivals_between_guard_and_token_one_wins() -> None:
    store = MemoryLedger()
    before = opened(store)
    store.between_steps = lambda _inflight: Turn.pause("between_steps")
    rivals = [Turn(partial(commit, store, LOG.flush(before, 17 + n, f"rival {n}"), new_context())) for n in range(3)]
    for rival in rivals:
        assert rival.step() == "between_steps"
    for rival in reversed(rivals):
        while not rival.done:
            rival.step()
    outcomes = [rival.result for rival in rivals]
    assert [type(outcome) for outcome in outcomes] == [Lost, Lost, Committed]
    assert {outcome.nonce for outcome in outcomes if isinstance(outcome, Lost)} == {"rival 2"}
    assert_counted_once(store, 19)


def test_a_zombie_whose_token_was_forgotten_is_stopped_by_the_guard() -> None:
    store = MemoryLedger(window=3)
    before = opened(store)
    zombie = Turn(lambda: commit(store, LOG.flush(before, 27, "zombie"), new_context(Recorder(pausing=True))))
    while zombie.step() != "before_insert":
        pass
    position = before
    for number in range(5):
        position = commit(store, LOG.flush(position, position.next_offset + 4, f"n{number}"), new_context()).position
    while not zombie.done:
        zombie.step()
    assert isinstance(zombie.result, Lost)
    assert zombie.result.position == position
    assert_counted_once(store, 27)


def test_a_worker_overtaken_after_its_commit_resyncs() -> None:
    """Its commit counts; but its memory no longer follows from the ledger."""
    store = MemoryLedger()
    before = opened(store)
    first = Turn(lambda: commit(store, LOG.flush(before, 17, "first"), new_context(Recorder(pausing=True))))
    while first.step() != "before_read_back":
        pass
    position = store.position(PARTITION)
    assert position is not None
    commit(store, LOG.flush(position, 27, "second"), new_context())
    while not first.done:
        first.step()
    assert isinstance(first.result, Lost)
    assert first.result.position.next_offset == 27
    assert_counted_once(store, 27)


def test_reading_back_waits_for_the_store_and_sends_nothing_meanwhile() -> None:
    store, context = MemoryLedger(), new_context()
    before = opened(store)
    faults(store, Fault.BEFORE, Fault.BEFORE, Fault.BEFORE, operation="position")
    outcome = commit(store, LOG.flush(before, 27, "mine"), context)
    assert isinstance(outcome, Committed)
    assert (outcome.inserts, outcome.errors) == (1, 3)
    assert isinstance(context.cancel, TurnCancel)
    assert context.cancel.waits == [1.0, 2.0, 4.0]


def test_waits_grow_to_their_limit() -> None:
    store, context = MemoryLedger(), new_context()
    before = opened(store)
    faults(store, *[Fault.BEFORE] * 6)
    commit(store, LOG.flush(before, 27, "mine"), context)
    assert isinstance(context.cancel, TurnCancel)
    assert context.cancel.waits == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_steps_are_in_order_and_named() -> None:
    store, seen = MemoryLedger(), Recorder()
    before = opened(store)
    faults(store, Fault.GHOST)
    flush = replace(LOG.flush(before, 27, "mine"), side_rows=watermark_rows(PARTITION, 5, 7))
    commit(store, flush, new_context(seen))
    at, zero, one = f"{PARTITION}@7", f"{PARTITION}@7#0", f"{PARTITION}@7#1"
    assert seen.steps == [
        f"before_side_rows {at}",
        f"before_insert {zero}",
        f"failed {zero}",
        f"after_insert {zero}",
        f"before_read_back {zero}",
        f"before_insert {zero}",
        f"after_insert {zero}",
        f"before_read_back {zero}",
        f"ghost {zero}",
        f"before_insert {one}",
        f"after_insert {one}",
        f"before_read_back {one}",
        f"before_ack {one}",
    ]


def test_side_rows_are_there_before_the_commit_and_tried_until_they_are() -> None:
    store = MemoryLedger()
    before = opened(store)
    faults(store, Fault.BEFORE, Fault.ANSWER_LOST, operation="side_rows")
    flush = replace(LOG.flush(before, 27, "mine"), side_rows=watermark_rows(PARTITION, 5, 7))
    worker = Turn(lambda: commit(store, flush, new_context(Recorder(pausing=True))))
    while worker.step() != "before_insert":
        assert len(store.parts) == 1
    assert len(store.side_tables["watermarks"]) == 2  # once more after the lost answer: the key makes it harmless
    worker.crash()


def test_told_to_stop_it_gives_up_at_the_next_step() -> None:
    store, context = MemoryLedger(), new_context()
    before = opened(store)
    assert isinstance(context.cancel, TurnCancel)
    context.cancel.cancelled = True
    with pytest.raises(CommitAbandonedError, match="@7#0; nothing new was sent"):
        commit(store, LOG.flush(before, 27, "mine"), context)
    assert len(store.parts) == 1


def test_told_to_stop_in_a_wait_it_gives_up() -> None:
    store, context = MemoryLedger(), new_context()
    before = opened(store)
    faults(store, *[Fault.BEFORE] * 100)
    worker = Turn(lambda: commit(store, LOG.flush(before, 27, "mine"), context))
    assert worker.step() == "wait"
    assert isinstance(context.cancel, TurnCancel)
    context.cancel.cancelled = True
    with pytest.raises(CommitAbandonedError, match="read back at the next start"):
        worker.step()


def test_an_error_that_stays_is_not_tried_again() -> None:
    store = MemoryLedger()
    before = opened(store)
    calls = []

    def refuse(operation: str, label: str) -> None:
        if operation == "insert":
            calls.append(label)
            raise StoreRejectedError("no such table", 60)

    store.fault = refuse
    with pytest.raises(StoreRejectedError):
        commit(store, LOG.flush(before, 27, "mine"), new_context())
    assert calls == [f"{PARTITION}@7#0"]


def test_a_ledger_that_forgot_commits_is_not_gone_on_with() -> None:
    store = MemoryLedger()
    position = commit(store, LOG.flush(opened(store), 27, "a"), new_context()).position
    store.lose(1)
    with pytest.raises(PositionWentBackError, match="next offset 7, but a commit had ended at 27"):
        commit(store, LOG.flush(position, 37, "b"), new_context())
    store.lose(len(store.parts))
    with pytest.raises(PositionWentBackError, match="no position"):
        commit(store, LOG.flush(position, 37, "c"), new_context())


def _books() -> list[tuple[str, dict[str, object], str]]:
    base = LOG.flush(Position(7, 7, opened(MemoryLedger()).tail), 27, "mine")
    counts = base.counts
    return [
        ("nothing", {"next_offset": 7}, "nothing to commit"),
        ("hole", {"counts": replace(counts, records=counts.records - 1)}, "missing or doubled"),
        ("surplus", {"counts": replace(counts, control_offsets=1)}, "missing or doubled"),
        ("event", {"counts": replace(counts, events_in=counts.events_in + 1)}, "events in, but"),
        ("usage", {"usage": None}, "events accepted, but 0 in usage rows"),
        ("fact", {"facts": 1}, "in usage rows and facts"),
        ("blob", {"blob": b""}, "without their identities"),
        ("negative", {"counts": replace(counts, unknown_fields=-1)}, "negative"),
        ("tail", {"previous": replace(base.previous, next_offset=8)}, "position before ends at 7"),
    ]


@pytest.mark.parametrize(("change", "message"), [entry[1:] for entry in _books()], ids=[entry[0] for entry in _books()])
def test_a_flush_whose_numbers_contradict_each_other_is_not_sent(change: dict[str, object], message: str) -> None:
    store = MemoryLedger()
    flush = replace(LOG.flush(opened(store), 27, "mine"), **change)  # type: ignore[arg-type]
    with pytest.raises(BooksError, match=message):
        commit(store, flush, new_context())
    assert len(store.parts) == 1


def test_control_and_aborted_offsets_alone_can_be_committed() -> None:
    store = MemoryLedger()
    before = opened(store)
    flush = replace(
        LOG.flush(before, 9, "mine"), counts=Counts(control_offsets=1, aborted_offsets=1), usage=None, blob=b""
    )
    outcome = commit(store, flush, new_context())
    assert isinstance(outcome, Committed)
    assert outcome.position.totals.offsets == 2


def test_columns_of_another_core_are_refused() -> None:
    store = MemoryLedger()
    flush = LOG.flush(opened(store), 27, "mine")
    assert flush.usage is not None
    odd = flush.usage.rename_columns([name.replace("gpu_ms", "tpu_ms") for name in flush.usage.schema.names])
    with pytest.raises(BooksError, match="tpu_ms"):
        commit(store, replace(flush, usage=odd), new_context())
    index = flush.usage.schema.get_field_index("requests")
    narrow = flush.usage.set_column(index, "requests", flush.usage.column("requests").cast(pa.uint32()))
    with pytest.raises(BooksError, match="requests is uint32"):
        commit(store, replace(flush, usage=narrow), new_context())


def test_the_sample_log_is_not_trivial() -> None:
    """The oracle of these tests: it has events, groups of several offsets, and rejections."""
    assert LOG.accepted(107) > 50
    assert LOG.rejected(107) > 10
    assert len(LOG.rollups(107)) == 9
    assert usage_batch([{"requests": 2}]).column("requests").to_pylist() == [2]
