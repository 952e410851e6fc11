"""The native core behind the reference's interface, so that one suite runs on both and answers can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import fleetmeter_native
import pyarrow as pa
from fleetmeter_reference.aggregator import Counters, Fact, Flush, Group, Ingested, Limits, Rejection
from fleetmeter_reference.json_text import decode
from fleetmeter_reference.judgement import judge
from fleetmeter_schemas.native_spec import ledger_dimensions, ledger_measures, native_spec

HASH_KEY: Final = bytes(range(16))
_COUNTERS: Final = tuple(Counters.__dataclass_fields__)


class NativeAggregator:
    """A core whose answers are put in the reference's types; `blobs` holds what each flush added to the known ids."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self.core = fleetmeter_native.Core(
            native_spec(),
            HASH_KEY,
            horizon_us=self._limits.horizon_us,
            future_us=self._limits.future_us,
            record_limit_bytes=self._limits.record_limit_bytes,
            event_limit_bytes=self._limits.event_limit_bytes,
            label_keys=list(self._limits.label_keys),
            label_sets_per_account_hour=self._limits.label_sets_per_account_hour,
        )
        self.blobs: list[bytes] = []

    def ingest(self, values: Sequence[bytes | None], base_offset: int, append_time_us: int) -> Ingested:
        """As the reference's."""
        answer = self.core.ingest(list(values), base_offset, append_time_us)
        rejections = [
            Rejection(record, event, fleetmeter_native.REASONS[code], field, bytes(payload))
            for record, event, code, field, payload in answer.rejections
        ]
        facts = [
            Fact(record, event, judge(decode(bytes(text).decode()), self._limits.label_keys))
            for record, event, text in answer.facts
        ]
        return Ingested(_counters(answer), rejections, facts)

    def flush(self) -> Flush:
        """As the reference's, but for `identities`, which only the blob holds."""
        flush = self.core.flush()
        if flush.blob:
            self.blobs.append(flush.blob)
        return Flush(_counters(flush), _usage(flush.usage), _subjects(flush.subjects), set())

    def restore(self, blobs: Iterable[bytes]) -> None:
        """Know the identities of committed flushes."""
        for blob in blobs:
            self.core.restore(blob)


def _counters(source: Any) -> Counters:
    return Counters(**{name: getattr(source, name) for name in _COUNTERS})


def _usage(array: object) -> dict[tuple[Any, ...], Group]:
    groups: dict[tuple[Any, ...], Group] = {}
    for row in pa.record_batch(array).to_pylist():
        key = (row["event_type"], row["account_id"], row["minute"], *(row[name] for name in ledger_dimensions()))
        assert key not in groups, f"two rows of one group in one flush: {key}"
        sums = {name: row[name] for name in ledger_measures()}
        groups[key] = Group(sums, row["first_offset"], row["next_offset"])
    return groups


def _subjects(array: object) -> dict[tuple[str, int, str, str], tuple[int, int]]:
    subjects: dict[tuple[str, int, str, str], tuple[int, int]] = {}
    for row in pa.record_batch(array).to_pylist():
        key = (row["account_id"], row["day"], row["subject_kind"], row["subject"])
        assert key not in subjects, f"one subject twice in one flush: {key}"
        subjects[key] = (row["first_seen_us"], row["last_seen_us"])
    return subjects
