"""A worker's part in a growth (see `growth`): wait for the partition's turn, and close its section at its end."""

from __future__ import annotations

from fleetmeter_jobs.errors import PartitionGrowingError
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.decisions import Batch, decide, plan_growth_step
from fleetmeter_jobs.ledger.growth import DONE, Section, Wait, makes_room, read_topology, stage_of
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.ledger.store import LedgerStore

WORKER = "worker"
"""Who makes the decisions that follow from others."""


def enter(
    store: LedgerStore, partition: PartitionId, position: Position, context: CommitContext
) -> tuple[PartitionId, Position, int | None]:
    """Where the partition may count from, and up to which offset (None: as far as its log goes).

    Closes the section's epoch if its end has been reached, and so may return another epoch than was given. Raises
    PartitionGrowingError, which says what is waited for, while it may not count at all; and what the store raises.
    """
    while True:
        topology = read_topology(store, partition.topic)
        stage = stage_of(topology, partition.partition)
        if isinstance(stage, Wait):
            raise PartitionGrowingError(f"{partition} waits: {stage.why}")
        if makes_room(topology, partition.partition, context.now_ms()):
            raise PartitionGrowingError(f"{partition} waits: it is about to be closed, since the topic grows")
        if not isinstance(stage, Section):
            return partition, position, None
        if position.next_offset < stage.end:
            return partition, position, stage.end
        growth = stage.growth
        change = plan_growth_step(DONE, partition, position, growth.nonce(DONE, partition.partition))
        tail = position.tail
        reason = f"all that came in while sources moved (partitions {growth.old_partitions} to {growth.new_partitions})"
        decide(store, change, Batch(tail.leader_epoch, tail.crc), WORKER, f"counted {reason}", context)
        # Whoever made it: what is in the ledger now decides.
        partition, position = store.epochs(partition.topic, partition.partition)[-1]
