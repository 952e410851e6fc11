"""Runs one schedule: its steps, then everything is healed and one worker drains the topic."""

from __future__ import annotations

import contextlib
import importlib
import logging
import random
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from unittest import mock

from faust.types import TP
from fleetmeter_doubles import Fault, Inflight, MemoryLedger, MemoryPart
from fleetmeter_doubles.toy_core import ToyCore
from fleetmeter_doubles.toy_dedup import HOUR_US, event_time_us, identity
from fleetmeter_jobs.ledger import first_commit
from fleetmeter_jobs.ledger.errors import StoreUnavailableError
from fleetmeter_jobs.ledger.position import PartitionId
from fleetmeter_jobs.partition_status import State
from fleetmeter_jobs.processor_seams import Limits
from fleetmeter_jobs.record_batch import RecordBatch

from fleetmeter_deterministic.blocking import Hub
from fleetmeter_deterministic.kafka import SimLog, SimTopic, Values
from fleetmeter_deterministic.light_ledger import LightLedger, without_arrow
from fleetmeter_deterministic.steps import Run, Step
from fleetmeter_deterministic.verdict import bad, problems
from fleetmeter_deterministic.virtual_time import Clock
from fleetmeter_deterministic.worker import Machine, SimWorker, settings_of

# The package has a function of this name.
commit_module = importlib.import_module("fleetmeter_jobs.ledger.commit")

_MONTH_END_MS = 1_775_001_600_000
"""2026-04-01T00:00:00Z: what is appended before and after goes to different table partitions."""
_SETTLE_S = 40.0
_DRAIN_S = 120.0


class Broken(Exception):
    """A promise was broken; the message says which."""


@dataclass(frozen=True)
class Setup:
    """What a schedule begins with."""

    workers: int = 2
    partitions: int = 1
    overlap: bool = True
    """Every worker believes to have every partition."""
    window: int = 100
    """Tokens that the store remembers."""
    flush_events: int = 4
    batches_a_fetch: int = 2
    before_month_end_s: float = 30.0
    chunk_ids: int = 1000
    """Foreign ids with which a chunk is closed and sealed."""
    other_chunk_ids: int | None = None
    """The same for every other worker, which therefore cuts elsewhere; None: as the others."""
    filter_bytes: int = 1000
    """Filters that a worker keeps in memory; chunks whose filter does not fit are known by the hour."""
    arrow: bool = False
    """Rows become Arrow, as in production. Else they stay as they are, which is some ten times as fast."""


@dataclass(frozen=True)
class Schedule:
    """A set-up and what happens then."""

    setup: Setup
    steps: tuple[Step, ...]


@dataclass
class World:
    """Everything that is there while a schedule runs. `tell` gets what happens, in words."""

    setup: Setup
    store: MemoryLedger = field(init=False)
    tally: Counter[str] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        setup = self.setup
        self.clock = Clock(_MONTH_END_MS - round(setup.before_month_end_s * 1000))
        self.hub = Hub(self.clock)
        self.hub.stops_at = self._stops_at
        self.topic = SimTopic("usage", setup.partitions, self.clock)
        self.store = LightLedger(window=setup.window)
        self.store.fault = self._fault
        self.store.between_steps = self._between_steps
        self.store.landed = self._landed
        self.store_away_until = 0.0
        self.broken: str | None = None
        self.stopped: list[tuple[str, int, str]] = []
        """Workers, partitions and reasons: what had stopped although nothing was wrong any more."""
        self.blobs: list[tuple[PartitionId, int, int, bytes]] = []
        """Identities as they were committed: partition, first and next offset, blob."""
        self._sent_at: dict[bytes, int] = {}
        """When an id was first sent, in epoch microseconds."""
        self._until: str | None = None
        self._mover: SimWorker | None = None
        self._reached: set[str] = set()
        self._ends: dict[TP, int] = {}
        self._machine = Machine(
            clock=self.clock,
            hub=self.hub,
            topic=self.topic,
            store=self.store,
            limits=Limits(
                flush_interval_s=1.0,
                flush_events=setup.flush_events,
                watermark_interval_s=20.0,
                filter_bytes=setup.filter_bytes,
            ),
            batches_a_fetch=setup.batches_a_fetch,
            new_core=lambda _settings, _key: ToyCore(),
            on_defect=self.fail,
            count=self.count,
        )
        self.slots: list[SimWorker] = []
        for number in range(setup.workers):
            every = setup.overlap or setup.workers == 1
            mine = [tp for tp in self.topic.logs if every or tp.partition % setup.workers == number]
            self.slots.append(self._new_worker(f"w{number}", number))
            self.slots[-1].assign(set(mine))

    # What steps ask for

    def worker(self, slot: int) -> SimWorker | None:
        """The process in a slot, unless it is gone."""
        worker = self.slots[slot % len(self.slots)]
        return worker if worker.alive else None

    def start(self, slot: int, tps: set[TP]) -> SimWorker:
        """A new process in a slot."""
        slot %= len(self.slots)
        worker = self.slots[slot] = self._new_worker(f"w{slot}", slot)
        worker.assign(tps)
        return worker

    def _new_worker(self, name: str, slot: int) -> SimWorker:
        setup = self.setup
        chunk_ids = setup.other_chunk_ids if slot % 2 and setup.other_chunk_ids else setup.chunk_ids
        return SimWorker(name, self._machine, settings_of(chunk_ids, setup.filter_bytes))

    def tp(self, number: int) -> TP:
        """A partition, by a number that may be too large."""
        return TP(self.topic.name, number % len(self.topic.logs))

    def tps(self, numbers: Sequence[int]) -> set[TP]:
        """Several partitions."""
        return {self.tp(number) for number in numbers}

    def log(self, number: int) -> SimLog:
        """A partition's log."""
        return self.topic.logs[self.tp(number)]

    def new_id(self) -> bytes:
        """An event that nobody has sent yet. Every third id is a sequenced one."""
        number = len(self._sent_at) + 1
        made = b"s%d" % number if number % 3 == 0 else b"e%d" % number
        self._sent_at[made] = self.clock.wall_ms() * 1000
        return made

    def sent_again(self, batch: RecordBatch) -> list[bytes | None]:
        """A batch's values, as they are sent now: each event with the hour at which it happened."""
        return [value if value is None or bad(value) else self.again(identity(value)) for value in batch.values]

    def again(self, name: bytes) -> bytes:
        """An event as it would be sent now."""
        hours = self.clock.wall_ms() * 1000 // HOUR_US - event_time_us(name, self._sent_at[name]) // HOUR_US
        return b"%s@%d" % (name, hours) if hours else name

    def append(self, number: int, values: Values, *, control: int = 0, aborted: int = 0) -> None:
        """Add a record batch to a log."""
        self.log(number).append(values, control=control, aborted=aborted)
        self.news(self.tp(number))

    def news(self, tp: TP) -> None:
        """Consumers may find something else in a log."""
        for worker in self.slots:
            if worker.alive:
                worker.consumer.news(tp)

    def set_away(self, *, away: bool) -> None:
        """Brokers answer, or not."""
        self.topic.away = away
        if not away:
            for tp in self.topic.logs:
                self.news(tp)

    def land(self, index: int) -> None:
        """A late insert ends, if there is one."""
        if self.store.late:
            self.count("insert landed late")
            with contextlib.suppress(StoreUnavailableError):
                self.store.land_late(index % len(self.store.late))

    def run(self, workers: list[SimWorker], how: Run) -> None:
        """Let workers run in turns, until each has come where it shall, or the time is over."""
        deadline, self._until, going, moves = self.clock.now + how.seconds, how.until, list(workers), 0
        self._reached.clear()
        while going and moves < how.moves:
            moved = False
            for worker in list(going):
                self._mover = worker
                moved |= worker.move(how.turn)
                if worker.name in self._reached or not worker.alive:
                    going.remove(worker)
                self._check()
            moves += moved
            if moved:
                continue
            moments = [moment for worker in going if (moment := worker.next_moment()) is not None]
            if not moments or min(moments) > deadline:
                self.clock.advance(deadline)
                break
            self.clock.advance(min(moments))
        self._until = None

    def count(self, what: str, by: int = 1) -> None:
        """Something happened, for the table."""
        self.tally[what] += by
        self.tell(what)

    def tell(self, what: str) -> None:
        """Something happened, for the story."""
        self.story.append(f"    {self.clock.now:6.1f} s  {what}")

    def fail(self, what: str) -> None:
        """A promise is broken. Raised at the end of the present move: here may be anybody's thread."""
        self.broken = self.broken or what

    # A schedule's way

    def play(self, steps: Sequence[Step]) -> None:
        """Run the steps, heal everything, let one worker drain. Raises Broken."""
        for step in steps:
            self.story.append(f"{step!r}")
            step.apply(self)
            self._expect_counting()
            self._check()
        self._heal()
        self._drain()
        for problem in problems(self):
            raise Broken(problem)

    def _expect_counting(self) -> None:
        """Nothing that befalls workers, the store or connections is a reason to stop a partition and call a person."""
        if self.tally["consumer jumped"] > 1:
            return  # offsets that are missing twice at one place look like a hole in the log
        untouched = {tp.partition for tp, log in self.topic.logs.items() if log.start == 0 and len(log.histories) == 1}
        for worker in self.slots:
            for number, status in worker.partitions.statuses().items() if worker.alive else ():
                if number in untouched and status.state is State.STOPPED:
                    self.fail(f"{number}: {worker.name} stopped it, although its log is whole: {status.error}")

    def _heal(self) -> None:
        """Everybody who lives goes on undisturbed for a while; then the last late inserts land."""
        self.story.append("everything is healed, and all go on")
        self.store_away_until = 0.0
        self.set_away(away=False)
        for worker in self.slots:
            worker.plan.clear()
        self.run([worker for worker in self.slots if worker.alive], Run((), seconds=_SETTLE_S, moves=4000))
        while self.store.late:
            self.land(0)
        self._check()

    def _drain(self) -> None:
        self.story.append("all are killed; one more worker takes every partition")
        for worker in self.slots:
            if worker.alive:
                stopped = {n: s.error for n, s in worker.partitions.statuses().items() if s.state is State.STOPPED}
                self.stopped += [(worker.name, number, error or "") for number, error in stopped.items()]
                worker.kill()
        last = self.last = self._new_worker("last", 0)
        self.slots.append(last)
        last.assign(set(self.topic.logs))
        deadline = self.clock.now + _DRAIN_S
        while self.clock.now < deadline:
            before = self.clock.now
            self.run([last], Run((), seconds=5.0, moves=4000))
            statuses = last.partitions.statuses()
            if len(statuses) == len(self.topic.logs) and all(
                status.state is State.STOPPED
                or (
                    status.state is State.COUNTING
                    and status.next_offset == self.topic.logs[self.tp(number)].end
                    and not status.dedup.unsealed_chunks
                )
                for number, status in statuses.items()
            ):
                return
            if self.clock.now - before < 1.0:
                raise Broken(f"the last worker does one thing after another, and never waits: {statuses}")
        raise Broken(f"after {_DRAIN_S:.0f} s without a fault, partitions are still not drained: {statuses}")

    # What the store and the threads ask

    def _stops_at(self, point: str, _label: str) -> bool:
        if self._until == point and self._mover is not None and self._mover.name not in self._reached:
            self._reached.add(self._mover.name)
            self.tell(f"{self._mover.name} stands at {point} {_label}".rstrip())
            return True
        return False

    def _fault(self, operation: str, label: str) -> Fault | None:
        self.hub.point(operation, label)
        if self.clock.now < self.store_away_until:
            return Fault.BEFORE
        planned = self._mover.plan.get(operation) if self._mover is not None else None
        if not planned:
            return None
        fault = planned.pop(0)
        self.count(f"{operation}: {fault.name.lower()}")
        return fault

    def _between_steps(self, inflight: Inflight) -> None:
        self.hub.point("between_steps", inflight.part.token)

    def _landed(self, part: MemoryPart) -> None:
        self.blobs += [(part.partition, row["first_offset"], row["next_offset"], row["blob"]) for row in part.blobs]
        for row in part.markers:
            tp, first, following = TP(row["topic"], row["partition"]), row["first_offset"], row["next_offset"]
            end = self._ends.get(tp)
            self.tell(f"{part.token} is in the ledger: {first}..{following}")
            if end is not None and first != end:
                self.fail(f"{part.token}: offsets {first}..{following} were committed after those up to {end}")
            self._ends[tp] = following

    def _check(self) -> None:
        if self.broken:
            raise Broken(self.broken)

    def end(self) -> None:
        """Let go of every thread."""
        for worker in self.slots:
            if worker.alive:
                worker.kill()


class _Nonces:
    """In place of `secrets`, so that a schedule can be repeated."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def token_hex(self, size: int) -> str:
        return self.token_bytes(size).hex()

    def token_bytes(self, size: int) -> bytes:
        return self._random.randbytes(size)


@contextlib.contextmanager
def repeatable(setup: Setup) -> Iterator[None]:
    """Everything that production code draws at random follows from the schedule meanwhile; its logs are silent, and so
    is Python about the tasks of processes that were killed."""
    nonces, state, disabled = _Nonces(1), random.getstate(), logging.root.manager.disable
    random.seed(1)
    logging.disable(logging.CRITICAL)
    try:
        with (
            mock.patch.object(commit_module, "secrets", nonces),
            mock.patch.object(first_commit, "secrets", nonces),
            contextlib.nullcontext() if setup.arrow else without_arrow(),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
            yield
    finally:
        random.setstate(state)
        logging.disable(disabled)
