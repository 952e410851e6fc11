"""Commits of toy identities to any store, day by day, and what must be remembered of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fleetmeter_jobs.ledger.commit import Commit, Committed, commit
from fleetmeter_jobs.ledger.context import CommitContext, CommitObserver
from fleetmeter_jobs.ledger.dedup.chunks import Chunk, CutRule
from fleetmeter_jobs.ledger.dedup.housekeeping import Kept, keep
from fleetmeter_jobs.ledger.dedup.known import KnownEvents
from fleetmeter_jobs.ledger.dedup.restore import Restored, restore
from fleetmeter_jobs.ledger.dedup.store import DedupStore
from fleetmeter_jobs.ledger.first_commit import ensure_position
from fleetmeter_jobs.ledger.position import Counts, PartitionId, Position
from fleetmeter_jobs.ledger.retry import Backoff
from fleetmeter_jobs.ledger.store import AuditStore

from fleetmeter_doubles.sample_log import usage_batch
from fleetmeter_doubles.toy_core import ToyCore
from fleetmeter_doubles.toy_dedup import DAY_US, TOY_NATIVE, is_sequenced, pack
from fleetmeter_doubles.turns import TurnCancel

HASH_KEY = bytes(16)
DAY = 20_500
"""2026-02-16, the first day."""


class Store(DedupStore, AuditStore, Protocol):
    """All of a store."""


@dataclass
class DedupWorld:
    """One log in a store. Chunks are closed with ten foreign ids, or after a day."""

    store: Store
    partition: PartitionId = field(default_factory=lambda: PartitionId("fleetmeter.usage", 3, 0))
    rule: CutRule = field(default_factory=lambda: CutRule(ids=10, blob_bytes=2**20))
    log_start: int = 7
    observer: CommitObserver = field(default_factory=CommitObserver)
    accepted: dict[bytes, int] = field(default_factory=dict)
    """The oracle: every identity that was committed, and on which day."""

    def context(self) -> CommitContext:
        return CommitContext(
            cancel=TurnCancel(),
            backoff=Backoff(random=lambda: 0.0),
            observer=self.observer,
            now_ms=lambda: DAY * 86_400_000,
        )

    @property
    def position(self) -> Position:
        return ensure_position(self.store, self.partition, self.log_start, "topic-id", DAY * 86_400_000, self.context())

    def commit(self, values: Sequence[bytes], day: int = DAY) -> Position:
        """One flush that accepts new values, all appended in the first hour of a day. Takes an offset more than that,
        for a record without a new event."""
        previous = self.position
        first, after = previous.next_offset, previous.next_offset + len(values) + 1
        usage = {
            "event_type": "generation",
            "account_id": "acme",
            "minute": day * 86_400,
            "requests": len(values),
            "first_offset": first,
            "next_offset": after,
        }
        flush = Commit(
            partition=self.partition,
            previous=previous,
            next_offset=after,
            counts=Counts(records=after - first, events_in=len(values) + 1, accepted=len(values), duplicates=1),
            watermark_us=day * DAY_US,
            topic_id="topic-id",
            leader_epoch=1,
            crc=after,
            append_time_ms=day * 86_400_000,
            usage=usage_batch([usage]) if values else None,
            blob=pack(day, {value: day if is_sequenced(value) else day * 24 for value in values}),
        )
        outcome = commit(self.store, flush, self.context())
        assert isinstance(outcome, Committed)
        self.accepted |= dict.fromkeys(values, day)
        return outcome.position

    def fill(self, days: Iterable[int], a_day: int = 12, commits: int = 3) -> None:
        """On each day so many new foreign ids, and half as many sequenced ones, in a few commits."""
        for day in days:
            names = [b"f%d-%d" % (day, n) for n in range(a_day)] + [b"s%d-%d" % (day, n) for n in range(a_day // 2)]
            for number in range(commits):
                self.commit(names[number::commits], day)

    def restore(self, filter_limit_bytes: int = 2**30, position: Position | None = None) -> Restored:
        return restore(
            self.store,
            ToyCore,
            TOY_NATIVE,
            self.partition,
            position or self.position,
            self.rule,
            filter_limit_bytes,
        )

    def keep(self, chunk: Chunk, before_day: int = 0) -> Kept:
        """Seal a chunk and let expire what is older than a day."""
        starts = {chunk.partition: self.log_start}
        return keep(
            self.store, TOY_NATIVE, HASH_KEY, chunk, starts, self.partition.partition, before_day, self.context()
        )

    def closed(self) -> list[Chunk]:
        """What is to be sealed, oldest first."""
        return [exact.chunk for exact in self.restore().book.closed]

    def seal_all(self, before_day: int = 0) -> list[Kept]:
        return [self.keep(chunk, before_day) for chunk in self.closed()]

    def asked(self, restored: Restored, values: Iterable[bytes], day: int) -> tuple[int, int, int]:
        """Events with these values reach a restored core on a day: accepted, duplicates, rejected. Held ones are looked
        up in the store."""
        known = KnownEvents(restored, self.store)
        known.ingest(list(values), 10**9, day * DAY_US)
        flushed = known.flush()
        return flushed.accepted, flushed.duplicates, flushed.rejected

    def assert_remembered(self, restored: Restored, day: int, since: int = 0) -> None:
        """Every identity since a day is a duplicate, with a new time too; a new one is not."""
        known = [value for value, accepted_on in self.accepted.items() if accepted_on >= since]
        assert self.asked(restored, known, day) == (0, len(known), 0)
        assert self.asked(restored, [b"new-%d" % n for n in range(50)], day) == (50, 0, 0)
