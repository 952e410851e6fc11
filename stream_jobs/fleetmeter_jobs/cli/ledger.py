"""A partition's dedup state, made from the ledger that a command talks to."""

from __future__ import annotations

from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.dedup.known import KnownEvents
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.settings import Settings


def restore_core(settings: Settings, store: ClickHouseStore, partition: PartitionId, position: Position) -> KnownEvents:
    """What knows every event committed before the position, as a worker would make it.

    Raises DedupStateError where the committed identities don't add up, CoreMissingError, and what the store raises.
    """
    ledger = PartitionLedger(store, partition.topic, partition.partition, settings, lambda: position.tail.topic_id)
    ledger.partition = partition
    return KnownEvents(ledger.restore(position), store)
