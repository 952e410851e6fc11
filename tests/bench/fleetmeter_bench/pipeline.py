"""The pipeline's figures: engines for the occasion, topics filled, workers timed, plain Faust beside."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.settings import Settings
from fleetmeter_local import ManagedProcess, start_clickhouse, start_kafka, start_process
from fleetmeter_local.process import trouble_in
from fleetmeter_sql.migrate import migrate

from fleetmeter_bench.reading_speed import Reading, reading_speed
from fleetmeter_bench.recovery_speed import Recovery, recovery_speed
from fleetmeter_bench.topics import fill_topic
from fleetmeter_bench.worker_speed import EndToEnd, worker_speed
from fleetmeter_bench.workload import Format

PARTITIONS: Final = 4
WORKER_LIMIT_S: Final = 120.0
READINGS: Final = 3
READING_LIMIT_S: Final = 60.0
PLAIN_SECONDS: Final = 10.0
PLAIN_LIMIT_S: Final = 90.0
PLAIN_STOP_S: Final = 10.0


@dataclass(frozen=True)
class PlainFaust:
    """What plain Faust did in its time."""

    events: int
    seconds: float

    @property
    def events_per_s(self) -> float:
        """Events counted a second."""
        return self.events / self.seconds


@dataclass(frozen=True)
class Engines:
    """Engines for the occasion."""

    settings: Settings
    """With their addresses."""
    pids: dict[str, int]
    """Their processes by name, of those that run on this machine as processes of ours."""


@contextmanager
def engines(folder: Path) -> Iterator[Engines]:
    """Engines that live as long as the context, with migrated tables."""
    with start_kafka(folder) as kafka, start_clickhouse(folder) as clickhouse:
        settings = Settings.load(
            kafka_bootstrap=kafka.bootstrap,
            clickhouse_url=clickhouse.url,
            clickhouse_user=clickhouse.user,
            clickhouse_password=clickhouse.password,
            clickhouse_database="fleetmeter_bench",
            topic_partitions=PARTITIONS,
            data_dir=folder,
        )
        with connect(settings) as client:
            migrate(client, settings.clickhouse_database)
        pids = {"Kafka": kafka.pid, "ClickHouse": clickhouse.pid}
        yield Engines(settings, {name: pid for name, pid in pids.items() if pid is not None})


def timed_worker(running: Engines, format_: Format, events: int) -> tuple[Settings, EndToEnd]:
    """Fill a topic with one wire format and time a worker on it; also the settings that name the topic."""
    settings = running.settings
    name = f"bench-{format_.lower().replace(' ', '-')}"
    of_topic = settings.model_copy(update={"topic": name, "consumer_group": name})
    of_topic.model_fields_set.update({"topic", "consumer_group"})
    records = fill_topic(of_topic, format_, events)
    return of_topic, worker_speed(of_topic, records, events, WORKER_LIMIT_S, running.pids)


def timed_reading(settings: Settings, records: int) -> Reading:
    """The worker's consumer alone on the settings' topic; the best of `READINGS`, since the first one warms caches."""
    readings = [reading_speed(settings, records, READING_LIMIT_S) for _ in range(READINGS)]
    return max(readings, key=lambda one: one.records_per_s)


def timed_recoveries(settings: Settings, events: int) -> list[Recovery]:
    """A worker killed at full load, on JSON, for each way in which its partitions come back."""
    found = []
    for stands_by in (False, True):
        name = f"bench-recovery-{'other' if stands_by else 'same'}"
        of_topic = settings.model_copy(update={"topic": name, "consumer_group": name})
        of_topic.model_fields_set.update({"topic", "consumer_group"})
        records = fill_topic(of_topic, "JSON", events)
        found.append(recovery_speed(of_topic, records, events, stands_by=stands_by))
    return found


def timed_plain_faust(settings: Settings, events: int) -> PlainFaust:
    """Plain Faust on the settings' topic, for `PLAIN_SECONDS`."""
    folder = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "fleetmeter_bench.plain_faust"]
    arguments = [settings.kafka_bootstrap, settings.topic, str(events), str(PLAIN_SECONDS)]
    log_path = settings.data_dir / "logs" / "plain-faust.log"
    process = start_process("plain-faust", [*command, *arguments], log_path=log_path, env=environment)
    try:
        answer = _answer_in(log_path, process)
    finally:
        process.stop(PLAIN_STOP_S)
    return PlainFaust(answer["events"], answer["seconds"])


def _answer_in(log_path: Path, process: ManagedProcess) -> dict[str, Any]:
    """The line of JSON that the process prints when it is done."""
    deadline = time.monotonic() + PLAIN_LIMIT_S
    while True:
        for line in log_path.read_text().splitlines() if log_path.is_file() else []:
            if line.startswith('{"events"') and line.endswith("}"):
                return dict(json.loads(line))
        if not process.is_alive() or time.monotonic() > deadline:
            raise RuntimeError(f"plain Faust counted nothing. Its log says:\n{trouble_in(log_path)}")
        time.sleep(0.05)
