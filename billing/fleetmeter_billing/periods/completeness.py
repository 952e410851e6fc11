"""Whether every minute of a period is complete: each partition's watermark has passed its end by the allowed lateness,
and Kafka has no partition with records that nobody ever began to count.

Watermarks are event times, committed with the counts; no clock of anybody who closes has a say. The ledger knows a
partition from its first commit on, so only Kafka can tell of one that no worker ever took.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient, in_utc
from fleetmeter_billing.errors import IncompleteError

LogEnds = Callable[[Collection[str]], Mapping[tuple[str, int], int]]
"""Asks Kafka: by topic and partition, the offset behind the newest record, 0 where none was ever written. Given are the
topics that the ledger counts; others that should be counted may be in the answer, too."""

Position = tuple[str, int, int, int]
"""Topic, partition, log epoch, next offset: all before it is counted."""


@dataclass(frozen=True, slots=True)
class PartitionReach:
    """How far one Kafka partition has been counted."""

    topic: str
    partition: int
    watermark: datetime

    def lacks(self, needed: datetime) -> str:
        """A sentence on what is missing until `needed`."""
        where = f"{self.topic}/{self.partition}"
        if self.watermark <= datetime(1970, 1, 2, tzinfo=UTC):
            return f"{where} has counted nothing yet"
        return f"{where} has come to {self.watermark:%Y-%m-%d %H:%M:%S} and lacks {_spell(needed - self.watermark)}"


@dataclass(frozen=True, slots=True)
class Reach:
    """How far all partitions have come, and the positions below which everything is counted."""

    partitions: tuple[PartitionReach, ...]
    positions: tuple[Position, ...]

    @property
    def topics(self) -> list[str]:
        """The topics of the partitions, in order."""
        return sorted({one.topic for one in self.partitions})

    @property
    def watermark(self) -> datetime:
        """The lowest watermark."""
        return min(one.watermark for one in self.partitions)


def read_reach(client: BillingClient, retired_topics: Collection[str] = ()) -> Reach:
    """The watermark of each partition but those of `retired_topics`, and all committed positions."""
    rows = client.query(
        "SELECT topic, partition, watermark FROM usage_completeness ORDER BY topic, partition", settings=READ_SETTINGS
    ).result_rows
    partitions = tuple(
        PartitionReach(topic, partition, in_utc(watermark))
        for topic, partition, watermark in rows
        if topic not in retired_topics
    )
    positions = client.query(
        "SELECT topic, partition, epoch, next_offset FROM ingest_positions ORDER BY topic, partition, epoch",
        settings=READ_SETTINGS,
    ).result_rows
    return Reach(partitions, tuple((topic, partition, epoch, offset) for topic, partition, epoch, offset in positions))


def reach_of_facts(client: BillingClient, positions: Collection[Position]) -> list[Position]:
    """Below which offsets the facts of each log epoch are counted: its position; or that of the epochs that go on in
    the same log where it was closed, as happens when a topic grows.

    A worker that stood still meanwhile writes rows of facts under the epoch that it knows, over those of the worker
    that counted the same records in the next one; its commit is lost, but the rows stay.
    """
    rows = client.query(
        "SELECT topic, partition, epoch, first_offset, topic_id FROM ingest_positions", settings=READ_SETTINGS
    ).result_rows
    logs = {(topic, partition, epoch): (first, topic_id) for topic, partition, epoch, first, topic_id in rows}
    ends: dict[tuple[str, int, int], int] = {}
    for topic, partition, epoch, here in sorted(positions, reverse=True):
        old, new = (topic, partition, epoch), (topic, partition, epoch + 1)
        goes_on = new in ends and old in logs and logs.get(new) == (here, logs[old][1])
        ends[old] = ends[new] if goes_on else here
    return [(*log, end) for log, end in sorted(ends.items())]


def check_complete(reach: Reach, period: str, ends: datetime, lateness_s: int) -> None:
    """Raises IncompleteError, which says what each partition lacks, unless all have passed `ends` by the lateness."""
    if not reach.partitions:
        raise IncompleteError(
            f"{period} can't be closed: nothing has been counted yet. Start workers on the topic first"
        )
    needed = ends + timedelta(seconds=lateness_s)
    lacking = [one for one in reach.partitions if one.watermark < needed]
    if not lacking:
        return
    shown = "; ".join(one.lacks(needed) for one in lacking[:20])
    more = f"; and {len(lacking) - 20} more" if len(lacking) > 20 else ""
    raise IncompleteError(
        f"{period} is not complete: it ends at {ends:%Y-%m-%d %H:%M} UTC for the last of its accounts, and late usage "
        f"is waited for until {needed:%Y-%m-%d %H:%M:%S}. Of {len(reach.partitions)} partitions {len(lacking)} are not "
        f"there yet: {shown}{more}. Workers must run on each of them; an idle partition advances by itself"
    )


def check_all_taken(reach: Reach, period: str, written: Mapping[tuple[str, int], int]) -> None:
    """Raises IncompleteError for partitions with records (`written`, see LogEnds) that no worker ever took, and for
    topics that are counted but not in that Kafka: then it is not the one that was counted."""
    foreign = sorted(set(reach.topics) - {topic for topic, _ in written})
    if foreign:
        raise IncompleteError(
            f"{period} can't be closed: this Kafka has no topic {', '.join(foreign)}, which was counted. Is it another "
            "one (FLEETMETER_KAFKA_BOOTSTRAP)? A topic that was deleted is named with --retired-topic"
        )
    known = {(one.topic, one.partition) for one in reach.partitions}
    untaken = sorted(where for where, end in written.items() if end > 0 and where not in known)
    if untaken:
        shown = ", ".join(f"{topic}/{partition}" for topic, partition in untaken[:20])
        more = f" and {len(untaken) - 20} more" if len(untaken) > 20 else ""
        raise IncompleteError(
            f"{period} is not complete: Kafka has records in {shown}{more}, which no worker ever took, so nobody knows "
            "what happened there. Start workers on all partitions of the topic, and close again when they have come "
            "past the period's end"
        )


def _spell(span: timedelta) -> str:
    """A time span as people read it: its two largest units."""
    seconds = -(-span // timedelta(seconds=1))
    units = [
        ("day", seconds // 86400),
        ("hour", seconds // 3600 % 24),
        ("minute", seconds // 60 % 60),
        ("second", seconds % 60),
    ]
    first = next((index for index, (_, number) in enumerate(units) if number), len(units) - 1)
    told = [f"{number} {unit}{'s' if number != 1 else ''}" for unit, number in units[first : first + 2] if number]
    return " ".join(told) or "0 seconds"
