"""One schedule: engines that run, a topic and a database of its own, faults, healing, and the verdict."""

from __future__ import annotations

import heapq
import itertools
import json
import signal
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import NewTopic
from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.errors import StoreUnavailableError
from fleetmeter_sql import migrate

from fleetmeter_chaos.cargo import EVENT_LIMIT_BYTES, RECORD_LIMIT_BYTES, load_cargo
from fleetmeter_chaos.engines import Engine, Engines
from fleetmeter_chaos.faults import FAULTS
from fleetmeter_chaos.fleet import Fleet
from fleetmeter_chaos.log_reading import LogReader
from fleetmeter_chaos.plan import SESSION_S, Plan
from fleetmeter_chaos.proxy import Proxy
from fleetmeter_chaos.story import Story
from fleetmeter_chaos.verdict import verdict
from fleetmeter_chaos.worker_life import WorkerLife
from fleetmeter_chaos.workers import ForkClient, Worker

POLL_S: Final = 0.05
DRAIN_LIMIT_S: Final = 60.0
REPLACED_AFTER_S: Final = 0.3
_ZOMBIE_S: Final = SESSION_S * 1.4
_EXPECTED_ENDS: Final = frozenset({0, 3, -signal.SIGKILL})
"""Clean, unconfirmed, killed. Anything else is a worker that gave up by itself."""


class StuckError(Exception):
    """The schedule did not come to its end in time."""


@dataclass(slots=True)
class Outcome:
    """What became of a schedule."""

    seed: int
    problems: list[str]
    faults: dict[str, int]
    seconds: float
    events: int
    workers_started: int
    phases_s: dict[str, float] = field(default_factory=dict)


class Schedule:
    """Runs one plan on a lane's engines. `run` is its life; the folder keeps the story and the workers' logs."""

    def __init__(
        self, plan: Plan, engines: Engines, forks: ForkClient, reader: LogReader, folder: Path, mutation: str = ""
    ) -> None:
        self.plan, self.engines, self.folder, self.mutation = plan, engines, folder, mutation
        folder.mkdir(parents=True, exist_ok=True)
        self.story = Story(folder / "story.jsonl")
        self.name = f"chaos_{uuid.uuid4().hex}"
        self.workers: list[Worker] = []
        self.proxy = Proxy(*engines.clickhouse_at, self.story)
        self._forks, self._reader = forks, reader
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._reviving: dict[str, threading.Thread] = {}
        self._healed = self._ending = False
        self.interrupted = threading.Event()
        """Set it to end the schedule at once."""
        self._began = time.monotonic()
        self._phases: dict[str, float] = {}
        self._phase_began = self._began

    def run(self) -> Outcome:
        """Never raises for what the pipeline does: what is wrong stands in the outcome."""
        problems: list[str] = []
        cargo = load_cargo(self.plan.seed, self.plan.events, datetime.now(UTC))
        try:
            self._set_up()
            fleet = Fleet(self.engines.bootstrap, self.name, cargo, self.plan.producers, self.plan.seed, self.story)
            for _ in range(self.plan.workers):
                self.start_worker()
            self._end_of("set-up")
            fleet.start(self.plan.span_s)
            if not self.plan.from_the_start:
                self._run_until(self.proxy.committing.is_set, DRAIN_LIMIT_S, "no worker commits anything")
                self._end_of("joining")
            for step in self.plan.steps:
                self.later(step.at_s, lambda step=step: FAULTS[step.fault].inject(self, **step.how))  # type: ignore[misc]
            self._run_until(lambda: time.monotonic() - self._phase_began > self.plan.span_s, self.plan.span_s + 30)
            self._end_of("faults")
            self._heal()
            fleet.finish(DRAIN_LIMIT_S)
            self._end_of("healing")
            self._drain()
            self._end_of("draining")
            self._end_workers()
            self._end_of("ending")
            with self.engines.client(self.name) as client:
                logs = self._reader.read(self.name, self.plan.partitions, cargo)
                problems += verdict(self._store(), client, self.name, cargo, logs)
            problems += self._odd_ends()
        except StuckError as error:
            problems.append(str(error))
        finally:
            self._clean_up()
            self._end_of("verdict")
        for problem in problems:
            self.story.tell("verdict", problem)
        return Outcome(
            self.plan.seed,
            problems,
            dict(self.story.faults()),
            time.monotonic() - self._began,
            self.plan.events,
            len(self.workers),
            self._phases,
        )

    # What faults may do

    def running(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.state == "running" and not worker.leaving]

    def signal(self, worker: Worker, number: int) -> None:
        self._forks.signal(worker, number)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), call))

    def start_worker(self) -> None:
        number = len(self.workers)
        name = f"worker-{number}"
        port = self.proxy.listen(name)
        strikes = self.plan.strikes[number] if number < len(self.plan.strikes) and not self._healed else ()
        life = WorkerLife(
            name=name,
            ready_file=str(self.folder / f"{name}.json"),
            story=str(self.story.path),
            clickhouse_pid=self.engines.clickhouse.pid,
            strikes=strikes,
            prove_store=self.plan.prove_store and not number,
            mutation=self.mutation,
            settings=self._settings(port),
        )
        self.workers.append(self._forks.start(life, self.folder / f"{name}.log"))
        self.story.tell("campaign", f"{name} started (pid {self.workers[-1].pid})")

    # The schedule's own steps

    def _settings(self, port: int) -> dict[str, str]:
        settings = {
            "kafka_bootstrap": self.engines.bootstrap,
            "topic": self.name,
            "consumer_group": self.name,
            "clickhouse_url": f"http://127.0.0.1:{port}",
            "clickhouse_database": self.name,
            "session_timeout_s": SESSION_S,
            "rebalance_limit_s": 1.0,
            "flush_interval_s": self.plan.flush_interval_s,
            "flush_events": self.plan.flush_events,
            "fetch_limit_bytes": 65_536,
            "event_limit_bytes": EVENT_LIMIT_BYTES,
            "record_limit_bytes": RECORD_LIMIT_BYTES,
            "retry_wait_s": 0.02,
            "retry_wait_limit_s": 0.3,
            "insert_timeout_s": 10,
            "watermark_interval_s": 0.5,
            "recheck_interval_s": 0.5,
            "shutdown_limit_s": 3,
        }
        return {name: str(value) for name, value in settings.items()}

    def _set_up(self) -> None:
        (self.folder / "plan.txt").write_text(f"{self.plan}\n", encoding="utf-8")
        topic = NewTopic(
            self.name,
            self.plan.partitions,
            1,
            config={"message.timestamp.type": "LogAppendTime", "max.message.bytes": "16000000"},
        )
        self.engines.admin.create_topics([topic])[self.name].result(30)
        with self.engines.client() as client:
            migrate(client, self.name)

    def _store(self) -> ClickHouseStore:
        return ClickHouseStore.connect(self.engines.clickhouse_url, "default", "", self.name)

    def _run_until(self, over: Callable[[], bool], limit_s: float, what: str = "") -> None:
        deadline = time.monotonic() + limit_s
        while not over():
            if self.interrupted.is_set():
                raise StuckError("interrupted")
            if time.monotonic() > deadline:
                raise StuckError(f"stuck after {limit_s:.0f} s: {what}")
            self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
        self._watch()
        next_due = self._due[0][0] - time.monotonic() if self._due else POLL_S
        threading.Event().wait(min(max(next_due, 0.0), POLL_S))

    def _watch(self) -> None:
        """See what died, and replace it, as whoever runs workers would."""
        for pid, what, code in self._forks.poll():
            worker = next((worker for worker in self.workers if worker.pid == pid), None)
            if worker is None:
                continue
            match what:
                case "stopped":
                    worker.state = "stopped"
                    self.later(_ZOMBIE_S, lambda worker=worker: self._wake(worker))  # type: ignore[misc]
                case "continued":
                    worker.state = "running"
                case _:
                    worker.state, worker.exit_code = "ended", code
                    self.story.tell(worker.name, f"ended with {code}")
                    self.later(REPLACED_AFTER_S, self._replace)
        for engine in (self.engines.clickhouse, self.engines.kafka):
            if not engine.alive() and engine.name not in self._reviving:
                self.story.tell("campaign", f"starts {engine.name} again")
                thread = threading.Thread(target=self._revive, args=(engine,), daemon=True)
                self._reviving[engine.name] = thread
                thread.start()

    def _wake(self, worker: Worker) -> None:
        if worker.live:
            self.story.tell(worker.name, "goes on")
            self.signal(worker, signal.SIGCONT)

    def _replace(self) -> None:
        if self._ending:
            return
        live = [worker for worker in self.workers if worker.live and not worker.leaving]
        if len(live) < self.plan.workers and len(self.workers) < self.plan.workers + 8:
            self.start_worker()

    def _revive(self, engine: Engine) -> None:
        try:
            engine.revive()
            self.story.tell(engine.name, "answers again")
        finally:
            del self._reviving[engine.name]

    def _heal(self) -> None:
        """From here on nothing goes wrong any more; what was late comes now."""
        self._healed = True
        self.story.tell("campaign", "healing")
        self._mend_engines()
        self.proxy.heal()
        while self._due:
            heapq.heappop(self._due)[2]()
        self._watch()
        while len(self.running()) < 1:
            self.start_worker()

    def _mend_engines(self) -> None:
        self._watch()
        self._run_until(lambda: not self._reviving, DRAIN_LIMIT_S, "an engine does not start")
        self.engines.heal()

    def _drain(self) -> None:
        """Until every offset is committed and every zombie has gone on."""
        store = self._store()

        def drained() -> bool:
            if any(worker.state == "stopped" for worker in self.workers):
                return False
            try:
                ends = self._reader.ends(self.name, self.plan.partitions)
                rows = store.http.rows(
                    "SELECT partition, max(next_offset) FROM ledger WHERE row_kind = 'marker' GROUP BY 1"
                )
            except (StoreUnavailableError, KafkaException):
                return False  # a strike may still fall: workers come late to their points
            positions = dict(rows)
            return all(positions.get(number, -1) == log.end for (_, number), log in ends.items())

        self._run_until(drained, DRAIN_LIMIT_S, "not everything is counted")

    def _end_workers(self) -> None:
        self._ending = True
        for worker in self.workers:
            if worker.live:
                worker.leaving = True
                self.signal(worker, signal.SIGTERM)
        self._run_until(lambda: not any(worker.live for worker in self.workers), 20, "a worker does not end")
        self.proxy.heal()
        self._mend_engines()

    def _odd_ends(self) -> list[str]:
        return [
            f"{worker.name} ended with {worker.exit_code}; see {worker.log}"
            for worker in self.workers
            if worker.exit_code not in _EXPECTED_ENDS
        ]

    def _clean_up(self) -> None:
        self._healed = self._ending = True
        for worker in self.workers:
            if worker.live:
                self.signal(worker, signal.SIGKILL)
        while self._reviving:
            threading.Event().wait(POLL_S)
        self.engines.heal()
        self._forks.poll()
        self.proxy.close()
        with self.engines.client() as client:
            client.command(f"DROP DATABASE IF EXISTS {self.name} SYNC")
        self.engines.admin.delete_topics([self.name])

    def _end_of(self, phase: str) -> None:
        now = time.monotonic()
        self._phases[phase] = round(now - self._phase_began, 3)
        self._phase_began = now


def outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    """For the state file."""
    return json.loads(json.dumps({name: getattr(outcome, name) for name in Outcome.__slots__}))  # type: ignore[no-any-return]
