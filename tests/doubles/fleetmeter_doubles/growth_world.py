"""A topic that grows while it is counted, in memory and one step at a time: producers that learn of partitions late,
workers that may be rivals, and the operator's command; the ledger's protocol is the real one.

The oracle: each event that was ever sent is counted once, wherever its copies lie.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from threading import Event
from typing import Any
from zlib import crc32

from fleetmeter_jobs.continuity import continue_from
from fleetmeter_jobs.errors import PartitionGrowingError, PartitionsAddedError
from fleetmeter_jobs.growing import Grower
from fleetmeter_jobs.kafka_topic import KafkaTopic, SeenTopic, TopicNow
from fleetmeter_jobs.ledger.commit import Lost
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.dedup.chunks import BlobStats
from fleetmeter_jobs.ledger.dedup.restore import Restored
from fleetmeter_jobs.ledger.errors import DedupMovedError
from fleetmeter_jobs.ledger.growth import read_topology
from fleetmeter_jobs.ledger.position import Counts, Position
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.pending import Pending
from fleetmeter_jobs.record_batch import RecordBatch
from fleetmeter_jobs.registration import Admission, Registration
from fleetmeter_jobs.settings import Settings

from fleetmeter_doubles.memory_ledger import MemoryLedger
from fleetmeter_doubles.toy_core import ToyCore
from fleetmeter_doubles.toy_dedup import TOY_NATIVE
from fleetmeter_doubles.turns import Turn

TOPIC, TOPIC_ID = "usage", "topic-a"
SOURCES = [f"{kind}-{number}" for kind in ("sequenced", "foreign") for number in range(3)]
"""By their first letter the toy core knows what kind of ids they have."""
SETTLE_S = 3
_NOW_MS = 1_780_000_000_000
_TURN_RATE = 0.4
"""How often the partition whose turn it is, is chosen on purpose: else a run takes long to come to its end."""
_SETTINGS = Settings(retry_wait_s=0.01, retry_wait_limit_s=0.02).model_copy(update={"dedup_chunk_ids": 4})


class ToyTopic:
    """Kafka's side: logs, and a describe that is always up to date."""

    def __init__(self, partitions: int) -> None:
        self.logs: list[list[bytes]] = [[] for _ in range(partitions)]
        self.on_grown: Callable[[], None] = lambda: None

    def describe(self) -> KafkaTopic:
        return KafkaTopic(TOPIC, TOPIC_ID, len(self.logs), "delete", "LogAppendTime")

    def add_partitions(self, total: int) -> None:
        Turn.pause("before partitions")
        while len(self.logs) < total:
            self.logs.append([])
        self.on_grown()
        Turn.pause("after partitions")

    def log_bounds(self) -> Mapping[int, tuple[int, int]]:
        return {number: (0, len(log)) for number, log in enumerate(self.logs)}

    def append(self, partition: int, value: bytes) -> None:
        self.logs[partition].append(value)

    def batches(self, partition: int) -> list[RecordBatch]:
        """One record each."""
        return [
            RecordBatch(offset, offset + 1, _NOW_MS, 1, offset * 31 + 7, [value], 0, 0)
            for offset, value in enumerate(self.logs[partition])
        ]


@dataclass
class Session:
    """A worker's hold on a partition; `work` counts some records and commits them. It may have been overtaken long
    since, and finds out when it commits."""

    world: GrowthWorld
    partition: int
    ledger: PartitionLedger = field(init=False)
    memory: Restored = field(init=False)
    position: Position = field(init=False)
    known_partitions: int = 0

    def begin(self) -> bool:
        """Take the partition up from the ledger; False if it may not be counted now."""
        world = self.world
        self.known_partitions = len(world.kafka.logs)
        registration = Registration(world.store, CommitContext())
        topic = SeenTopic(world.kafka.describe, lambda: TopicNow(TOPIC_ID, len(world.kafka.logs)))
        self.ledger = PartitionLedger(
            world.store,
            TOPIC,
            self.partition,
            _SETTINGS,
            topic.topic_id,
            topic_id_now=topic.topic_id_now,
            core=lambda _settings, _key: ToyCore(),
            native=lambda: TOY_NATIVE,
        )
        topic_id = self.ledger.topic_id()
        try:
            admission = registration.admission(world.kafka.describe(), self.partition)
            if admission is Admission.REGISTER:
                registration.register(world.kafka.describe(), dict.fromkeys(range(len(world.kafka.logs)), 0))
            self.position = self.ledger.open(0, topic_id)
        except (PartitionGrowingError, PartitionsAddedError):
            return False
        if self.ledger.section_end is None and admission is Admission.SECTION:
            return False
        self.memory = self.ledger.restore(self.position)
        return True

    def work(self, records: int) -> bool:
        """Count up to so many records, and commit them; False if the session is over."""
        here, end = self.position.next_offset, self.ledger.section_end
        if end is not None and here >= end:
            return False
        batches = continue_from(here, self.world.kafka.batches(self.partition)[here : here + records], end)
        if not batches:
            return True
        pending = Pending(here, self.position.watermark_us)
        try:
            outcome = self.ledger.commit(self.position, pending, self._count(pending, batches), TOPIC_ID)
        except PartitionGrowingError:
            return False
        if isinstance(outcome, Lost):
            return False
        self.position = outcome.position
        return True

    def _count(self, pending: Pending, batches: list[RecordBatch]) -> Any:
        core, book = self.memory.core, self.memory.book
        pending.ingest(core, batches)
        while core.held_events:
            chunks = [(book.chunk_of(number), fingerprints) for number, fingerprints in core.take_lookups()]
            asked = [(chunk, fingerprints) for chunk, fingerprints in chunks if chunk is not None]
            pending.resolve(core, self.ledger.look_up(asked, pending.earliest_append_ms or 0, Event()))
        flush = core.flush()
        if flush.blob:
            stats = BlobStats.of(self.ledger.blob_stats(flush.blob))
            number = book.add_commit(self.memory.cutter, pending.next_offset, stats, len(flush.blob))
            if number is not None:
                core.begin_chunk(number)
        return flush

    def seal(self) -> None:
        """Seal what is to be sealed next, in whatever partition it was counted."""
        book = self.memory.book
        if book.closed and book.closed[0].chunk.next_offset <= self.position.next_offset:
            with suppress(DedupMovedError):
                self.ledger.keep(book.closed[0].chunk, book.log_starts, book.append_us, Event())


class GrowthWorld:
    """Everything of one run. `random` decides what a step is about."""

    def __init__(self, partitions: int, random: Random) -> None:
        self.kafka = ToyTopic(partitions)
        self.store = MemoryLedger()
        self.store.between_steps = lambda _insert: Turn.pause("insert")
        self.random = random
        self.sent: set[bytes] = set()
        self.now_ms = _NOW_MS
        self.command: Turn | None = None
        self.refused: list[str] = []
        self.kafka.on_grown = self._on_grown
        self._settling: list[tuple[int, int]] = []
        self._known = dict.fromkeys(SOURCES, partitions)
        self._events: defaultdict[str, list[bytes]] = defaultdict(list)
        self._sessions: dict[tuple[int, int], Session] = {}

    # Steps

    def send(self) -> None:
        """A source sends something new, to where it thinks that its partition is."""
        source = self.random.choice(SOURCES)
        value = f"{source}/{len(self._events[source])}".encode()
        self._events[source].append(value)
        self._send(source, value)

    def send_again(self) -> None:
        """A source sends once more what it has sent before."""
        source = self.random.choice(SOURCES)
        if self._events[source]:
            self._send(source, self.random.choice(self._events[source][-3:]))

    def send_to(self, partition: int, source: str, *, again: bool = False) -> None:
        """A source sends something new, or its last event again, to this partition."""
        if not again:
            self._events[source].append(f"{source}/{len(self._events[source])}".encode())
        self.sent.add(self._events[source][-1])
        self.kafka.append(partition, self._events[source][-1])

    def learn(self) -> None:
        """A source learns how many partitions there are."""
        self._known[self.random.choice(SOURCES)] = len(self.kafka.logs)

    def work(self) -> None:
        """One of two workers, which may both think that a partition is theirs, counts a little."""
        partition = self.random.randrange(len(self.kafka.logs))
        if self.random.random() < _TURN_RATE and (last := read_topology(self.store, TOPIC).last) is not None:
            partition = min(set(range(last.new_partitions)) - last.done, default=partition)
        key = self.random.randrange(2), min(partition, len(self.kafka.logs) - 1)
        session = self._sessions.get(key)
        if session is None:
            session = Session(self, key[1])
            if session.begin():
                self._sessions[key] = session
        elif not session.work(self.random.choice([1, 2, 5])):
            del self._sessions[key]

    def look(self) -> None:
        """A worker, which looks at the topic now and then, begins again what it began when there were fewer partitions:
        without records to commit it would not be told."""
        worker, partitions = self.random.randrange(2), len(self.kafka.logs)
        for key, session in list(self._sessions.items()):
            if key[0] == worker and session.known_partitions < partitions:
                del self._sessions[key]

    def seal(self) -> None:
        """A worker seals a chunk, and dies before it could make anything of it."""
        if self._sessions:
            self._sessions.pop(self.random.choice(sorted(self._sessions))).seal()

    def lose_worker(self) -> None:
        """A worker is gone, and with it what was in its memory."""
        if self._sessions:
            del self._sessions[self.random.choice(sorted(self._sessions))]

    def grow(self, partitions: int) -> None:
        """The command comes one step further; it is started if it does not run and has something left to do."""
        if self.command is None:
            last = read_topology(self.store, TOPIC).last
            if last is not None and last.ends is not None and not last.over:
                return
            self.command = Turn(lambda: self.grower().grow(self.grower().find(partitions, SETTLE_S)))
        self.command.step()
        if self.command.done:
            self.command = None

    def kill_command(self) -> None:
        """The command dies where it stands."""
        if self.command is not None:
            self.command.crash()
            self.command = None

    # And then

    def finish(self) -> None:
        """All is sent; workers count until nothing is left."""
        self._sessions.clear()
        for _ in range(20 * len(self.kafka.logs)):
            for partition, log in enumerate(self.kafka.logs):
                session = Session(self, partition)
                while session.begin() and session.position.next_offset < len(log) and session.work(1000):
                    pass
            if self.counted().records == sum(map(len, self.kafka.logs)):
                return
        raise AssertionError(f"not all was counted: {self.counted()}, {[len(log) for log in self.kafka.logs]}")

    def counted(self) -> Counts:
        """What all markers add up to."""
        totals = [tally.position.totals for tally in self.store.tallies()]
        return Counts(*(sum(getattr(one, name) for one in totals) for name in Counts.__dataclass_fields__))

    def check(self) -> None:
        """Every event once, every record accounted for."""
        counted = self.counted()
        assert counted.accepted == len(self.sent), f"{counted.accepted} counted, {len(self.sent)} were sent"
        assert counted.records == counted.accepted + counted.duplicates

    def grower(self) -> Grower:
        """The command, on this world's clock."""
        context = CommitContext(now_ms=lambda: self.now_ms)
        return Grower(self.store, self.kafka, "test", context, self.refused.append, self._wait)

    def _wait(self, seconds: float) -> None:
        Turn.pause("wait")
        self.now_ms += int(seconds * 1000)
        for at_ms, partitions in self._settling:
            if self.now_ms >= at_ms:
                # What the time to settle means: by its end every producer knows.
                self._known = {source: max(known, partitions) for source, known in self._known.items()}

    def _on_grown(self) -> None:
        self._settling.append((self.now_ms + SETTLE_S * 1000, len(self.kafka.logs)))

    def _send(self, source: str, value: bytes) -> None:
        self.sent.add(value)
        self.kafka.append(crc32(source.encode()) % self._known[source], value)
