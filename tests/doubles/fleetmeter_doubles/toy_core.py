"""A native core in few lines of Python: a record is one event, its value is its identity, `!` marks a bad one.

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

from fleetmeter_doubles.toy_dedup import (
    DAY_US,
    HOUR_US,
    event_time_us,
    fingerprint,
    identity,
    is_sequenced,
    pack,
    unpack,
    unpack_hours,
)

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


@dataclass
class _Cold:
    hours: set[int]
    filter: bytes | None
    ids: int


class ToyCore:
    """Counts distinct values (see `toy_dedup`). `work` is called inside every ingest: a test can wait there, or raise.

    `horizon_us`: older events are rejected, as those before the floor are.
    """

    def __init__(self, horizon_us: int = 35 * DAY_US) -> None:
        self.floor_us = 0
        self.work: Any = lambda _values: None
        self._horizon_us = horizon_us
        self._sequenced: dict[bytes, int] = {}
        self._exact: dict[int, dict[bytes, int]] = {0: {}}
        self._cold: dict[int, _Cold] = {}
        self._current = 0
        self._held: dict[bytes, bytes] = {}
        self._untaken: list[tuple[int, bytes]] = []
        self._asked: set[bytes] = set()
        self._in_use = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._new: dict[bytes, int] = {}
        self._day = 0
        self._counted: dict[str, int] = dict.fromkeys(("events_in", "accepted", "duplicates", "rejected"), 0)

    @property
    def pending_events(self) -> int:
        return self._counted["events_in"]

    @property
    def pending_groups(self) -> int:
        return min(self._counted["accepted"], 1)

    @property
    def held_events(self) -> int:
        return len(self._held)

    def ingest(self, values: list[bytes | None], base_offset: int, append_time_us: int) -> ToyIngested:
        if not self._in_use.acquire(blocking=False):
            raise RuntimeError("two threads in one core")
        try:
            self.work(values)
            ingested = ToyIngested()
            for index, value in enumerate(values):
                self._counted["events_in"] += 1
                time_us = 0 if value is None or value.startswith(b"!") else event_time_us(value, append_time_us)
                if value is None or time_us < max(append_time_us - self._horizon_us, self.floor_us, 1):
                    ingested.rejections.append((index, 0, _BAD_VALUE, "data", value or b""))
                    self._counted["rejected"] += 1
                else:
                    self._judge(identity(value), time_us, append_time_us)
                    ingested.max_event_time_us = append_time_us - 1_000_000
            return ingested
        finally:
            self._in_use.release()

    def _judge(self, name: bytes, time_us: int, append_time_us: int) -> None:
        self._day = max(self._day, append_time_us // DAY_US)
        hour = time_us // HOUR_US
        if self._knows(name) or name in self._held.values():
            self._counted["duplicates"] += 1
        elif not is_sequenced(name) and (maybe := self._maybes(name, hour)):
            self._held[fingerprint(name)] = name
            self._new[name] = hour  # its place among the others; taken back if it is known
            self._untaken += [(number, fingerprint(name)) for number in maybe]
            self._counted["events_in"] -= 1
        else:
            self._accept(name, append_time_us // DAY_US if is_sequenced(name) else hour)

    def _accept(self, name: bytes, number: int) -> None:
        (self._sequenced if is_sequenced(name) else self._exact[self._current])[name] = number
        self._new[name] = number
        self._counted["accepted"] += 1

    def _knows(self, name: bytes) -> bool:
        return name in self._sequenced or any(name in ids for ids in self._exact.values())

    def _maybes(self, name: bytes, hour: int) -> list[int]:
        first = fingerprint(name)[0]
        return [
            number
            for number, cold in self._cold.items()
            if (hour in cold.hours if cold.filter is None else first in cold.filter)
        ]

    def flush(self) -> ToyFlush:
        if self._held:
            raise RuntimeError("events are held")
        flushed = ToyFlush(**self._counted, blob=pack(self._day, self._new), usage=_usage(self._counted["accepted"]))
        self._clear()
        return flushed

    # What is remembered

    @property
    def known(self) -> set[bytes]:
        """The identities in memory."""
        return set(self._sequenced).union(*self._exact.values())

    def restore(self, blob: bytes) -> None:
        for name, number in unpack(blob)[1].items():
            (self._sequenced if is_sequenced(name) else self._exact[self._current])[name] = number

    def begin_chunk(self, chunk: int) -> None:
        if self.pending_events or self._held:
            raise RuntimeError("events are pending")
        if chunk in self._exact or chunk in self._cold:
            raise ValueError("there is such a chunk")
        if not self._exact[self._current]:
            del self._exact[self._current]
        self._exact[chunk] = {}
        self._current = chunk

    def set_chunk(self, chunk: int, *, ids: int, hours: bytes, filter: bytes | None) -> None:  # noqa: A002
        if chunk == self._current:
            raise ValueError("the current chunk")
        self._exact.pop(chunk, None)
        self._cold[chunk] = _Cold(unpack_hours(hours), filter, ids)

    def forget_chunk(self, chunk: int) -> None:
        if chunk == self._current:
            raise ValueError("the current chunk")
        (self._exact if chunk in self._exact else self._cold).pop(chunk)

    def forget_sequenced(self, before_day: int) -> int:
        before = len(self._sequenced)
        self._sequenced = {name: day for name, day in self._sequenced.items() if day >= before_day}
        return before - len(self._sequenced)

    def take_lookups(self) -> list[tuple[int, bytes]]:
        taken: dict[int, bytes] = {}
        for number, name in self._untaken:
            taken[number] = taken.get(number, b"") + name
            self._asked.add(name)
        self._untaken = []
        return sorted(taken.items())

    def resolve(self, known: bytes) -> ToyIngested:
        found = {known[at : at + 16] for at in range(0, len(known), 16)}
        if not found <= self._asked:
            raise ValueError("nobody asked for that")
        for asked in self._asked:
            name = self._held.pop(asked)
            hour = self._new.pop(name)
            self._counted["events_in"] += 1
            if asked in found:
                self._counted["duplicates"] += 1
            else:
                self._accept(name, hour)
        self._asked = set()
        return ToyIngested()

    def stats(self) -> dict[str, int]:
        exact = sum(len(ids) for ids in self._exact.values())
        filtered = sum(cold.ids for cold in self._cold.values() if cold.filter is not None)
        return {
            "memory_bytes": 16 * exact,
            "exact_bytes": 16 * exact,
            "filter_bytes": sum(len(cold.filter or b"") for cold in self._cold.values()),
            "sequenced_bytes": 0,
            "sequenced_incarnations": len(self._sequenced),
            "sequenced_ranges": len(self._sequenced),
            "sequenced_events": len(self._sequenced),
            "foreign_ids": exact,
            "filtered_ids": filtered,
            "hourly_ids": sum(cold.ids for cold in self._cold.values()) - filtered,
            "chunks": len(self._exact) + len(self._cold),
            "held_events": len(self._held),
        }


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
