"""A native core in a few lines of Python: a record is one event, its value is its identity, `!` marks a bad one.

For tests of the machinery around the core. What real events mean is tested with the real one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from fleetmeter_jobs.ledger.arrow_batch import USAGE_COLUMNS, ledger_schema

_BAD_VALUE = 11
_SUBJECT_COLUMNS = pa.schema(
    {
        "account_id": pa.string(),
        "day": pa.uint32(),
        "subject_kind": pa.string(),
        "subject": pa.string(),
        "first_seen_us": pa.int64(),
        "last_seen_us": pa.int64(),
    }
)
_NO_SUBJECTS = pa.RecordBatch.from_pylist([], schema=_SUBJECT_COLUMNS)


@dataclass
class ToyIngested:
    """As `fleetmeter_native.Ingested`."""

    max_event_time_us: int = 0
    rejections: list[tuple[int, int, int, str, bytes]] = field(default_factory=list)
    facts: list[tuple[int, int, bytes]] = field(default_factory=list)


@dataclass
class ToyFlush:
    """As `fleetmeter_native.Flush`."""

    events_in: int
    accepted: int
    duplicates: int
    rejected: int
    blob: bytes
    usage: pa.RecordBatch
    unknown_fields: int = 0
    overflowed_labels: int = 0
    subjects: pa.RecordBatch = field(default_factory=lambda: _NO_SUBJECTS)


class ToyCore:
    """Counts distinct values. `work` is called inside every ingest: a test can wait there, or raise."""

    def __init__(self) -> None:
        self.known: set[bytes] = set()
        self.work: Any = lambda _values: None
        self._in_use = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._new: list[bytes] = []
        self._counted: dict[str, int] = dict.fromkeys(("events_in", "accepted", "duplicates", "rejected"), 0)

    @property
    def pending_events(self) -> int:
        return self._counted["events_in"]

    @property
    def pending_groups(self) -> int:
        return min(self._counted["accepted"], 1)

    def ingest(self, values: list[bytes | None], base_offset: int, append_time_us: int) -> ToyIngested:
        if not self._in_use.acquire(blocking=False):
            raise RuntimeError("two threads in one core")
        try:
            self.work(values)
            ingested = ToyIngested()
            for index, value in enumerate(values):
                self._counted["events_in"] += 1
                if value is None or value.startswith(b"!"):
                    ingested.rejections.append((index, 0, _BAD_VALUE, "data", value or b""))
                    self._counted["rejected"] += 1
                elif value in self.known:
                    self._counted["duplicates"] += 1
                else:
                    self.known.add(value)
                    self._new.append(value)
                    self._counted["accepted"] += 1
            if len(ingested.rejections) < len(values):
                ingested.max_event_time_us = append_time_us - 1_000_000
            return ingested
        finally:
            self._in_use.release()

    def flush(self) -> ToyFlush:
        blob = b"\n".join(self._new)
        flushed = ToyFlush(**self._counted, blob=blob, usage=_usage(self._counted["accepted"]))
        self._clear()
        return flushed

    def restore(self, blob: bytes) -> None:
        self.known.update(blob.split(b"\n"))

    def stats(self) -> dict[str, int]:
        return {"sequenced_events": len(self.known), "foreign_ids": 0}


@cache
def _usage(requests: int) -> pa.RecordBatch:
    columns = {}
    rows = 1 if requests else 0
    for name in USAGE_COLUMNS:
        kind = ledger_schema().field(name).type
        if pa.types.is_dictionary(kind):
            columns[name] = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), ["toy"])
        else:
            columns[name] = pa.array(np.full(rows, requests if name == "requests" else 0, kind.to_pandas_dtype()))
    return pa.record_batch(columns)
