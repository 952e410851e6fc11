"""The ledger that a command talks to, and a partition's dedup state made from it."""

from __future__ import annotations

from typing import Any

from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.settings import Settings


def connect_store(settings: Settings) -> ClickHouseStore:
    """The ledger at the settings' address; the first statement opens the connection."""
    return ClickHouseStore.connect(
        settings.clickhouse_url,
        settings.clickhouse_user,
        settings.clickhouse_password.get_secret_value(),
        settings.clickhouse_database,
        insert_timeout_s=settings.insert_timeout_s,
    )


def restore_core(settings: Settings, store: ClickHouseStore, partition: PartitionId, position: Position) -> Any:
    """A native core that knows every event committed before the position, as a worker would make it.

    Raises DedupStateError where the committed identities don't add up, CoreMissingError, and what the store raises.
    """
    ledger = PartitionLedger(store, partition.topic, partition.partition, settings, lambda: position.tail.topic_id)
    ledger.partition = partition
    return ledger.restore(position)
