"""Any interleaving of rival workers, lost answers, late inserts, ghosts and crashes counts each event once.

The oracle is the made-up log: for any position it knows, without the code under test, what must have been counted.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter

from fleetmeter_doubles import Fault, MemoryLedger, SampleLog, Turn, TurnCancel, identities_in
from fleetmeter_jobs.ledger import Backoff, CommitContext, CommitObserver, HookPoint, PartitionId
from fleetmeter_jobs.ledger.commit import commit
from fleetmeter_jobs.ledger.errors import StoreUnavailableError
from fleetmeter_jobs.ledger.first_commit import ensure_hash_key, ensure_position
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

PARTITION = PartitionId("fleetmeter.usage", 3, 1)
WORKERS = 3
WINDOW = 6
"""Small, so that the token of a worker that stands still for a while ages out."""
GHOSTS = 2
"""At most so many in a run: fewer than the window remembers, as in a real table."""
FAR = 60
"""Turns in which a worker makes more commits than the window remembers."""


class PausingObserver(CommitObserver):
    def at(self, point: HookPoint, label: str) -> None:
        Turn.pause(point)


class Rivals(RuleBasedStateMachine):
    """Three workers that all believe to own the partition."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryLedger(window=WINDOW)
        self.store.fault = self.next_fault
        self.store.between_steps = lambda _inflight: Turn.pause("between_steps")
        self.planned: list[Fault] = []
        self.nonces = itertools.count()
        self.keys: set[bytes] = set()
        self.workers: list[Turn] = []

    @initialize(seed=st.integers(0, 5), start=st.sampled_from([0, 100]))
    def begin(self, seed: int, start: int) -> None:
        self.log = SampleLog(PARTITION, start, start + 24, seed)
        self.workers = [self.start_worker(number) for number in range(WORKERS)]

    def start_worker(self, number: int) -> Turn:
        # Workers cut the log differently, as different machines would.
        return Turn(lambda: self.work(flush_size=number + 1, log_start=self.log.start + number))

    def work(self, flush_size: int, log_start: int, observer: CommitObserver | None = None) -> int:
        context = CommitContext(
            cancel=TurnCancel(limit=FAR),
            backoff=Backoff(random=lambda: 0.0),
            observer=observer or PausingObserver(),
            now_ms=lambda: 0,
        )
        self.keys.add(ensure_hash_key(self.store, context))
        position = ensure_position(self.store, PARTITION, log_start, "topic-id", 1_772_323_200_000, context)
        while position.next_offset < self.log.end:
            next_offset = min(position.next_offset + flush_size, self.log.end)
            flush = self.log.flush(position, next_offset, f"nonce-{next(self.nonces)}")
            position = commit(self.store, flush, context).position
        return position.next_offset

    def next_fault(self, operation: str, label: str) -> Fault | None:
        if not self.planned:
            return None
        fault = self.planned.pop(0)
        ghosts = len(self.store.ghosts)
        return None if fault is Fault.GHOST and (operation != "insert" or ghosts >= GHOSTS) else fault

    @rule(worker=st.integers(0, WORKERS - 1), turns=st.sampled_from([1, 2, 3, 4, FAR]))
    def run(self, worker: int, turns: int) -> None:
        for _ in range(turns):
            if not self.workers[worker].done:
                self.workers[worker].step()

    @rule(worker=st.integers(0, WORKERS - 1), faults=st.lists(st.sampled_from(Fault), min_size=1, max_size=4))
    def run_into(self, worker: int, faults: list[Fault]) -> None:
        """Run until the next calls of the store have failed."""
        self.planned = faults
        for _ in range(FAR):
            if not self.planned or self.workers[worker].done:
                break
            self.workers[worker].step()
        self.planned = []

    @rule()
    def meet(self) -> None:
        """All workers stand between guard and token of an insert, and then go on one after the other."""
        for worker in self.workers:
            for _ in range(FAR):
                if worker.done or worker.at == "between_steps":
                    break
                worker.step()
        for worker in self.workers:
            if not worker.done:
                worker.step()

    @rule(worker=st.integers(0, WORKERS - 1))
    def kill_worker(self, worker: int) -> None:
        self.workers[worker].crash()
        self.workers[worker] = self.start_worker(worker)

    @precondition(lambda self: self.store.late)
    @rule(data=st.data())
    def land_late(self, data: st.DataObject) -> None:
        """An insert that its client gave up on lands after all, or runs into the server's limit of time."""
        with contextlib.suppress(StoreUnavailableError):
            self.store.land_late(data.draw(st.integers(0, len(self.store.late) - 1)))

    @rule()
    def crash_store(self) -> None:
        self.store.crash()

    @invariant()
    def counted_once(self) -> None:
        position = self.store._position(PARTITION)
        if position is None:
            return
        markers = sorted(
            (row["first_offset"], row["next_offset"])
            for part in self.store.parts
            for row in part.markers
            if row["commits"]
        )
        start = position.first_offset
        for first, following in markers:
            assert first == start, f"offsets {start} and {first} are lost or doubled: {markers}"
            start = following
        assert start == position.next_offset
        counted: Counter[tuple[str, int]] = Counter()
        for part in self.store.parts:
            for row in part.usage.select(["account_id", "minute", "output_tokens"]).to_pylist():
                counted[row["account_id"], row["minute"]] += row["output_tokens"]
        skipped = self.log.rollups(position.first_offset)
        assert counted == self.log.rollups(position.next_offset) - skipped
        blobs = identities_in(row["blob"] for part in self.store.parts for row in part.blobs if row["topic"])
        assert blobs == [
            offset for offset in self.log.identities(position.next_offset) if offset >= position.first_offset
        ]
        assert len(self.keys) <= 1, "workers got different hash keys"

    def teardown(self) -> None:
        """However it went, one worker alone brings it to the end."""
        if not self.workers:
            return
        for worker in self.workers:
            worker.crash()
        self.planned = []
        self.store.crash()
        assert self.work(5, self.log.start, CommitObserver()) == self.log.end
        self.counted_once()


TestRivals = Rivals.TestCase
TestRivals.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
