"""What is different on replicated tables, as far as one engine without a Keeper shows it: what is sent, what is
refused, and that a replica which lags behind makes nobody raise an attempt."""

from __future__ import annotations

import ast
from pathlib import Path

import fleetmeter_jobs
import pyarrow as pa
import pytest
from fleetmeter_doubles import APPEND_TIME_MS, MemoryLedger, SampleLog
from fleetmeter_doubles.turns import TurnCancel
from fleetmeter_jobs.ledger import (
    Backoff,
    ClickHouseHttp,
    ClickHouseStore,
    CommitContext,
    CommitObserver,
    Committed,
    PartitionId,
    Position,
    commit,
    ensure_position,
)
from fleetmeter_jobs.ledger.canary import prove_store
from fleetmeter_jobs.ledger.clickhouse_scratch import clickhouse_scratch, scratch_definition
from fleetmeter_jobs.ledger.errors import StoreRefusedError, StoreUnavailableError
from fleetmeter_jobs.ledger.store import LedgerRows, PositionIs, SideRows

PARTITION = PartitionId("fleetmeter.usage", 0)
LOG = SampleLog(PARTITION, 0, 400, seed=5)
REPLICATED = (
    "ReplicatedAggregatingMergeTree('/clickhouse/tables/1/usage/ledger', '{replica}') PARTITION BY table_partition "
    "ORDER BY (row_kind, topic) SETTINGS index_granularity = 8192, replicated_deduplication_window = 100000"
)


class Watcher(CommitObserver):
    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.failures: list[str] = []
        self.ghosts = 0

    def at(self, point: str, label: str) -> None:
        if point == "before_insert":
            self.tokens.append(label)

    def failed(self, label: str, error: StoreUnavailableError) -> None:
        self.failures.append(str(error))

    def ghost(self, label: str) -> None:
        self.ghosts += 1


def new_context(watcher: Watcher, *, ghosts: bool) -> CommitContext:
    return CommitContext(
        cancel=TurnCancel(limit=50),
        backoff=Backoff(random=lambda: 0.0),
        observer=watcher,
        now_ms=lambda: APPEND_TIME_MS,
        ghosts=ghosts,
    )


class Lagging(MemoryLedger):
    """A replica that shows what was there some reads ago."""

    def __init__(self) -> None:
        super().__init__()
        self.stale: list[Position | None] = []

    def position(self, partition: PartitionId) -> Position | None:
        return self.stale.pop() if self.stale else super().position(partition)


def test_a_replica_that_lags_behind_is_waited_for_under_the_same_token() -> None:
    """Raising the attempt would put the same usage beside the first, which the replica merely does not show yet."""
    store, watcher = Lagging(), Watcher()
    context = new_context(watcher, ghosts=False)
    before = ensure_position(store, PARTITION, LOG.start, "topic-id", APPEND_TIME_MS, context)
    watcher.tokens.clear()
    store.stale = [store.position(PARTITION)] * 3
    outcome = commit(store, LOG.flush(before, 27, "mine"), context)
    assert isinstance(outcome, Committed)
    assert set(watcher.tokens) == {f"{PARTITION}@{LOG.start}#0"}
    assert len(watcher.tokens) > 1
    assert watcher.ghosts == 0
    assert "does not have it yet" in watcher.failures[0]
    (tally,) = store.tallies()
    assert tally.position.totals.accepted == tally.usage_events == LOG.accepted(27)


def test_the_same_lag_taken_for_a_ghost_would_send_another_token() -> None:
    """Why `ghosts` has to be right: the guard alone, read from that replica, would let the second insert in."""
    store, watcher = Lagging(), Watcher()
    context = new_context(watcher, ghosts=True)
    before = ensure_position(store, PARTITION, LOG.start, "topic-id", APPEND_TIME_MS, context)
    watcher.tokens.clear()
    store.stale = [store.position(PARTITION)]
    commit(store, LOG.flush(before, 27, "mine"), context)
    assert watcher.tokens == [f"{PARTITION}@{LOG.start}#0", f"{PARTITION}@{LOG.start}#1"]


def test_nothing_that_commits_leaves_to_a_default_whether_there_are_ghosts() -> None:
    jobs = Path(fleetmeter_jobs.__file__).parent
    calls = [
        (path.name, node)
        for path in jobs.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "CommitContext"
    ]
    assert calls
    assert [name for name, call in calls if "ghosts" not in {keyword.arg for keyword in call.keywords}] == []


class Recording(ClickHouseHttp):
    """Sends nothing, and remembers the settings of each statement."""

    def __init__(self) -> None:
        super().__init__("http://localhost:1")
        self.sent: list[dict[str, object]] = []

    def execute(self, statement: str, **options: object) -> bytes:
        self.sent.append({"statement": statement, **(options.get("settings") or {})})  # type: ignore[dict-item]
        return b""


def test_each_write_asks_for_a_quorum_and_each_read_for_what_it_wrote() -> None:
    http = Recording()
    store = ClickHouseStore(http)
    store.insert(LedgerRows(1, pa.py_buffer(b"x")), PositionIs(PARTITION, 3), "token")
    store.insert_side_rows(SideRows("quarantine", pa.record_batch({"topic": ["t"]})))
    store.epochs("t", 0)
    commit_insert, side_insert, read = http.sent
    for sent in (commit_insert, side_insert):
        assert (sent["insert_quorum"], sent["insert_quorum_parallel"]) == ("auto", 0)
    assert commit_insert["select_sequential_consistency"] == 1, "the guard reads within the insert"
    assert read["select_sequential_consistency"] == 1


def test_the_canary_s_table_gets_a_path_of_its_own_in_keeper() -> None:
    made = scratch_definition("ledger_canary_7", "ledger", REPLICATED, replicated=True)
    assert made == (
        "CREATE TABLE ledger_canary_7 AS ledger ENGINE = "
        "ReplicatedAggregatingMergeTree('/clickhouse/tables/1/usage/ledger/ledger_canary_7', '{replica}')"
        + REPLICATED.partition("'{replica}')")[2]
    )
    assert scratch_definition("c", "ledger", "AggregatingMergeTree ORDER BY x", replicated=False) == (
        "CREATE TABLE c AS ledger"
    )


@pytest.mark.parametrize(("engine", "replicated"), [(REPLICATED, False), ("AggregatingMergeTree ORDER BY x", True)])
def test_a_worker_with_the_wrong_idea_of_the_tables_is_refused(engine: str, replicated: bool) -> None:
    with pytest.raises(StoreRefusedError, match="FLEETMETER_CLICKHOUSE_REPLICATED_PATH"):
        scratch_definition("c", "ledger", engine, replicated=replicated)


@pytest.mark.clickhouse
def test_so_it_is_on_the_real_engine(clickhouse_http: ClickHouseHttp) -> None:
    """Which has no replicated tables; it takes the settings, and they change nothing."""
    prove_store(lambda: clickhouse_scratch(clickhouse_http))
    with pytest.raises(StoreRefusedError, match="is not replicated"):
        prove_store(lambda: clickhouse_scratch(clickhouse_http, replicated=True))
