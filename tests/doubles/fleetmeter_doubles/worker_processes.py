"""Worker processes on a topic and a database of their own, and an oracle: the list of what was sent."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from confluent_kafka import Consumer, Producer, TopicPartition
from fleetmeter_local import RunningClickHouse, RunningKafka
from fleetmeter_producers.kafka import ONE_AT_A_TIME

from fleetmeter_doubles.new_topics import create_topic
from fleetmeter_doubles.schema_copies import copy_schema
from fleetmeter_doubles.worker_forks import ForkedWorker, fork_server

DEADLINE_S = 90.0
_PROVEN: set[tuple[str, ...]] = set()
"""Ways to a store that a worker was started on, which tries out whether commits are safe there: two seconds of CPU."""
_WAY = ("clickhouse_url", "clickhouse_user", "clickhouse_ca_file")


def eventually(condition: Callable[[], Any], what: str) -> None:
    """Wait until the condition holds; fails the test after the deadline. Whoever waits long is asked less often, so
    that asking does not slow down what is waited for."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < DEADLINE_S, f"{what}: not after {DEADLINE_S} s"
        time.sleep(min(max(0.02, waited / 10), 0.25))


@dataclass
class WorkerProcess:
    """One worker, its ready file and its log."""

    process: ForkedWorker
    ready_file: Path
    log: Path

    @property
    def web(self) -> str | None:
        return json.loads(self.ready_file.read_text())["web"] if self.ready_file.exists() else None

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of the web port's answer."""
        try:
            with urllib.request.urlopen(f"{self.web}{path}", timeout=DEADLINE_S) as answer:  # noqa: S310  (our own)
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def health(self) -> dict[str, Any]:
        """What /health/ready says; not ready while there is nobody to ask."""
        try:
            return json.loads(self.get("/health/ready")[1]) if self.web else {"ready": False, "partitions": {}}
        except OSError:
            return {"ready": False, "partitions": {}}

    def partition(self, number: int) -> dict[str, Any]:
        """What /health/ready says of a partition; all of it is None while the worker has not got it."""
        return defaultdict(lambda: None, self.health()["partitions"].get(str(number), {}))

    def ready(self, partitions: int) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        health = self.health()
        return bool(health["ready"]) and len(health["partitions"]) == partitions

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)


@dataclass
class Pipeline:
    """A topic, a database, and what was sent."""

    kafka: RunningKafka
    clickhouse: RunningClickHouse
    topic: str
    database: str
    folder: Path
    workers: list[WorkerProcess] = field(default_factory=list)
    commands: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """Other processes, which end with the pipeline, too."""
    sent: list[tuple[str, str, int]] = field(default_factory=list)
    """(account, id, input tokens) of every good event."""
    refused: int = 0
    store_url: str = ""
    """Where workers reach ClickHouse, if not directly."""
    _asking: Client | None = None

    def start_worker(self, *, drain: bool = False, proves: bool = False, **settings: object) -> WorkerProcess:
        """A worker. Of those that reach a store in the same way only the first proves it, and any that is told to."""
        number = len(self.workers)
        ready, log = self.folder / f"worker-{number}.json", self.folder / f"worker-{number}.log"
        settings = {
            "kafka_bootstrap": self.kafka.bootstrap,
            "topic": self.topic,
            "consumer_group": self.topic,
            "clickhouse_url": self.store_url or self.clickhouse.url,
            "clickhouse_user": self.clickhouse.user,
            "clickhouse_password": self.clickhouse.password,
            "clickhouse_database": self.database,
            "session_timeout_s": 6,
            "rebalance_limit_s": 5,
            "flush_interval_s": 0.1,
            "flush_events": 500,
            "retry_wait_limit_s": 0.5,
            **settings,
        }
        way = tuple(str(value) for name, value in sorted(settings.items()) if name in _WAY)
        proven = way in _PROVEN and not proves
        _PROVEN.add(way)
        process = fork_server().start(settings, ready_file=ready, log=log, drain=drain, proven=proven)
        self.workers.append(WorkerProcess(process, ready, log))
        return self.workers[-1]

    def send(self, count: int, *, partitions: int = 1, again: bool = False, padding: int = 0) -> None:
        """`count` new events; with `again` each is sent twice and every tenth is followed by garbage. `padding` bytes
        in each make the records large."""
        config = {"bootstrap.servers": self.kafka.bootstrap, "linger.ms": 5, "enable.idempotence": True}
        producer = Producer({**config, **ONE_AT_A_TIME} | ({"compression.type": "lz4"} if padding else {}))
        for _ in range(count):
            number = len(self.sent)
            account, tokens = f"account-{number % 7}", number % 1000
            self.sent.append((account, f"e-{number}", tokens))
            for _copy in range(2 if again else 1):
                event = event_bytes(account, f"e-{number}", tokens, padding)
                producer.produce(self.topic, event, partition=number % partitions)
            if again and not number % 10:
                self.refused += 1
                producer.produce(self.topic, b"not an event %d" % number, partition=number % partitions)
        assert producer.flush(60) == 0

    def client(self, database: str | None = None, **options: Any) -> Client:
        return clickhouse_connect.get_client(
            host=self.clickhouse.host,
            port=self.clickhouse.port,
            username=self.clickhouse.user,
            password=self.clickhouse.password,
            database=database or self.database,
            **options,
        )

    def log_ends(self) -> dict[int, int]:
        """By partition, the offset after the log's last record."""
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap, "group.id": "ends"})
        try:
            found = consumer.list_topics(self.topic, timeout=10).topics[self.topic].partitions
            places = [TopicPartition(self.topic, number) for number in found]
            return {place.partition: consumer.get_watermark_offsets(place, timeout=10)[1] for place in places}
        finally:
            consumer.close()

    def rows(self, query: str) -> list[Any]:
        """The answer of a query, by a connection that is kept, because whoever waits asks often."""
        if self._asking is None:
            self._asking = self.client(autogenerate_session_id=False)
        return list(self._asking.query(query).result_rows)

    def requests(self) -> int:
        """Those in the ledger; what the view says of them is looked at when all is counted (`check_usage`)."""
        return int(self.rows("SELECT sum(requests) FROM ledger WHERE row_kind = 'usage'")[0][0])

    def end(self) -> None:
        """Kill what still runs."""
        if self._asking is not None:
            self._asking.close()
        for process in [*(worker.process for worker in self.workers), *self.commands]:
            if process.poll() is None:
                process.kill()
                process.wait(30)

    def all_counted(self) -> bool:
        return self.requests() >= len(self.sent)

    def check_usage(self) -> None:
        """Every account's requests and tokens are those sent."""
        expected: dict[str, list[int]] = {}
        for account, _, tokens in self.sent:
            expected.setdefault(account, [0, 0])
            expected[account][0] += 1
            expected[account][1] += tokens
        rows = self.rows("SELECT account_id, sum(requests), sum(input_tokens) FROM usage_minutes GROUP BY account_id")
        assert {account: [int(requests), int(tokens)] for account, requests, tokens in rows} == expected

    def check(self) -> None:
        """As `check_usage`, and each offset was committed once."""
        self.check_usage()
        ((offsets, rejected),) = self.rows(
            "SELECT sum(records + control_offsets + aborted_offsets), sum(rejected) FROM ledger "
            "WHERE row_kind = 'marker'"
        )
        ((logs,),) = self.rows(
            "SELECT sum(end - start) FROM (SELECT partition, min(first_offset) AS start, max(next_offset) AS end "
            "FROM ledger WHERE row_kind = 'marker' GROUP BY partition)"
        )
        assert int(offsets) == int(logs)
        ((quarantined,),) = self.rows("SELECT count() FROM quarantine FINAL")
        assert int(rejected) == int(quarantined) == self.refused


def event_bytes(account: str, event_id: str, tokens: int, padding: int = 0) -> bytes:
    """An event of now, as JSON; with `padding`, so many bytes larger."""
    return json.dumps(
        {
            "specversion": "1.0",
            "type": "fleetmeter.generation.v1",
            "source": "test",
            "id": event_id,
            "subject": account,
            "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            **({"padding": "x" * padding} if padding else {}),
            "data": {"model": "mercury-coder-mini", "generation_mode": "diffusion", "input_tokens": tokens},
        }
    ).encode()


def new_pipeline(
    kafka: RunningKafka, clickhouse: RunningClickHouse, folder: Path, partitions: int = 1, **config: str
) -> Pipeline:
    """A new topic and a migrated database. `config` is the topic's, with underscores for dots."""
    name = f"worker_{uuid.uuid4().hex}"
    topic_config = {"message.timestamp.type": "LogAppendTime"}
    topic_config |= {key.replace("_", "."): value for key, value in config.items()}
    create_topic(kafka.bootstrap, name, partitions, topic_config)
    made = Pipeline(kafka, clickhouse, name, name, folder)
    with made.client("default") as client:
        copy_schema(client, name)
    return made
