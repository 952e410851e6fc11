"""A worker end to end: from records in Kafka to rows committed in ClickHouse, in a process of its own."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import psutil
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.stack.environment import environment_of
from fleetmeter_jobs.settings import Settings
from fleetmeter_local import ManagedProcess, start_process
from fleetmeter_local.process import trouble_in

POLL_S: Final = 0.01
START_LIMIT_S: Final = 60.0
_WORKER: Final = "worker"


@dataclass(frozen=True)
class EndToEnd:
    """What a worker did, from its first look at the log to the commit of the last event."""

    seconds: float
    processor_seconds: float
    """Processor time of the worker's process alone, on all cores, in the same span."""
    engine_seconds: dict[str, float]
    """The same of the engines, by name; without those that run elsewhere."""
    records: int
    events: int
    commits: int

    @property
    def events_per_s(self) -> float:
        """Events committed a second."""
        return self.events / self.seconds


def worker_speed(settings: Settings, records: int, events: int, limit_s: float, engines: dict[str, int]) -> EndToEnd:
    """Start a worker on a topic that is full already, and time it until all of it is committed. `engines` are the
    processes, by name, whose processor time is told too.

    Raises `RuntimeError` if it takes longer than `limit_s` or the ledger has not counted every event once.
    """
    ready_file = settings.data_dir / "run" / f"{settings.topic}.ready"
    log_path = settings.data_dir / "logs" / f"{settings.topic}.log"
    process = start_process(
        settings.topic,
        [sys.executable, "-m", "fleetmeter_jobs.cli", "worker", "--ready-file", str(ready_file)],
        log_path=log_path,
        env=environment_of(settings),
    )
    try:
        pids = {_WORKER: process.pid, **engines}
        seconds, processor_seconds = _times(process, pids, ready_file, records, limit_s)
    except RuntimeError as error:
        raise RuntimeError(f"{error}. The worker's log says:\n{trouble_in(log_path)}") from error
    finally:
        process.stop(settings.shutdown_limit_s)
    counted, commits = _ledger_totals(settings)
    if counted != {"records": records, "accepted": events, "duplicates": 0, "rejected": 0}:
        raise RuntimeError(f"the ledger says {counted}; {records} records with {events} events were sent")
    of_worker = processor_seconds.pop(_WORKER)
    return EndToEnd(seconds, of_worker, processor_seconds, records, events, commits)


def _times(
    process: ManagedProcess, pids: dict[str, int], ready_file: Path, records: int, limit_s: float
) -> tuple[float, dict[str, float]]:
    """Wall seconds, and each process's seconds, from the first partition's beginning to count to the last commit."""
    began = None
    before: dict[str, float] = {}
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        if not process.is_alive():
            raise RuntimeError(f"the worker ended with code {process.exit_code()}")
        partitions = _partitions(ready_file)
        now = time.monotonic()
        if began is None and any(one["state"] == "counting" for one in partitions):
            began, deadline = now, now + limit_s
            before = _processor_seconds(pids)
        if began is not None and sum(one["next_offset"] or 0 for one in partitions) >= records:
            return now - began, {name: used - before[name] for name, used in _processor_seconds(pids).items()}
        if now > deadline:
            raise RuntimeError("the worker was not done in time")
        time.sleep(POLL_S)


def _processor_seconds(pids: dict[str, int]) -> dict[str, float]:
    times = {name: psutil.Process(pid).cpu_times() for name, pid in pids.items()}
    return {name: float(one.user + one.system) for name, one in times.items()}


def _partitions(ready_file: Path) -> list[dict[str, Any]]:
    """The worker's partitions as its health page shows them; none before it listens."""
    if not ready_file.is_file():
        return []
    url = json.loads(ready_file.read_text())["web"] + "/health/ready"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own worker, on loopback
            body = answer.read()
    except urllib.error.HTTPError as error:
        body = error.read()
        if error.code != HTTPStatus.SERVICE_UNAVAILABLE:  # that one has the same body
            raise RuntimeError(f"the worker's health page answers {error.code} {error.reason}") from error
    return list(json.loads(body)["partitions"].values())


def _ledger_totals(settings: Settings) -> tuple[dict[str, int], int]:
    """What the markers of the topic add up to, and in how many commits."""
    with connect(settings, database=settings.clickhouse_database) as client:
        rows = client.query(
            "SELECT sum(records), sum(accepted), sum(duplicates), sum(rejected), sum(commits) FROM ledger "
            "WHERE row_kind = 'marker' AND topic = {topic:String}",
            parameters={"topic": settings.topic},
        ).result_rows
    records, accepted, duplicates, rejected, commits = rows[0]
    return {"records": records, "accepted": accepted, "duplicates": duplicates, "rejected": rejected}, commits
