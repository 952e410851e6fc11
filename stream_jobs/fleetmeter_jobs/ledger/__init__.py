"""Exactly-once commits to the ledger in ClickHouse: one flush of one partition is one insert, or nothing."""

from fleetmeter_jobs.ledger.clickhouse_http import ClickHouseHttp
from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.commit import Commit, Committed, Lost, commit
from fleetmeter_jobs.ledger.context import CommitContext, CommitObserver, HookPoint
from fleetmeter_jobs.ledger.first_commit import ensure_hash_key, ensure_position
from fleetmeter_jobs.ledger.position import Counts, PartitionId, Position, Tail
from fleetmeter_jobs.ledger.retry import Backoff
from fleetmeter_jobs.ledger.store import LedgerStore, SideRows

__all__ = [
    "Backoff",
    "ClickHouseHttp",
    "ClickHouseStore",
    "Commit",
    "CommitContext",
    "CommitObserver",
    "Committed",
    "Counts",
    "HookPoint",
    "LedgerStore",
    "Lost",
    "PartitionId",
    "Position",
    "SideRows",
    "Tail",
    "commit",
    "ensure_hash_key",
    "ensure_position",
]
