"""An insert that was answered is on the disk: seen in the engine's own system calls."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import clickhouse_connect
import pytest
from fleetmeter_doubles import APPEND_TIME_MS, SampleLog
from fleetmeter_doubles.tampered_parts import parts_folder
from fleetmeter_jobs.ledger import ClickHouseStore, CommitContext, Committed, PartitionId, commit, ensure_position
from fleetmeter_jobs.ledger.position import table_partition_of
from fleetmeter_local import RunningClickHouse
from fleetmeter_sql import TableOptions, migrate

pytestmark = pytest.mark.clickhouse

PARTITION = PartitionId("fleetmeter.usage", 0)
LOG = SampleLog(PARTITION, 0, 400, seed=7)
MONTH = table_partition_of(APPEND_TIME_MS)
_CALL = re.compile(r"\b(?:fsync|fdatasync|syncfs)\(\d+<(?P<path>[^>]*)>")


@contextmanager
def watched(pid: int, log: Path) -> Iterator[Callable[[], list[str]]]:
    """Gives the paths that the process has synced since, in order."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed (Debian/Ubuntu: apt install strace)")
    arguments = ["-f", "-y", "-s", "0", "-e", "trace=fsync,fdatasync,syncfs", "-o", str(log), "-p", str(pid)]
    with subprocess.Popen([strace, *arguments], stderr=subprocess.PIPE, text=True, start_new_session=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            tracer.wait(10)
            pytest.skip(f"strace may not attach here: {said.strip()}")

        def let_go() -> list[str]:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(20)
            return [match["path"] for match in _CALL.finditer(log.read_text(errors="replace"))]

        try:
            yield let_go
        finally:
            if tracer.poll() is None:
                tracer.kill()


@pytest.mark.parametrize("fsync", [True, False])
def test_a_commit_s_files_and_its_name_are_synced_before_the_answer(
    clickhouse_factory: Callable[[], RunningClickHouse], tmp_path: Path, fsync: bool
) -> None:
    server = clickhouse_factory()
    with clickhouse_connect.get_client(host=server.host, port=server.port, username=server.user) as client:
        migrate(client, "fleetmeter", options=TableOptions(fsync=fsync))
    store = ClickHouseStore.connect(server.url, server.user, server.password, "fleetmeter")
    position = ensure_position(store, PARTITION, LOG.start, "topic-id", APPEND_TIME_MS, CommitContext())
    assert server.pid is not None
    with watched(server.pid, tmp_path / "strace") as let_go:
        commit(store, LOG.flush(position, 30, "mine"), CommitContext(now_ms=lambda: APPEND_TIME_MS))
        synced = let_go()
    folder = str(parts_folder(store)).rstrip("/")
    # ClickHouse writes a part under this name, and renames it when it is whole.
    of_part = [path for path in synced if path.startswith(f"{folder}/tmp_insert_{MONTH}_")]  # noqa: S108
    files = {Path(path).name for path in of_part}
    if not fsync:
        assert of_part == []
        return
    assert {"data.bin", "checksums.txt", "columns.txt", "primary.cidx", "partition.dat"} <= files, synced
    assert any(name.startswith("data.cmrk") for name in files), "without its marks a part can't be read"
    directories = {Path(path).name for path in synced if path.rstrip("/").rpartition("/")[0] == folder}
    assert any(name.startswith(f"{MONTH}_") for name in directories), "the part under its final name"
    assert folder in {path.rstrip("/") for path in synced}, "the folder in which it was renamed"


def test_a_merged_part_is_synced_before_those_that_it_replaces_may_go(
    clickhouse_factory: Callable[[], RunningClickHouse], tmp_path: Path
) -> None:
    server = clickhouse_factory()
    with clickhouse_connect.get_client(host=server.host, port=server.port, username=server.user) as client:
        migrate(client, "fleetmeter")
        store = ClickHouseStore.connect(server.url, server.user, server.password, "fleetmeter")
        context = CommitContext(now_ms=lambda: APPEND_TIME_MS)
        position = ensure_position(store, PARTITION, LOG.start, "topic-id", APPEND_TIME_MS, context)
        client.command("SYSTEM STOP MERGES fleetmeter.ledger")
        for end in (30, 60):
            outcome = commit(store, LOG.flush(position, end, f"until-{end}"), context)
            assert isinstance(outcome, Committed)
            position = outcome.position
        assert server.pid is not None
        with watched(server.pid, tmp_path / "strace") as let_go:
            client.command("SYSTEM START MERGES fleetmeter.ledger")
            client.command("OPTIMIZE TABLE fleetmeter.ledger FINAL")
            synced = let_go()
    folder = str(parts_folder(store)).rstrip("/")
    merging = f"{folder}/tmp_merge_{MONTH}_"  # noqa: S108
    merged = {Path(path).name for path in synced if path.startswith(merging)}
    assert {"data.bin", "checksums.txt", "columns.txt"} <= merged, synced
