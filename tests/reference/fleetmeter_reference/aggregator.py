"""The reference aggregator: the native core's interface and answers, in dicts and sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fleetmeter_schemas.bands import Band
from fleetmeter_schemas.events import EventData
from fleetmeter_schemas.fields import Role, field_table
from fleetmeter_schemas.native_spec import ledger_dimensions

from fleetmeter_reference.judgement import judge
from fleetmeter_reference.outcome import Read, Refused
from fleetmeter_reference.wire import Found, events_of

MINUTE_US: Final = 60_000_000
HOUR_US: Final = 3_600_000_000
DAY_US: Final = 86_400_000_000
OVERFLOW_LABELS: Final = "__other__"
MOST_REFUSED: Final = 10_000
"""Refused events of one record that are told one by one; one more stands for all that follow."""

Identity = tuple[str, str]
"""(source, id)"""
GroupKey = tuple[Any, ...]
"""(event type's short name, account, minute in epoch seconds, each ledger dimension in order)"""


@dataclass(frozen=True)
class Limits:
    """What an operator sets; the names are those of the native core."""

    horizon_us: int = 35 * DAY_US
    future_us: int = 300_000_000
    record_limit_bytes: int = 8 * 2**20
    event_limit_bytes: int = 256 * 2**10
    label_keys: Sequence[str] = ("app", "environment", "experiment", "feature", "team")
    label_sets_per_account_hour: int = 1000


@dataclass(frozen=True)
class Counters:
    """What one call or one flush saw; `events_in` = `accepted` + `duplicates` + `rejected`."""

    events_in: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    unknown_fields: int = 0
    overflowed_labels: int = 0
    max_event_time_us: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(
            self.events_in + other.events_in,
            self.accepted + other.accepted,
            self.duplicates + other.duplicates,
            self.rejected + other.rejected,
            self.unknown_fields + other.unknown_fields,
            self.overflowed_labels + other.overflowed_labels,
            max(self.max_event_time_us, other.max_event_time_us),
        )


@dataclass(frozen=True)
class Rejection:
    """One refused event: record and event index, the reason's name, the field at fault, the event's own bytes."""

    record: int
    event: int
    code: str
    field: str
    payload: bytes


@dataclass(frozen=True)
class Fact:
    """One accepted event of a type that keeps a row an event."""

    record: int
    event: int
    read: Read


@dataclass
class Group:
    """The sums of one group, and the offsets they stem from."""

    sums: dict[str, int] = field(default_factory=dict)
    first_offset: int = 2**64
    next_offset: int = 0

    def add(self, amounts: Iterable[tuple[str, int]], offset: int) -> None:
        """Add one event's amounts; a sum that is not named is 0."""
        for name, amount in amounts:
            self.sums[name] = self.sums.get(name, 0) + amount
        self.first_offset = min(self.first_offset, offset)
        self.next_offset = max(self.next_offset, offset + 1)


@dataclass(frozen=True)
class Ingested:
    """The answer to one call of `ingest`."""

    counters: Counters
    rejections: list[Rejection]
    facts: list[Fact]


@dataclass(frozen=True)
class Flush:
    """The deltas since the flush before."""

    counters: Counters
    usage: dict[GroupKey, Group]
    subjects: dict[tuple[str, int, str, str], tuple[int, int]]
    identities: set[Identity]


class Reference:
    """One partition's aggregator."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._known: set[Identity] = set()
        self._label_sets: dict[tuple[str, int], set[str]] = {}
        self._pending = Flush(Counters(), {}, {}, set())

    def ingest(self, values: Sequence[bytes | None], base_offset: int, append_time_us: int) -> Ingested:
        """Judge and count the events of records at `base_offset` and on, appended at one time."""
        answer = Ingested(Counters(), [], [])
        for record, value in enumerate(values):
            refused_before = len(answer.rejections)
            for found in events_of(value, self._limits.record_limit_bytes, self._limits.event_limit_bytes):
                try:
                    counters = self._take(found, record, base_offset + record, append_time_us, answer)
                except Refused as refused:
                    told = len(answer.rejections) - refused_before
                    if told > MOST_REFUSED:
                        continue
                    counters = Counters(events_in=1, rejected=1)
                    rejection = Rejection(record, found.index, refused.code, refused.field, found.payload)
                    if told == MOST_REFUSED:
                        rejection = Rejection(record, found.index, "too_large", "", value or b"")
                    answer.rejections.append(rejection)
                answer = replace(answer, counters=answer.counters + counters)
        self._pending = replace(self._pending, counters=self._pending.counters + answer.counters)
        return answer

    def flush(self) -> Flush:
        """The deltas since the last flush, which are then forgotten; identities stay known."""
        pending, self._pending = self._pending, Flush(Counters(), {}, {}, set())
        return pending

    def restore(self, identities: Iterable[Identity]) -> None:
        """Know the identities of committed flushes."""
        self._known.update(identities)

    def snapshot(self) -> frozenset[Identity]:
        """All known identities."""
        return frozenset(self._known)

    def _take(self, found: Found, record: int, offset: int, append_time_us: int, answer: Ingested) -> Counters:
        if found.refused is not None:
            raise found.refused
        read = judge(found.event, self._limits.label_keys)
        # Whatever the limits, a minute has to fit into 32 bits of epoch seconds.
        if read.time_us < max(append_time_us - self._limits.horizon_us, 0):
            raise Refused("too_old", "time")
        if read.time_us > append_time_us + self._limits.future_us or read.time_us // MINUTE_US * 60 >= 2**32 - 60:
            raise Refused("in_future", "time")
        counters = Counters(events_in=1, max_event_time_us=read.time_us)
        if (read.source, read.id) in self._known:
            return replace(counters, duplicates=1)
        self._known.add((read.source, read.id))
        self._pending.identities.add((read.source, read.id))
        self._see_subjects(read)
        overflowed = 0
        if read.model.COUNT_MEASURE is None:
            answer.facts.append(Fact(record, found.index, read))
        else:
            overflowed = self._add_to_group(read, offset)
        return replace(counters, accepted=1, unknown_fields=read.unknown, overflowed_labels=overflowed)

    def _see_subjects(self, read: Read) -> None:
        for spec in field_table(read.model):
            if spec.role is Role.SUBJECT and spec.name in read.values:
                key = (read.subject, read.time_us // DAY_US, spec.name, read.values[spec.name])
                first, last = self._pending.subjects.get(key, (read.time_us, read.time_us))
                self._pending.subjects[key] = (min(first, read.time_us), max(last, read.time_us))

    def _add_to_group(self, read: Read, offset: int) -> int:
        """Add the event to its group; 1 if its label set was one too many for the account and hour."""
        dimensions = dict(read.values)
        labels = dimensions.get("labels", "")
        overflowed = self._label_set_overflows(read, labels)
        if overflowed:
            dimensions["labels"] = OVERFLOW_LABELS
        dimensions.update({band.name: band_label(band, read.values.get(band.of)) for band in read.model.BANDS})
        minute = read.time_us // MINUTE_US * 60
        key = (read.model.SHORT, read.subject, minute, *(dimensions.get(name, "") for name in ledger_dimensions()))
        self._pending.usage.setdefault(key, Group()).add(_amounts(read.model, read.values), offset)
        return int(overflowed)

    def _label_set_overflows(self, read: Read, labels: str) -> bool:
        if labels == "":
            return False
        seen = self._label_sets.setdefault((read.subject, read.time_us // HOUR_US), set())
        if labels not in seen and len(seen) >= self._limits.label_sets_per_account_hour:
            return True
        seen.add(labels)
        return False


def band_label(band: Band, value: int | None) -> str:
    """The label of the first threshold that the value does not exceed, else the last; empty where there is none."""
    if value is None:
        return ""
    above = sum(value > threshold for threshold in band.thresholds)
    return band.labels[above]


def _amounts(model: type[EventData], values: dict[str, Any]) -> Iterable[tuple[str, int]]:
    if model.COUNT_MEASURE is not None:
        yield model.COUNT_MEASURE, 1
    for spec in field_table(model):
        if spec.role is Role.MEASURE and spec.name in values:
            yield spec.name, values[spec.name]
            if spec.samples:
                yield spec.samples_name, 1
