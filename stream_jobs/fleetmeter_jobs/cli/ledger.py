"""The ledger that a command talks to: all of it, and a partition's dedup state made from it."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from fleetmeter_jobs.cli.output import notes
from fleetmeter_jobs.clickhouse_access import clickhouse_store
from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.context import CommitContext, CommitObserver
from fleetmeter_jobs.ledger.dedup.known import KnownEvents
from fleetmeter_jobs.ledger.errors import StoreUnavailableError
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.settings import Settings

AUDIT_TIMEOUT_S: Final = 1800.0


def audit_store(settings: Settings) -> ClickHouseStore:
    """A store whose statements may take as long as it takes to sum up a large ledger: a commit's limit is none for
    them. Opens no connection yet."""
    return clickhouse_store(
        settings.model_copy(update={"insert_timeout_s": max(settings.insert_timeout_s, AUDIT_TIMEOUT_S)})
    )


class Waiting(CommitObserver):
    """Says on standard error why a decision waits, each reason once: it is tried until the store has answered."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def failed(self, label: str, error: StoreUnavailableError) -> None:
        """See `CommitObserver.failed`."""
        if str(error) not in self._said:
            self._said.add(str(error))
            notes.print(Text(f"{label} waits, and is tried again until Ctrl-C: {error}", "yellow"), soft_wrap=True)


def decision_context(settings: Settings) -> CommitContext:
    """How the decisions of an operator enter the ledger."""
    return CommitContext(ghosts=settings.ghosts, observer=Waiting())


def restore_core(settings: Settings, store: ClickHouseStore, partition: PartitionId, position: Position) -> KnownEvents:
    """What knows every event committed before the position, as a worker would make it.

    Raises DedupStateError where the committed identities don't add up, CoreMissingError, and what the store raises.
    """
    ledger = PartitionLedger(store, partition.topic, partition.partition, settings, lambda: position.tail.topic_id)
    ledger.partition = partition
    return KnownEvents(ledger.restore(position), store)
