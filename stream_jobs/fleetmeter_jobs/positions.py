"""Where every Kafka partition of a topic stands: the ledger's position beside Kafka's log, and what is wrong, in words.

The same checks as a worker makes before it counts (see `log_check`), made from outside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from fleetmeter_jobs.errors import TopicMissingError
from fleetmeter_jobs.kafka_access import KafkaAccess
from fleetmeter_jobs.kafka_logs import KafkaLog, headers_before, log_bounds
from fleetmeter_jobs.kafka_topic import KafkaTopic, describe_topic
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.ledger.store import Decision, LedgerStore
from fleetmeter_jobs.log_check import Mismatch, find_mismatch


class Standing(StrEnum):
    """How ledger and log stand to each other."""

    COUNTED = "counted"
    """Everything in the log is in the ledger."""
    BEHIND = "behind"
    """There is more to count; that a worker does is for `fleetmeter status` to say."""
    NOT_BEGUN = "not begun"
    """No worker has taken the partition yet."""
    MISMATCH = "stands still"
    """The position and the log don't belong together: a person has to decide."""
    NO_LOG = "no log"
    """Kafka has no such topic or partition."""


@dataclass(frozen=True, slots=True)
class PartitionView:
    """One Kafka partition, in its newest log epoch."""

    partition: PartitionId
    position: Position | None
    log: KafkaLog | None
    standing: Standing
    mismatch: Mismatch | None = None

    @property
    def problem(self) -> str:
        """What is wrong, in words; empty if nothing is."""
        if self.mismatch is not None:
            return str(self.mismatch)
        if self.standing is Standing.NO_LOG:
            return (
                f"{self.partition}: the ledger knows this partition, Kafka does not. If the topic was deleted for "
                "good, nothing is left to do; if it will be made again, a new log epoch counts it then"
            )
        return ""


@dataclass(frozen=True, slots=True)
class TopicView:
    """A topic's partitions, and the operators' decisions about them."""

    topic: KafkaTopic | None
    """As the brokers describe it; None if they have none of that name."""
    partitions: Sequence[PartitionView]
    decisions: Sequence[Decision]

    @property
    def problems(self) -> list[str]:
        """What is wrong, a sentence each."""
        return [view.problem for view in self.partitions if view.problem]


def look(store: LedgerStore, access: KafkaAccess, name: str, known: Iterable[int] = ()) -> TopicView:
    """Read ledger and log of every partition that Kafka has, and of the `known` ones.

    The ledger is read first: a log that workers go on counting meanwhile is then only ahead of it. Raises
    KafkaUnavailableError, KafkaAccessError, and what the store raises.
    """
    try:
        topic = describe_topic(access, name)
    except TopicMissingError:
        topic = None
    numbers = sorted({*known, *range(topic.partitions if topic else 0)})
    epochs = {number: store.epochs(name, number) for number in numbers}
    decisions = [one for number in numbers for one in store.decisions(name, number)]
    there = [number for number in numbers if topic and number < topic.partitions]
    newest = {number: found[-1] for number, found in epochs.items() if found}
    logs = log_bounds(access, name, there) if there else {}
    positions = {number: newest[number][1].next_offset for number in there if number in newest}
    headers = headers_before(access, name, positions) if positions else {}
    views = []
    for number in numbers:
        partition, position = newest.get(number, (PartitionId(name, number), None))
        log = logs.get(number)
        mismatch = None
        if topic and log and position:
            mismatch = find_mismatch(partition, position, topic.topic_id, log.start, log.end, headers[number])
        views.append(PartitionView(partition, position, log, _standing(position, log, mismatch), mismatch))
    return TopicView(topic, views, decisions)


def _standing(position: Position | None, log: KafkaLog | None, mismatch: Mismatch | None) -> Standing:
    if log is None:
        return Standing.NO_LOG
    if mismatch is not None:
        return Standing.MISMATCH
    if position is None:
        return Standing.NOT_BEGUN
    return Standing.BEHIND if position.next_offset < log.end else Standing.COUNTED
