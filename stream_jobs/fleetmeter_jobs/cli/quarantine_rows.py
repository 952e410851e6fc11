"""The quarantine table, as the commands read it and mark it."""

# ruff: noqa: S608  (statements are put together from our own constants; every value is bound by ClickHouse)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fleetmeter_jobs.cli.coordinates import Coordinates

_COLUMNS: Final = (
    "topic, partition, epoch, offset, event_index, append_time, reason, field, sentence, hex(payload), payload_bytes, "
    "replayed_at"
)
_KEYS: Final = (
    "(topic, partition, epoch, offset, event_index) IN {keys:Array(Tuple(String, UInt32, UInt32, UInt64, UInt32))}"
)
# Where a log went on in another epoch, as when a topic grows, a worker may have written rows under the old one for
# records that were judged in the next: its commit was lost, and each refused event has a row there.
_OF_TOPIC: Final = """topic = {topic:String} AND NOT arrayExists(
    closed -> partition = closed.1 AND epoch = closed.2 AND offset >= closed.3,
    (
        SELECT groupArray((old.partition, old.epoch, old.next_offset))
        FROM ingest_positions AS old INNER JOIN ingest_positions AS new USING (topic, partition)
        WHERE topic = {topic:String} AND new.epoch = old.epoch + 1 AND new.first_offset = old.next_offset
            AND new.topic_id = old.topic_id
    )
)"""
MARKED_AT_ONCE: Final = 500
"""Their payloads pass through ClickHouse's memory, of 64 KiB each as shipped."""


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """One refused event."""

    topic: str
    partition: int
    epoch: int
    offset: int
    event_index: int
    append_time: datetime
    reason: str
    field: str
    sentence: str
    payload: bytes
    payload_bytes: int
    replayed_at: datetime | None

    @property
    def coordinates(self) -> str:
        """As the commands take it."""
        return f"{self.partition}/{self.offset}/{self.event_index}"

    @property
    def is_whole(self) -> bool:
        """Whether the table holds the whole payload, and not only its beginning."""
        return len(self.payload) == self.payload_bytes

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "coordinates": self.coordinates,
            "topic": self.topic,
            "partition": self.partition,
            "epoch": self.epoch,
            "offset": self.offset,
            "event_index": self.event_index,
            "append_time": self.append_time,
            "reason": self.reason,
            "field": self.field,
            "sentence": self.sentence,
            "payload": self.payload.decode(errors="replace"),
            "payload_bytes": self.payload_bytes,
            "replayed_at": self.replayed_at,
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows: all conditions that are given hold."""

    topic: str
    reason: str | None = None
    at: Coordinates | None = None
    replayed: bool | None = None
    limit: int | None = None


def find_rows(client: Any, wanted: Wanted) -> list[QuarantineRow]:
    """The rows, in order of coordinates."""
    conditions, parameters = [_OF_TOPIC], {"topic": wanted.topic, **_coordinates(wanted.at)}
    conditions += [f"{name} = {{{name}:UInt64}}" for name in _coordinates(wanted.at)]
    if wanted.reason is not None:
        conditions.append("reason = {reason:String}")
        parameters["reason"] = wanted.reason
    if wanted.replayed is not None:
        conditions.append(f"replayed_at IS {'NOT ' if wanted.replayed else ''}NULL")
    limit = "" if wanted.limit is None else f"LIMIT {wanted.limit:d}"
    answer = client.query(
        f"SELECT {_COLUMNS} FROM quarantine FINAL WHERE {' AND '.join(conditions)} "
        f"ORDER BY partition, epoch, offset, event_index {limit}",
        parameters=parameters,
    )
    return [_row(*values) for values in answer.result_rows]


def count_by_reason(client: Any, topic: str) -> list[tuple[str, int, int, str]]:
    """(reason, rows, of them replayed, the sentence of one of them), most frequent first."""
    answer = client.query(
        "SELECT reason, count() AS found, countIf(replayed_at IS NOT NULL), any(sentence) FROM quarantine FINAL "
        f"WHERE {_OF_TOPIC} GROUP BY reason ORDER BY found DESC, reason",
        parameters={"topic": topic},
    )
    return [(str(reason), int(found), int(replayed), str(text)) for reason, found, replayed, text in answer.result_rows]


def mark_replayed(client: Any, rows: Sequence[QuarantineRow], now: datetime) -> None:
    """Writes the rows' next versions, which say when they were sent again. Marking twice is harmless.

    Many with a statement: what a faulty release leaves is many, and a statement for each would take hours.
    """
    for start in range(0, len(rows), MARKED_AT_ONCE):
        keys = [(r.topic, r.partition, r.epoch, r.offset, r.event_index) for r in rows[start : start + MARKED_AT_ONCE]]
        client.command(
            "INSERT INTO quarantine SELECT * REPLACE("
            "fromUnixTimestamp64Milli({now_ms:Int64}, 'UTC') AS replayed_at, {now_ms:UInt64} AS version) "
            f"FROM quarantine FINAL WHERE {_KEYS}",
            parameters={"keys": keys, "now_ms": int(now.timestamp() * 1000)},
        )


def _coordinates(at: Coordinates | None) -> dict[str, Any]:
    if at is None:
        return {}
    found = {"partition": at.partition, "offset": at.offset, "event_index": at.event_index}
    return {name: value for name, value in found.items() if value is not None}


def _row(*values: Any) -> QuarantineRow:
    topic, partition, epoch, offset, index, append_time, reason, field, sentence, payload, size, replayed_at = values
    return QuarantineRow(
        topic,
        partition,
        epoch,
        offset,
        index,
        append_time.replace(tzinfo=UTC),
        reason,
        field,
        sentence,
        bytes.fromhex(payload),
        size,
        None if replayed_at is None else replayed_at.replace(tzinfo=UTC),
    )
