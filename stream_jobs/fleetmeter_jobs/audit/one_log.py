"""A ledger as if one log epoch were all that was ever counted: what it accepted itself, and nothing that it knew."""

from __future__ import annotations

from fleetmeter_jobs.ledger.clickhouse_http import ClickHouseHttp
from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.ledger.store import GrowthStep


class OneLog(ClickHouseStore):
    """A state that is restored from it knows what was accepted in this log epoch.

    What a worker begins with knows more: the epochs before, and those of other partitions from which sources moved. An
    event that it knows need not have been accepted here.
    """

    def __init__(self, http: ClickHouseHttp, log: PartitionId) -> None:
        super().__init__(http)
        self._log = log

    def epochs(self, topic: str, partition: int) -> list[tuple[PartitionId, Position]]:
        """The one log, if it is of this Kafka partition."""
        return [one for one in super().epochs(topic, partition) if one[0] == self._log]

    def growth_steps(self, topic: str) -> list[GrowthStep]:  # noqa: ARG002  (whichever topic)
        """None: no source has moved here."""
        return []
