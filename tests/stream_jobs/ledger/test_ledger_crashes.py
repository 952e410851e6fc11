"""Commits while ClickHouse is killed, its disk fails at the rename, or it dies between token and part."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import clickhouse_connect
import pytest
from fleetmeter_doubles import APPEND_TIME_MS, SampleLog, identities_in
from fleetmeter_doubles.tampered_parts import MKDIRS, RENAMES, TamperedParts, TamperingError, parts_folder
from fleetmeter_jobs.ledger import (
    Backoff,
    ClickHouseHttp,
    ClickHouseStore,
    CommitContext,
    CommitObserver,
    Committed,
    HookPoint,
    PartitionId,
    commit,
    ensure_position,
)
from fleetmeter_jobs.ledger.errors import StoreUnavailableError
from fleetmeter_jobs.ledger.position import table_partition_of
from fleetmeter_local import RunningClickHouse
from fleetmeter_sql import migrate

pytestmark = pytest.mark.clickhouse

PARTITION = PartitionId("fleetmeter.usage", 0)
LOG = SampleLog(PARTITION, 0, 400, seed=11)
DEADLINE_S = 90.0


class Watcher(CommitObserver):
    """Counts what happened, and calls `on_insert` before each insert and `on_failed` after each error."""

    def __init__(self) -> None:
        self.ghosts = self.failures = 0
        self.on_insert: Callable[[], None] = lambda: None
        self.on_failed: Callable[[], None] = lambda: None

    def at(self, point: HookPoint, label: str) -> None:
        if point == "before_insert":
            self.on_insert()

    def failed(self, label: str, error: StoreUnavailableError) -> None:
        self.failures += 1
        self.on_failed()

    def ghost(self, label: str) -> None:
        self.ghosts += 1


def new_context(watcher: Watcher) -> CommitContext:
    return CommitContext(observer=watcher, backoff=Backoff(first_s=0.02, limit_s=0.2), now_ms=lambda: APPEND_TIME_MS)


@pytest.fixture
def server(clickhouse_factory: Callable[[], RunningClickHouse]) -> RunningClickHouse:
    running = clickhouse_factory()
    with clickhouse_connect.get_client(host=running.host, port=running.port, username=running.user) as client:
        client.command("CREATE DATABASE fleetmeter")
        migrate(client, "fleetmeter")
    return running


def new_store(server: RunningClickHouse) -> ClickHouseStore:
    http = ClickHouseHttp(server.url, server.user, server.password, "fleetmeter", connect_timeout_s=1.0, timeout_s=20.0)
    return ClickHouseStore(http)


def assert_counted_once(store: ClickHouseStore, end: int) -> None:
    """Everything up to `end`, judged by the log and not by what the commits said."""
    rows = store.http.rows(
        "SELECT account_id, toUnixTimestamp(minute), sum(output_tokens) FROM ledger "
        "WHERE row_kind = 'usage' GROUP BY 1, 2"
    )
    assert Counter({(account, minute): tokens for account, minute, tokens in rows}) == LOG.rollups(end)
    assert identities_in(blob.data for blob in store.blobs(PARTITION, 2**62)) == LOG.identities(end)
    (tally,) = store.tallies()
    assert tally.position.next_offset == tally.position.totals.offsets == end
    assert tally.usage_events == tally.position.totals.accepted == LOG.accepted(end)


@pytest.mark.long
def test_kill_9_of_clickhouse_while_rivals_commit(server: RunningClickHouse) -> None:
    """Two workers flush different ranges of one partition while the server is killed again and again."""
    store, watcher, deadline = new_store(server), Watcher(), time.monotonic() + DEADLINE_S
    errors: list[BaseException] = []
    progress = threading.Semaphore(0)

    def work(flush_size: int) -> None:
        try:
            context = new_context(watcher)
            position = ensure_position(store, PARTITION, LOG.start, "topic-id", APPEND_TIME_MS, context)
            while position.next_offset < LOG.end:
                assert time.monotonic() < deadline, f"stuck at {position.next_offset}"
                end = min(position.next_offset + flush_size, LOG.end)
                flush = LOG.flush(position, end, f"{flush_size} {position.next_offset}")
                position = commit(store, flush, context).position
                progress.release()
        except BaseException as error:  # noqa: BLE001  (judged in the main thread)
            errors.append(error)
            progress.release()

    workers = [threading.Thread(target=work, args=(size,)) for size in (7, 11)]
    for worker in workers:
        worker.start()
    for number in range(5):
        for _ in range(4):
            assert progress.acquire(timeout=DEADLINE_S)
        # At moments that have nothing to do with the commits' own rhythm.
        threading.Event().wait(0.013 * number)
        server.kill()
        server.restart()
    for worker in workers:
        worker.join(DEADLINE_S)
    assert errors == []
    assert watcher.failures > 0, "no kill was felt"
    assert_counted_once(store, LOG.end)


@contextmanager
def tampered(
    store: ClickHouseStore, pid: int, calls: str, action: str, log: Path, blocks: Iterable[int] = range(1, 20)
) -> Iterator[Callable[[], None]]:
    """As TamperedParts, of the inserts into LOG's month, until the given function is called."""
    month = table_partition_of(APPEND_TIME_MS)
    try:
        parts = TamperedParts(parts_folder(store), pid, calls, action, log, [month], blocks)
    except TamperingError as error:
        pytest.skip(str(error))
    try:
        yield parts.stop
    finally:
        parts.stop()


def test_a_full_disk_at_the_rename_leaves_a_ghost_that_is_overcome(server: RunningClickHouse, tmp_path: Path) -> None:
    store, watcher = new_store(server), Watcher()
    context = new_context(watcher)
    start = ensure_position(store, PARTITION, LOG.start, "topic-id", APPEND_TIME_MS, context)
    assert server.pid is not None
    with tampered(store, server.pid, RENAMES, "error=ENOSPC", tmp_path / "strace") as stop:
        watcher.on_failed = stop
        outcome = commit(store, LOG.flush(start, 30, "mine"), context)
    assert isinstance(outcome, Committed)
    assert (outcome.ghosts, outcome.errors) == (1, 1), (tmp_path / "strace").read_text()[-2000:]
    assert "ENOSPC" in (tmp_path / "strace").read_text()
    assert_counted_once(store, 30)


def test_death_between_token_and_part_leaves_a_ghost_that_is_overcome(
    server: RunningClickHouse, tmp_path: Path
) -> None:
    store, watcher = new_store(server), Watcher()
    context = new_context(watcher)
    start = ensure_position(store, PARTITION, LOG.start, "topic-id", APPEND_TIME_MS, context)
    assert server.pid is not None
    with tampered(store, server.pid, RENAMES, "signal=SIGKILL:error=EIO", tmp_path / "strace") as stop:

        def revive() -> None:
            stop()
            if not server.is_alive():
                server.restart()

        watcher.on_failed = revive
        outcome = commit(store, LOG.flush(start, 30, "mine"), context)
    assert isinstance(outcome, Committed)
    assert outcome.ghosts == 1, (tmp_path / "strace").read_text()[-2000:]
    assert_counted_once(store, 30)


def test_an_insert_that_outlives_its_client_is_not_doubled(server: RunningClickHouse, tmp_path: Path) -> None:
    """It is stuck between guard and token when its client gives up and tries again; then it comes to its end."""
    patient, watcher = new_store(server), Watcher()
    start = ensure_position(patient, PARTITION, LOG.start, "topic-id", APPEND_TIME_MS, new_context(watcher))
    # The client gives up after 1.5 s, long before the server would end the insert.
    http = ClickHouseHttp(server.url, server.user, server.password, "fleetmeter", timeout_s=60, answer_margin_s=-58.5)
    hasty = ClickHouseStore(http)
    assert server.pid is not None
    stuck = tmp_path / "strace"
    with tampered(patient, server.pid, MKDIRS, "delay_enter=5000000", stuck, blocks=[2]):
        outcome = commit(hasty, LOG.flush(start, 30, "mine"), new_context(watcher))
        assert isinstance(outcome, Committed)
        assert outcome.errors >= 1, stuck.read_text()
        assert_counted_once(patient, 30)
        deadline = time.monotonic() + DEADLINE_S
        while patient.http.rows("SELECT count() FROM system.processes WHERE query LIKE 'INSERT%'") != [[0]]:
            assert time.monotonic() < deadline
    assert "DELAYED" in stuck.read_text()
    assert_counted_once(patient, 30)
    again = commit(patient, LOG.flush(outcome.position, 40, "next"), new_context(Watcher()))
    assert isinstance(again, Committed)
    assert_counted_once(patient, 40)
