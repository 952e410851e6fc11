"""Offsets without holes and without repeats: what may be counted next, of what Kafka delivered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fleetmeter_jobs.errors import OffsetGapError
from fleetmeter_jobs.record_batch import RecordBatch


def continue_from(position: int, batches: Iterable[RecordBatch], end: int | None = None) -> list[RecordBatch]:
    """The batches that follow `position`, without what lies before it, and begin before `end`; together they have no
    gap.

    Raises OffsetGapError when a batch begins after the point where the one before ended, or does not account for every
    offset that it spans. Nothing of the call should be counted then.
    """
    following: list[RecordBatch] = []
    for batch in batches:
        if end is not None and position >= end:
            break
        if batch.missing:
            raise OffsetGapError(
                f"the record batch {batch.base_offset}..{batch.next_offset} has only {len(batch.values)} of "
                f"{batch.span} "
                "records: the log was compacted. Set the topic's cleanup.policy=delete; then "
                f"`fleetmeter positions set PARTITION --to {batch.next_offset} --reason 'why'` skips the batch, and "
                "writes the loss down"
            )
        if batch.base_offset > position:
            raise OffsetGapError(
                f"offset {batch.base_offset} follows {position}: {batch.base_offset - position} are missing"
            )
        if batch.next_offset > position:
            following.append(_trim(batch, position))
            position = batch.next_offset
    return following


def _trim(batch: RecordBatch, position: int) -> RecordBatch:
    overlap = position - batch.base_offset
    if not overlap:
        return batch
    return replace(
        batch,
        base_offset=position,
        values=batch.values[overlap:],
        # A batch is either records, or control, or aborted.
        control=max(batch.control - overlap, 0),
        aborted=max(batch.aborted - overlap, 0),
    )
