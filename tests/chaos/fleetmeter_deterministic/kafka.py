"""A Kafka topic in memory: record batches, control batches, aborted transactions, and what befalls logs.

It keeps every log that was ever there, whole. So whoever checks can ask of which log a commit was made.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from faust.types import TP
from fleetmeter_jobs.record_batch import RecordBatch

from fleetmeter_deterministic.virtual_time import Clock

Values = list[bytes | None]


class Header(NamedTuple):
    """What a start compares with the ledger's tail."""

    next_offset: int
    leader_epoch: int
    crc: int


@dataclass
class History:
    """One log from offset 0 on, with everything that retention has taken since. A truncation begins another one."""

    topic_id: str
    batches: list[RecordBatch] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The offset after the last."""
        return self.batches[-1].next_offset if self.batches else 0


class SimLog:
    """The present log of one partition, and all that it was before."""

    def __init__(self, clock: Clock, topic_id: str, crcs: list[int]) -> None:
        self.histories = [History(topic_id)]
        self.start = 0
        self.leader_epoch = 0
        self.truncated = False
        """Whether the present log's end was rewritten at some time."""
        self._clock, self._crcs = clock, crcs

    @property
    def history(self) -> History:
        """The present one."""
        return self.histories[-1]

    @property
    def end(self) -> int:
        """The offset after the last."""
        return self.history.end

    @property
    def batches(self) -> list[RecordBatch]:
        """What can be read."""
        return [batch for batch in self.history.batches if batch.next_offset > self.start]

    def append(self, values: Values, *, control: int = 0, aborted: int = 0) -> RecordBatch:
        """Add one record batch."""
        base, self._crcs[0] = self.end, self._crcs[0] + 1
        batch = RecordBatch(
            base,
            base + len(values) + control + aborted,
            self._clock.wall_ms(),
            self.leader_epoch,
            self._crcs[0],
            values,
            control=control,
            aborted=aborted,
        )
        self.history.batches.append(batch)
        return batch

    def header_at(self, offset: int) -> Header | None:
        """Of the record batch that holds the offset, None where the log has none."""
        if offset < self.start:
            return None
        for batch in self.history.batches:
            if batch.base_offset <= offset < batch.next_offset:
                return Header(batch.next_offset, batch.leader_epoch, batch.crc)
        return None

    def retain_from(self, offset: int) -> None:
        """Retention: what lies before is gone."""
        self.start = max(self.start, min(offset, self.end))

    def change_leader(self) -> None:
        """A clean election: nothing is lost, later batches carry another leader epoch."""
        self.leader_epoch += 1

    def truncate(self, batches: int) -> None:
        """An unclean election: the new leader lacks the last batches."""
        kept = self.history.batches[: max(0, len(self.history.batches) - batches)]
        self.histories.append(replace(self.history, batches=list(kept)))
        self.truncated = True
        self.leader_epoch += 1

    def recreate(self, topic_id: str) -> None:
        """The topic was deleted and made again."""
        self.histories.append(History(topic_id))
        self.start = self.leader_epoch = 0
        self.truncated = False


class SimTopic:
    """Some partitions under one name. `away`: no broker answers."""

    def __init__(self, name: str, partitions: int, clock: Clock) -> None:
        self.name = name
        self.away = False
        self._number = 0
        crcs = [1000]
        self.logs = {TP(name, number): SimLog(clock, self.topic_id, crcs) for number in range(partitions)}

    @property
    def topic_id(self) -> str:
        """Kafka's id: another one after each `recreate`."""
        return f"topic-{self._number}"

    def recreate(self) -> None:
        """Delete the topic and make it again."""
        self._number += 1
        for log in self.logs.values():
            log.recreate(self.topic_id)
