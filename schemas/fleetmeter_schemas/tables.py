"""The columns of every table, with their ClickHouse types and comments, derived from the event declarations.

The migrations in `sql/` spell them out (a migration must never change); a test compares the applied schema to this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fleetmeter_schemas.events import EventData
from fleetmeter_schemas.fields import FieldSpec, Kind, Role, field_table
from fleetmeter_schemas.native_spec import fact_types, ledger_dimensions, ledger_measures, rollup_types

LOW = "LowCardinality(String)"
SUM = "SimpleAggregateFunction(sum, UInt64)"
TAIL = (
    "Tuple(next_offset UInt64, nonce String, topic_id String, leader_epoch Int32, crc UInt32, table_partition UInt32)"
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: name, ClickHouse type, and what it means."""

    name: str
    clickhouse_type: str
    comment: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table and its columns, in order."""

    name: str
    columns: tuple[Column, ...]

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names alone, in order."""
        return tuple(column.name for column in self.columns)


def _meanings() -> dict[str, str]:
    meanings: dict[str, str] = {}
    for model in rollup_types():
        if model.COUNT_MEASURE:
            meanings[model.COUNT_MEASURE] = f"Number of {model.SHORT} events."
        for spec in field_table(model):
            meanings.setdefault(spec.name, spec.meaning)
            if spec.samples:
                meanings[spec.samples_name] = f"Number of events that reported {spec.name}; the others are not zeros."
        for band in model.BANDS:
            meanings[band.name] = band.meaning
    return meanings


_MEANINGS = _meanings()
_WHERE = (
    Column("topic", LOW, "Kafka topic that the events came from."),
    Column("partition", "UInt32", "Kafka partition that the events came from."),
    Column("epoch", "UInt32", "Log epoch: 0 until the topic was recreated or truncated and an operator said so."),
)

LEDGER: Final = Table(
    "ledger",
    (
        Column("row_kind", "Enum8('marker' = 1, 'blob' = 2, 'usage' = 3)", "What the row is."),
        Column(
            "event_type",
            LOW,
            "Usage rows: short name of the event type, such as generation. Marker rows: an operator's decision.",
        ),
        Column("account_id", "String", "Usage rows: the account that pays (the event's subject)."),
        Column("minute", "DateTime('UTC')", "Usage rows: start of the minute in which the events happened."),
        *(Column(name, LOW, _MEANINGS[name]) for name in ledger_dimensions()),
        *_WHERE,
        Column("blob_offset", "UInt64", "Blob rows: first offset of their commit. An operator's decision: likewise."),
        Column("table_partition", "UInt32", "Table partition, yyyymm, that the commit before named."),
        *(Column(name, SUM, _MEANINGS[name]) for name in ledger_measures()),
        Column("first_offset", "SimpleAggregateFunction(min, UInt64)", "First offset that the row stems from."),
        Column("next_offset", "SimpleAggregateFunction(max, UInt64)", "Offset after the last that the row stems from."),
        Column("commits", SUM, "Marker rows: number of commits."),
        Column("records", SUM, "Marker rows: Kafka records that were read."),
        Column("control_offsets", SUM, "Marker rows: offsets taken by transaction markers."),
        Column("aborted_offsets", SUM, "Marker rows: offsets of records of aborted transactions."),
        Column("events_in", SUM, "Marker rows: events in the records; accepted + duplicates + rejected."),
        Column("accepted", SUM, "Marker rows: events that were counted."),
        Column("duplicates", SUM, "Marker rows: events whose (source, id) had been counted before."),
        Column("rejected", SUM, "Marker rows: events in quarantine."),
        Column("unknown_fields", SUM, "Marker rows: fields that this version does not know, and ignored."),
        Column("overflowed_labels", SUM, "Marker rows: events whose label set was counted as __other__."),
        Column("skipped_offsets", SUM, "Marker rows: offsets that an operator decided not to count."),
        Column(
            "watermark",
            "SimpleAggregateFunction(max, DateTime64(6, 'UTC'))",
            "Marker rows: largest event time seen.",
        ),
        Column("committed_at", "SimpleAggregateFunction(max, DateTime64(3, 'UTC'))", "When the last commit was made."),
        Column("tail", f"SimpleAggregateFunction(max, {TAIL})", "Marker rows: the end of the newest commit."),
        Column("blob", "SimpleAggregateFunction(any, String)", "Blob rows: identities that the commit added."),
    ),
)

_FACT_TYPES = {
    Kind.STRING: LOW,
    Kind.LABELS: "String",
    Kind.TIME: "Nullable(DateTime64(6, 'UTC'))",
    Kind.UINT: "Nullable(UInt64)",
    Kind.INT: "Int64",
}
_EVENT_COLUMNS = (
    Column("account_id", "String", "The account that pays (the event's subject)."),
    Column("event_type", LOW, "Short name of the event type."),
    Column("source", "String", "The producer; with event_id the event's identity."),
    Column("event_id", "String", "The event's id."),
    Column("time", "DateTime64(6, 'UTC')", "The event's time."),
)
_COORDINATES = (
    *_WHERE,
    Column("offset", "UInt64", "Kafka offset of the record."),
    Column("event_index", "UInt32", "Place of the event within its record, from 0."),
)


def _fact_column(spec: FieldSpec) -> Column:
    kind = _FACT_TYPES[spec.kind]
    if spec.kind is Kind.STRING and spec.role in {Role.SUBJECT, Role.DETAIL}:
        kind = "String"
    return Column(spec.name, kind, spec.meaning)


def _union(models: tuple[type[EventData], ...]) -> tuple[Column, ...]:
    columns: dict[str, Column] = {}
    for model in models:
        for spec in field_table(model):
            columns.setdefault(spec.name, _fact_column(spec))
    return tuple(columns.values())


_BY_SHORT = {model.SHORT: model for model in fact_types()}
_REPORT, _OUTCOME, _JOB = _BY_SHORT["device_report"], _BY_SHORT["outcome"], _BY_SHORT["job"]

USAGE_FACTS: Final = Table("usage_facts", (*_EVENT_COLUMNS, *_union((_REPORT, _OUTCOME, _JOB)), *_COORDINATES))
USAGE_ESTIMATES: Final = Table("usage_estimates", (*_EVENT_COLUMNS, *_union((_REPORT,)), *_COORDINATES))
USAGE_ADJUSTMENTS: Final = Table(
    "usage_adjustments", (*_EVENT_COLUMNS, *_union((_BY_SHORT["adjustment"],)), *_COORDINATES)
)
USAGE_SUBJECTS: Final = Table(
    "usage_subjects",
    (
        Column("account_id", "String", "The account that pays."),
        Column("day", "Date", "Day (UTC) in which the events happened."),
        Column("subject_kind", LOW, "user, conversation or installation."),
        Column("subject", "String", "The pseudonym, as the producer gave it."),
        Column("first_seen", "SimpleAggregateFunction(min, DateTime64(6, 'UTC'))", "First event time of the day."),
        Column("last_seen", "SimpleAggregateFunction(max, DateTime64(6, 'UTC'))", "Last event time of the day."),
    ),
)
QUARANTINE: Final = Table(
    "quarantine",
    (
        *_COORDINATES,
        Column("append_time", "DateTime64(3, 'UTC')", "When the broker appended the record."),
        Column("reason", LOW, "Stable reason code, such as negative or too_old."),
        Column("field", "String", "The field at fault, where one is."),
        Column("sentence", "String", "What was wrong and what to do, in words."),
        Column("payload", "String", "The event's own bytes, or their beginning."),
        Column("payload_bytes", "UInt64", "Length of the whole payload in bytes; more than payload holds if cut."),
        Column("replayed_at", "Nullable(DateTime64(3, 'UTC'))", "When it was sent again, if it was."),
        Column("version", "UInt64", "0 as the worker wrote it; then ms since the epoch of the replay."),
    ),
)
WATERMARKS: Final = Table(
    "watermarks",
    (
        *_WHERE,
        Column(
            "watermark",
            "SimpleAggregateFunction(max, DateTime64(6, 'UTC'))",
            "Time up to which an idle partition is known to hold nothing more.",
        ),
        Column("next_offset", "SimpleAggregateFunction(max, UInt64)", "Position at which the partition was idle."),
    ),
)

DEDUP_IDS: Final = Table(
    "dedup_ids",
    (
        *_WHERE,
        Column("chunk_first", "UInt64", "First offset of the chunk of commits that accepted the event."),
        Column("chunk_next", "UInt64", "Offset after the last of the chunk."),
        Column("fingerprint", "FixedString(16)", "Keyed 128-bit hash of (source, id)."),
        Column("append_day", "Date", "Day (UTC) of the broker's append time of the chunk's newest event."),
    ),
)
DEDUP_SNAPSHOTS: Final = Table(
    "dedup_snapshots",
    (
        *_WHERE,
        Column(
            "kind",
            "Enum8('chunk' = 1, 'sequenced' = 2, 'forgotten' = 3)",
            "What it is, a chunk of foreign ids, the sequenced ids up to an offset, or a chunk that has expired.",
        ),
        Column("first_offset", "UInt64", "First offset of the commits it stems from."),
        Column("next_offset", "UInt64", "Offset after the last of the commits it stems from."),
        Column(
            "digest",
            "FixedString(16)",
            "BLAKE2b of hours, filter and state, all slices joined: which slices belong together.",
        ),
        Column("slice", "UInt32", "Number of this slice of the content, from 0."),
        Column("slices", "UInt32", "How many slices there are; with fewer the row does not count."),
        Column("foreign_ids", "UInt64", "Chunks: number of foreign ids, all of them in dedup_ids."),
        Column(
            "identities_ever",
            "UInt64",
            "Sequenced: events accepted before next_offset, forgotten ones included.",
        ),
        Column("append_day", "Date", "Day (UTC) of the broker's append time of the newest event in it."),
        Column(
            "forgotten_before",
            "Date",
            "Sequenced: producers whose last event was appended before this day (UTC) are left out.",
        ),
        Column("hours", "String", "Chunks: the hours in which the events happened, as the native core packs them."),
        Column("filter", "String", "Chunks: a filter that knows each foreign id, and few others."),
        Column("state", "String", "Sequenced: the ids as the native core packs them."),
        Column("written_at", "DateTime64(3, 'UTC')", "When it was written."),
    ),
)
POSITION_CHANGES: Final = Table(
    "position_changes",
    (
        Column("nonce", "String", "Name of the decision; the ledger's marker carries it if the decision took effect."),
        *_WHERE,
        Column(
            "kind",
            LOW,
            "What was decided, skip (offsets were left out), new_epoch (another log was begun) or a step of grow.",
        ),
        Column("from_offset", "UInt64", "Position before."),
        Column("to_epoch", "UInt32", "Log epoch after."),
        Column("to_offset", "UInt64", "Position after."),
        Column("skipped_offsets", "UInt64", "Offsets that were left out."),
        Column("log_start", "UInt64", "First offset that Kafka held then."),
        Column("log_end", "UInt64", "Offset after the last that Kafka held then."),
        Column("from_topic_id", "String", "Kafka's id of the topic that was counted before."),
        Column("to_topic_id", "String", "Kafka's id of the topic then."),
        Column("who", "String", "Who decided."),
        Column("reason", "String", "Why, in their words."),
        Column("decided_at", "DateTime64(3, 'UTC')", "When."),
    ),
)
PARTITION_GROWTH: Final = Table(
    "partition_growth",
    (
        Column("topic", LOW, "Kafka topic that got more partitions."),
        Column("growth", "String", "Name of the growth, under which its steps and decisions belong together."),
        Column("step", LOW, "What this row is about: planned, grown (the partitions are there) or grow_settled."),
        Column("nonce", "String", "Settled: name of the decision; the ledger's marker carries it if this is the one."),
        Column("topic_id", "String", "Kafka's id of the topic."),
        Column("old_partitions", "UInt32", "Partitions before."),
        Column("new_partitions", "UInt32", "Partitions after."),
        Column("settle_s", "UInt32", "How long producers may take to learn of the new partitions, in seconds."),
        Column("ends", "Array(UInt64)", "Settled: where each partition's log ended then, by partition."),
        Column("who", "String", "Who did it."),
        Column("at", "DateTime64(3, 'UTC')", "When."),
    ),
)

TABLES: Final = {
    table.name: table
    for table in (
        LEDGER,
        USAGE_FACTS,
        USAGE_ESTIMATES,
        USAGE_ADJUSTMENTS,
        USAGE_SUBJECTS,
        QUARANTINE,
        WATERMARKS,
        DEDUP_IDS,
        DEDUP_SNAPSHOTS,
        POSITION_CHANGES,
        PARTITION_GROWTH,
    )
}
