"""Are the topic's partitions those that the ledger knows? Asked before a partition is counted.

Whoever counts a topic first registers *all* partitions that it has, partition 0 last, with a first, empty commit each.
So as soon as partition 0 is there, a partition that is not has been added since. `fleetmeter topic grow` registers what
it adds; what others add (kafka-topics.sh --alter) has moved sources between logs without anybody taking care of what is
sent again, and nothing more is counted until that command has been run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleetmeter_jobs.errors import PartitionsAddedError
from fleetmeter_jobs.kafka_topic import KafkaTopic
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.first_commit import ensure_position
from fleetmeter_jobs.ledger.position import PartitionId
from fleetmeter_jobs.ledger.store import LedgerStore


@dataclass(frozen=True, slots=True)
class Registration:
    """Asks a ledger. All calls block."""

    store: LedgerStore
    context: CommitContext

    def needed(self, topic: KafkaTopic) -> bool:
        """Whether the topic has never been counted, so that `register` is to be called.

        Raises PartitionsAddedError if it has been, and got partitions since that nobody registered.
        """
        known = set(self.store.partitions(topic.name))
        if 0 not in known:
            return True
        if added := sorted(set(range(topic.partitions)) - known):
            raise PartitionsAddedError(
                f"topic {topic.name} has {topic.partitions} partitions, and the ledger knows {len(known)} of them: "
                f"{', '.join(map(str, added))} {'were' if len(added) > 1 else 'was'} added by other means than "
                f"`fleetmeter topic grow`. Sources have moved between partitions, so that what is sent again could be "
                "counted twice; nothing more is counted until somebody runs `fleetmeter topic grow -s "
                f"topic={topic.name} --partitions {topic.partitions} --yes` (without --yes it tells what it would do)"
            )
        return False

    def register(self, topic: KafkaTopic, log_starts: Mapping[int, int]) -> None:
        """Give every partition its first position, where its log starts; those of rivals are as good as ours."""
        for number in sorted(log_starts, reverse=True):
            partition = PartitionId(topic.name, number)
            if not self.store.epochs(topic.name, number):
                now_ms = self.context.now_ms()
                ensure_position(self.store, partition, log_starts[number], topic.topic_id, now_ms, self.context)
