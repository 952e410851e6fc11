"""A made-up Kafka partition whose right answer is known: what each offset holds, and so what any commit must hold."""

from __future__ import annotations

import random
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from fleetmeter_jobs.ledger.arrow_batch import USAGE_COLUMNS, ledger_schema
from fleetmeter_jobs.ledger.commit import Commit
from fleetmeter_jobs.ledger.position import Counts, PartitionId, Position

APPEND_TIME_MS = 1_772_323_200_000
"""2026-03-01T00:00:00Z."""
MINUTE_0 = APPEND_TIME_MS // 1000


def usage_batch(rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """Usage rows as the native core would flush them; what a row does not name is empty or 0."""
    arrays = []
    for name in USAGE_COLUMNS:
        kind = ledger_schema().field(name).type
        missing = "" if pa.types.is_dictionary(kind) else 0
        values = [row.get(name, missing) for row in rows]
        arrays.append(pa.array(values, kind))
    return pa.RecordBatch.from_arrays(arrays, names=list(USAGE_COLUMNS))


@dataclass(frozen=True, slots=True)
class Record:
    """What one offset holds: events of some account and minute, all with the same tokens; or bad ones."""

    account: str
    minute: int
    events: int
    tokens: int
    rejected: int


@dataclass(frozen=True)
class SampleLog:
    """Offsets `start` to `end` of a partition, made from a seed."""

    partition: PartitionId
    start: int
    end: int
    seed: int = 0
    records: dict[int, Record] = field(init=False)

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        made = {
            offset: Record(
                account=f"account-{rng.randrange(3)}",
                minute=MINUTE_0 + 60 * rng.randrange(3),
                events=rng.choice([0, 1, 1, 2]),
                tokens=rng.randrange(1, 1000),
                rejected=rng.choice([0, 0, 0, 1]),
            )
            for offset in range(self.start, self.end)
        }
        object.__setattr__(self, "records", made)

    def flush(self, previous: Position, next_offset: int, nonce: str) -> Commit:
        """The commit of offsets `previous.next_offset` up to `next_offset`."""
        some = {offset: self.records[offset] for offset in range(previous.next_offset, next_offset)}
        groups: dict[tuple[str, int], dict[str, Any]] = {}
        for offset, record in some.items():
            if not record.events:
                continue
            row = groups.setdefault(
                (record.account, record.minute),
                {
                    "event_type": "generation",
                    "account_id": record.account,
                    "minute": record.minute,
                    "model": "mercury-coder-small",
                    "generation_mode": "diffusion",
                    "requests": 0,
                    "output_tokens": 0,
                    "first_offset": offset,
                },
            )
            row["requests"] += record.events
            row["output_tokens"] += record.events * record.tokens
            row["next_offset"] = offset + 1
        accepted = sum(record.events for record in some.values())
        rejected = sum(record.rejected for record in some.values())
        return Commit(
            partition=self.partition,
            previous=previous,
            next_offset=next_offset,
            counts=Counts(records=len(some), events_in=accepted + rejected, accepted=accepted, rejected=rejected),
            watermark_us=max(record.minute for record in some.values()) * 1_000_000,
            topic_id="topic-id",
            leader_epoch=4,
            crc=next_offset,
            append_time_ms=APPEND_TIME_MS,
            usage=usage_batch(list(groups.values())) if groups else None,
            blob=b"".join(struct.pack("<Q", offset) * record.events for offset, record in some.items()),
            nonce=nonce,
        )

    def accepted(self, before: int) -> int:
        """Events that are to be counted up to an offset."""
        return sum(self.records[offset].events for offset in range(self.start, before))

    def rejected(self, before: int) -> int:
        """Events that are to be refused up to an offset."""
        return sum(self.records[offset].rejected for offset in range(self.start, before))

    def rollups(self, before: int) -> Counter[tuple[str, int]]:
        """Output tokens by account and minute, up to an offset."""
        sums: Counter[tuple[str, int]] = Counter()
        for offset in range(self.start, before):
            record = self.records[offset]
            sums[record.account, record.minute] += record.events * record.tokens
        return +sums

    def identities(self, before: int) -> list[int]:
        """The offset of each event that is to be counted, up to an offset."""
        return [offset for offset in range(self.start, before) for _ in range(self.records[offset].events)]


def identities_in(blobs: Iterable[bytes]) -> list[int]:
    """The offsets in blobs that `SampleLog.flush` has made, in order."""
    return sorted(offset for blob in blobs for (offset,) in struct.iter_unpack("<Q", blob))
