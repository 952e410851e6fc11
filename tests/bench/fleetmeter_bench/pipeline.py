"""The pipeline's figures: engines for the occasion, topics filled, workers timed, plain Faust beside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.settings import Settings
from fleetmeter_local import start_clickhouse, start_kafka
from fleetmeter_sql.migrate import migrate

from fleetmeter_bench.topics import fill_topic
from fleetmeter_bench.worker_speed import EndToEnd, worker_speed
from fleetmeter_bench.workload import Format

PARTITIONS: Final = 4
WORKER_LIMIT_S: Final = 120.0
PLAIN_SECONDS: Final = 10.0
PLAIN_LIMIT_S: Final = 90.0


@dataclass(frozen=True)
class PlainFaust:
    """What plain Faust did in its time."""

    events: int
    seconds: float

    @property
    def events_per_s(self) -> float:
        """Events counted a second."""
        return self.events / self.seconds


@contextmanager
def engines(folder: Path) -> Iterator[Settings]:
    """Settings with the addresses of engines that live as long as the context, and migrated tables."""
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
        yield settings


def timed_worker(settings: Settings, format_: Format, events: int) -> tuple[Settings, EndToEnd]:
    """Fill a topic with one wire format and time a worker on it; also the settings that name the topic."""
    name = f"bench-{format_.lower().replace(' ', '-')}"
    of_topic = settings.model_copy(update={"topic": name, "consumer_group": name})
    of_topic.model_fields_set.update({"topic", "consumer_group"})
    records = fill_topic(of_topic, format_, events)
    return of_topic, worker_speed(of_topic, records, events, WORKER_LIMIT_S)


def timed_plain_faust(settings: Settings, events: int) -> PlainFaust:
    """Plain Faust on the settings' topic, for `PLAIN_SECONDS`."""
    folder = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "fleetmeter_bench.plain_faust"]
    arguments = [settings.kafka_bootstrap, settings.topic, str(events), str(PLAIN_SECONDS)]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=PLAIN_LIMIT_S, env=environment, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"plain Faust ended with code {done.returncode} and counted nothing:\n{done.stderr[-2000:]}")
    answer = json.loads(lines[-1])
    return PlainFaust(answer["events"], answer["seconds"])
