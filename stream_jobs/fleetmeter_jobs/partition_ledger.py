"""One partition's side of the ledger: everything that its processor asks of it, as calls that block.

Runs in threads. Calls that wait for ClickHouse go on trying until `abandon`, which ends them with CommitAbandonedError.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa

from fleetmeter_jobs.counting_core import DAY_US, SECOND_US, dedup_native, new_core
from fleetmeter_jobs.errors import CountingError, JobError, KafkaUnavailableError, TopicReplacedError
from fleetmeter_jobs.ledger.commit import Commit, Committed, Lost, commit
from fleetmeter_jobs.ledger.context import CommitContext, CommitObserver, HookPoint
from fleetmeter_jobs.ledger.dedup.chunks import Chunk, CutRule
from fleetmeter_jobs.ledger.dedup.expiry import forget_before
from fleetmeter_jobs.ledger.dedup.housekeeping import Kept, keep
from fleetmeter_jobs.ledger.dedup.manifest import Manifest
from fleetmeter_jobs.ledger.dedup.native import Native
from fleetmeter_jobs.ledger.dedup.restore import Restored, restore
from fleetmeter_jobs.ledger.dedup.store import DedupStore
from fleetmeter_jobs.ledger.errors import DedupMovedError, StoreUnavailableError
from fleetmeter_jobs.ledger.first_commit import ensure_hash_key, ensure_position
from fleetmeter_jobs.ledger.growth import inherited_epochs, read_topology
from fleetmeter_jobs.ledger.growth_section import enter
from fleetmeter_jobs.ledger.position import Counts, PartitionId, Position
from fleetmeter_jobs.ledger.retry import Backoff, Cancel, pause, until_answered
from fleetmeter_jobs.ledger.side_rows import fact_rows, quarantine_rows, subject_rows, watermark_rows
from fleetmeter_jobs.ledger.store import SideRows
from fleetmeter_jobs.pending import Pending
from fleetmeter_jobs.settings import Settings

log = logging.getLogger(__name__)


class PartitionLedger:
    """Binds the ledger's functions to a Kafka partition and the settings."""

    def __init__(
        self,
        store: DedupStore,
        topic: str,
        partition: int,
        settings: Settings,
        topic_id: Callable[[], str],
        observer: CommitObserver | None = None,
        core: Callable[[Settings, bytes], Any] = new_core,
        topic_id_now: Callable[[], str] | None = None,
        native: Callable[[], Native] = dedup_native,
        new_event: Callable[[], threading.Event] = threading.Event,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """`topic_id` gives the id of a topic that was found fit for counting; `topic_id_now` only the id, quickly, and
        raises where the topic is no longer what it was then (see `kafka_topic.SeenTopic`).
        `new_event` makes what waits until it is time to try again, and `now_ms` is this machine's clock."""
        self.partition = PartitionId(topic, partition)
        """The log that is counted; `open` finds out in which epoch."""
        self._store, self._settings, self._core = store, settings, core
        self._topic_id, self._topic_id_now = topic_id, topic_id_now or topic_id
        self._native = native
        self._new_event, self._cancel = new_event, new_event()
        self.section_end: int | None = None
        """Where the partition has to stop and begin again, if partitions are being added; see `ledger.growth`."""
        self.trouble: JobError | None = None
        """Why ClickHouse, or Kafka, is being waited for now, if it is."""
        self._context = CommitContext(
            cancel=self._cancel,
            backoff=Backoff(first_s=settings.retry_wait_s, limit_s=settings.retry_wait_limit_s),
            observer=_Watch(self, observer or CommitObserver()),
            ghosts=settings.ghosts,
            now_ms=now_ms,
        )

    def topic_id(self) -> str:
        """Kafka's id of the topic, once it was found fit for counting (see `kafka_topic`)."""
        return self._topic_id()

    def open(self, log_start: int, topic_id: str) -> Position:
        """The committed position in the newest log epoch; the first time, the log's start is committed as such.

        Raises PartitionGrowingError while partitions are being added and it is not this one's turn.
        """
        # What follows waits without a word, so that this one raises while nobody answers.
        epochs = self._store.epochs(self.partition.topic, self.partition.partition)
        if epochs:
            self.partition = epochs[-1][0]
        try:
            position = ensure_position(
                self._store, self.partition, log_start, topic_id, self._context.now_ms(), self._context
            )
            self.partition, position, self.section_end = enter(self._store, self.partition, position, self._context)
            return position
        finally:
            self.trouble = None

    def restore(self, position: Position) -> Restored:
        """A core that knows every event committed before the position. See `ledger.dedup.restore`."""
        self._store.hash_key()  # as above
        hash_key = ensure_hash_key(self._store, self._context)
        settings = self._settings
        memory_us = settings.horizon_days * DAY_US + settings.future_limit_s * SECOND_US
        topology = read_topology(self._store, self.partition.topic)
        return restore(
            self._store,
            partial(self._core, settings, hash_key),
            self._native(),
            self.partition,
            position,
            CutRule(settings.dedup_chunk_ids, settings.dedup_chunk_limit_bytes),
            settings.dedup_filter_limit_bytes,
            inherited_epochs(self._store, topology, self.partition, position, memory_us),
            self._cancel,
        )

    def blob_stats(self, blob: bytes) -> Mapping[str, int]:
        """What a blob holds."""
        return self._native().blob_stats(blob)

    def look_up(self, asked: Sequence[tuple[Manifest, bytes]], since_ms: int, cancel: Cancel) -> bytes:
        """Which of the fingerprints are known in the chunks beside which they stand, asked until the store answers.
        They are of events that were appended at `since_ms` or later.

        Raises DedupMovedError when a chunk was forgotten meanwhile that can have such events: by the worker of another
        partition, whose log may be days ahead of this one; or of this partition, but by another horizon, or by a clock
        that was ahead. Read again, the chunk leaves a floor.
        """
        too_old = self._forget_before(since_ms * 1000)
        try:
            return b"".join(self._known(chunk, fingerprints, too_old, cancel) for chunk, fingerprints in asked)
        finally:
            self.trouble = None

    def _known(self, chunk: Manifest, fingerprints: bytes, too_old: int, cancel: Cancel) -> bytes:
        def ask() -> bytes:
            known = self._store.known_ids(chunk.partition, chunk.first_offset, chunk.next_offset, fingerprints)
            # In this order: what is remembered afterwards was there when it was asked.
            if chunk.append_day >= too_old and not self._store.is_remembered(chunk):
                raise DedupMovedError(f"{chunk} was forgotten while ids were looked up in it")
            return known

        return until_answered(
            ask,
            cancel,
            self._context.backoff,
            f"looking up ids in {chunk}",
            partial(self._context.observer.failed, str(chunk)),
        )

    def _forget_before(self, append_us: int) -> int:
        return forget_before(append_us, self._settings.horizon_days, self._settings.future_limit_s)

    def keep(self, chunk: Chunk, log_starts: Mapping[PartitionId, int], append_us: int, cancel: Cancel) -> Kept:
        """Seal a chunk and let expire what is too old for the log as it is now. See `ledger.dedup.housekeeping`."""
        context = replace(self._context, cancel=cancel)
        before = self._forget_before(append_us)
        hash_key = ensure_hash_key(self._store, context)
        counted = self.partition.partition
        return keep(self._store, self._native(), hash_key, chunk, log_starts, counted, before, context)

    def commit(self, previous: Position, pending: Pending, flush: Any, topic_id: str) -> Committed | Lost:
        """Commit one flush with its side rows, if it was read from the topic with this id.

        Raises TopicReplacedError if there is another one now, PartitionGrowingError if it has more partitions now, and
        what `ledger.commit` raises.
        """
        try:
            self._expect_topic(topic_id)
            return commit(self._store, self._commit_of(previous, pending, flush, topic_id), self._context)
        finally:
            self.trouble = None

    def _expect_topic(self, topic_id: str) -> None:
        """A topic that is deleted and made again under a running consumer is delivered on as if nothing had happened,
        from the old position in the new log. Ids are never used twice: as long as the topic has this one, all that was
        read before came from it. Waits for Kafka as a commit does for ClickHouse."""
        failures = 0
        while True:
            try:
                found = self._topic_id_now()
            except KafkaUnavailableError as error:
                failures += 1
                self.trouble = error
                log.warning("%s waits: %s", self.partition, error)
                pause(self._context.cancel, self._context.backoff.wait_s(failures), f"asking for {self.partition}'s id")
            else:
                break
        if found != topic_id:
            raise TopicReplacedError(
                f"{self.partition}: the topic with id {topic_id} was deleted and made again, with id {found}; what was "
                "read since the last commit is not counted"
            )

    def advance_watermark(self, watermark_us: int, next_offset: int) -> None:
        """The partition is idle at `next_offset`, and known to hold nothing from before the watermark. Tried once."""
        for rows in watermark_rows(self.partition, watermark_us, next_offset):
            self._store.insert_side_rows(rows)

    def new_cancel(self) -> threading.Event:
        """What ends a call that takes one, once it is set."""
        return self._new_event()

    def abandon(self) -> None:
        """End the calls that wait."""
        self._cancel.set()

    def _commit_of(self, previous: Position, pending: Pending, flush: Any, topic_id: str) -> Commit:
        if flush.rejected != len(pending.rejections):
            raise CountingError(
                f"{self.partition}: the native core rejected {flush.rejected} events from offset "
                f"{pending.first_offset} "
                f"on, but handed out {len(pending.rejections)}"
            )
        usage = pa.record_batch(flush.usage)
        return Commit(
            partition=self.partition,
            previous=previous,
            next_offset=pending.next_offset,
            counts=Counts(
                records=pending.records,
                control_offsets=pending.control,
                aborted_offsets=pending.aborted,
                events_in=flush.events_in,
                accepted=flush.accepted,
                duplicates=flush.duplicates,
                rejected=flush.rejected,
                unknown_fields=flush.unknown_fields,
                overflowed_labels=flush.overflowed_labels,
            ),
            watermark_us=pending.watermark_us,
            topic_id=topic_id,
            leader_epoch=pending.leader_epoch,
            crc=pending.crc,
            append_time_ms=pending.append_time_ms,
            usage=usage if usage.num_rows else None,
            facts=len(pending.facts),
            blob=flush.blob,
            side_rows=self._side_rows(pending, flush),
        )

    def _side_rows(self, pending: Pending, flush: Any) -> tuple[SideRows, ...]:
        limit = self._settings.quarantine_payload_limit_bytes
        return (
            *quarantine_rows(self.partition, pending.rejections, payload_limit_bytes=limit),
            *fact_rows(self.partition, pending.facts, label_keys=self._settings.label_keys),
            *subject_rows(pa.record_batch(flush.subjects)),
        )


class _Watch(CommitObserver):
    """Remembers the last error while a commit goes on trying, and passes everything on."""

    def __init__(self, ledger: PartitionLedger, observer: CommitObserver) -> None:
        self._ledger, self._observer = ledger, observer

    def at(self, point: HookPoint, label: str) -> None:
        self._observer.at(point, label)

    def failed(self, label: str, error: StoreUnavailableError) -> None:
        self._ledger.trouble = error
        log.warning("%s waits: %s", label, error)
        self._observer.failed(label, error)

    def ghost(self, label: str) -> None:
        log.warning("%s: ClickHouse logged the token and lost the rows; committing under the next attempt", label)
        self._observer.ghost(label)
