"""Are the topic's partitions those that the ledger knows? Asked before a partition is counted.

Whoever counts a topic first registers *all* partitions that it has, partition 0 last, with a first, empty commit each.
So as soon as partition 0 is there, a partition that is not has been added since. `fleetmeter topic grow` registers what
it adds; what others add (kafka-topics.sh --alter) has moved sources between logs without anybody taking care of what is
sent again, and nothing more is counted until that command has been run.

Except for the sections of a growth that is under way (see `ledger.growth`), without which it would never end. They are
counted in turn, each knowing those before it, wherever sources move meanwhile; and behind them nothing is, so that all
that may lie in the added partitions as well is yet to be counted when the next growth closes the epochs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from fleetmeter_jobs.errors import PartitionsAddedError
from fleetmeter_jobs.kafka_topic import KafkaTopic
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.first_commit import ensure_position
from fleetmeter_jobs.ledger.growth import Growth, read_topology
from fleetmeter_jobs.ledger.position import PartitionId
from fleetmeter_jobs.ledger.store import LedgerStore


class Admission(Enum):
    """What may be counted of a partition."""

    ALL = "all that its log holds"
    SECTION = "what the growth that is under way lets it count up to an offset, and nothing beyond"
    REGISTER = "all, once the partitions are registered: the topic has never been counted"


@dataclass(frozen=True, slots=True)
class Registration:
    """Asks a ledger. All calls block."""

    store: LedgerStore
    context: CommitContext

    def admission(self, topic: KafkaTopic, partition: int) -> Admission:
        """What may be counted of the partition of this topic.

        Raises PartitionsAddedError for nothing at all: the topic got partitions that nobody registered.
        """
        known = set(self.store.partitions(topic.name))
        if 0 not in known:
            return Admission.REGISTER
        added = sorted(set(range(topic.partitions)) - known)
        if not added:
            return Admission.ALL
        growth = read_topology(self.store, topic.name).last
        if growth is not None and growth.over:
            growth = None
        if growth is not None and growth.all_fenced and partition in known:
            return Admission.SECTION
        raise PartitionsAddedError(
            f"topic {topic.name} has {topic.partitions} partitions, and the ledger knows {len(known)} of them: "
            f"{', '.join(map(str, added))} {'were' if len(added) > 1 else 'was'} added by other means than "
            f"`fleetmeter topic grow`. Sources have moved between partitions, so that what is sent again could be "
            f"counted twice; nothing more is counted until somebody runs {_commands(topic, growth)} (without --yes it "
            "tells what it would do)"
        )

    def register(self, topic: KafkaTopic, log_starts: Mapping[int, int]) -> None:
        """Give every partition its first position, where its log starts; those of rivals are as good as ours."""
        for number in sorted(log_starts, reverse=True):
            partition = PartitionId(topic.name, number)
            if not self.store.epochs(topic.name, number):
                now_ms = self.context.now_ms()
                ensure_position(self.store, partition, log_starts[number], topic.topic_id, now_ms, self.context)


def _commands(topic: KafkaTopic, unfinished: Growth | None) -> str:
    totals = [] if unfinished is None else [unfinished.new_partitions]
    if not totals or totals[-1] < topic.partitions:
        totals.append(topic.partitions)
    return ", and then ".join(
        f"`fleetmeter topic grow -s topic={topic.name} --partitions {total} --yes`" for total in totals
    )
