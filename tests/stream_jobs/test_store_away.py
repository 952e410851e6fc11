"""ClickHouse in every kind of trouble: workers hold position with bounded memory, say so, and go on without a human."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from fleetmeter_doubles.store_proxy import StoreProxy, Trouble, store_proxy
from fleetmeter_doubles.worker_processes import Pipeline, WorkerProcess, eventually, new_pipeline
from fleetmeter_local import RunningClickHouse, RunningKafka, start_clickhouse

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.long, pytest.mark.timeout(240)]

MIB = 2**20
PASSING = {
    "read-only user": Trouble(500, 164, "Cannot execute query in readonly mode"),
    "grant taken": Trouble(403, 497, "meter: Not enough privileges"),
    "out of memory": Trouble(500, 241, "Memory limit (total) exceeded"),
    "read-only table": Trouble(500, 242, "Table is in readonly mode"),
    "out of disk": Trouble(500, 243, "Cannot reserve 1.00 MiB, not enough space"),
    "too many parts": Trouble(500, 252, "Too many parts (3000)"),
    "a proxy alone": Trouble(502, 0, "Bad Gateway"),
    "unknown": Trouble(500, 99_999, "never heard of"),
}
STOPPING = {
    "password changed": Trouble(403, 516, "Authentication failed"),
    "table gone": Trouble(404, 60, "Table ledger does not exist"),
    "another server": Trouble(404, 0, "default backend - 404"),
}


@pytest.fixture
def pipeline(kafka: RunningKafka, clickhouse: RunningClickHouse, tmp_path: Path) -> Iterator[Pipeline]:
    """A pipeline of two partitions; its workers end with the test."""
    made = new_pipeline(kafka, clickhouse, tmp_path, partitions=2)
    yield made
    made.end()


@pytest.fixture
def proxy(clickhouse: RunningClickHouse, pipeline: Pipeline) -> Iterator[StoreProxy]:
    """Stands between the pipeline's workers and ClickHouse."""
    with store_proxy(clickhouse.url) as made:
        pipeline.store_url = made.url
        yield made


def states(worker: WorkerProcess) -> set[str]:
    return {partition["state"] for partition in worker.health()["partitions"].values()}


def errors(worker: WorkerProcess) -> str:
    return " ".join(str(partition["error"]) for partition in worker.health()["partitions"].values())


def test_what_may_pass_is_waited_for_and_what_stays_is_looked_at_again(pipeline: Pipeline, proxy: StoreProxy) -> None:
    worker = pipeline.start_worker(recheck_interval_s=0.2)
    eventually(lambda: worker.ready(partitions=2), "ready")
    for kind, troubles in (("waiting", PASSING), ("stopped", STOPPING)):
        for name in troubles:
            trouble = troubles[name]
            # Everything that writes is refused; a password is asked for whatever the statement.
            everything = kind == "stopped"
            proxy.trouble = lambda statement, trouble=trouble, everything=everything: (
                trouble if everything or statement.startswith(b"INSERT") else None
            )
            pipeline.send(60, partitions=2, again=True)
            # Each is waited for: a worker that stood still for the length of a session begins anew.
            eventually(lambda kind=kind: states(worker) == {kind}, f"{name}: {kind}")
            eventually(lambda trouble=trouble: trouble.text in errors(worker), f"{name}: health says why")
            state = f'fleetmeter_partition_state{{partition="0",state="{kind}"}} 1.0'
            eventually(lambda state=state: state in worker.get("/metrics")[1], f"{name}: metrics tell")
            assert not worker.health()["ready"]
            proxy.trouble = lambda _statement: None
            eventually(pipeline.all_counted, f"{name}: counted after")
            eventually(lambda: worker.ready(partitions=2), f"{name}: ready again")
    assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
    pipeline.check()


def test_a_store_that_takes_everything_and_says_nothing(pipeline: Pipeline, proxy: StoreProxy) -> None:
    """A frozen server, or a firewall that drops what belongs to open connections."""
    worker = pipeline.start_worker(insert_timeout_s=1)
    eventually(lambda: worker.ready(partitions=2), "ready")
    proxy.silent = True
    pipeline.send(60, partitions=2, again=True)
    eventually(lambda: states(worker) == {"waiting"}, "waiting")
    eventually(lambda: "did not answer" in errors(worker), "health says why")
    assert proxy.unanswered >= 2
    proxy.silent = False
    eventually(pipeline.all_counted, "counted after")
    eventually(lambda: worker.ready(partitions=2), "ready again")
    assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
    pipeline.check()


def test_a_start_says_what_it_waits_for(pipeline: Pipeline, proxy: StoreProxy) -> None:
    proxy.trouble = lambda _statement: PASSING["grant taken"]
    worker = pipeline.start_worker(proves=True)
    eventually(lambda: "worker_grants.sql" in str(worker.health().get("error")), "health says why")
    assert worker.health()["state"] == "starting"
    assert 'fleetmeter_worker_state{state="waiting"} 1.0' in worker.get("/metrics")[1]
    proxy.trouble = lambda _statement: None
    eventually(lambda: worker.ready(partitions=2), "ready")
    assert worker.health()["error"] is None


def test_memory_stays_bounded_while_the_store_is_away_under_load(pipeline: Pipeline, proxy: StoreProxy) -> None:
    """160 MB of records arrive while nothing can be committed; a worker that took them in would grow by more."""
    limit = 4 * MIB
    worker = pipeline.start_worker(inbox_limit_bytes=limit, fetch_limit_bytes=MIB, flush_events=500)
    eventually(lambda: worker.ready(partitions=2), "ready")
    pipeline.send(2_000, partitions=2, padding=8_000)
    eventually(pipeline.all_counted, "warm")
    process = psutil.Process(worker.process.pid)
    before = process.memory_info().rss
    proxy.trouble = lambda statement: PASSING["out of disk"] if statement.startswith(b"INSERT") else None
    pipeline.send(20_000, partitions=2, padding=8_000)
    eventually(lambda: states(worker) == {"waiting"}, "waiting")
    eventually(lambda: all(_is_full(one, limit) for one in worker.health()["partitions"].values()), "full")
    refused, most = proxy.refused, 0

    def watched() -> bool:
        nonlocal most
        most = max(most, process.memory_info().rss)
        for one in worker.health()["partitions"].values():
            # One fetch may come after the limit was reached, and aiokafka holds another.
            assert one["inbox_bytes"] < limit + 9 * MIB
            assert one["pending_events"] < 500 + 20_000
        return proxy.refused >= refused + 20

    eventually(watched, "a while")
    # Two inboxes, what was fetched beyond them, two flushes each, and the insert's body.
    assert most - before < 80 * MIB, f"grew by {(most - before) / MIB:.0f} MiB"
    proxy.trouble = lambda _statement: None
    eventually(pipeline.all_counted, "counted")
    assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
    pipeline.check()


def _is_full(partition: dict[str, int], limit: int) -> bool:
    return partition["inbox_bytes"] >= limit // 2 and partition["pending_events"] >= 500


@contextlib.contextmanager
def _small_disk(folder: Path, mib: int) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"this machine does not let tests mount a disk: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_full_for_real(kafka: RunningKafka, tmp_path: Path) -> None:
    """No injected answer: the engine itself finds no room, mid-insert or at the rename, and says what it says."""
    with ExitStack() as stack:
        disk = stack.enter_context(_small_disk(tmp_path / "disk", 96))
        store = stack.enter_context(start_clickhouse(disk / "data", source="local"))
        pipeline = new_pipeline(kafka, store, tmp_path, partitions=2)
        stack.callback(pipeline.end)
        worker = pipeline.start_worker()
        pipeline.send(200, partitions=2, again=True)
        eventually(pipeline.all_counted, "counted before")
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as sink, contextlib.suppress(OSError):
            while sink.write(b"x" * 4096):
                pass
        pipeline.send(300, partitions=2, again=True)
        eventually(lambda: states(worker) == {"waiting"}, "waiting")
        eventually(lambda: "ClickHouse" in errors(worker), "health says why")
        filler.unlink()
        eventually(pipeline.all_counted, "counted after")
        eventually(lambda: worker.ready(partitions=2), "ready again")
        assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
        pipeline.check()
