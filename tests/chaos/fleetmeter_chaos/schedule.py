"""One schedule: engines that run, a topic and a database of its own, faults, healing, and the verdict."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Final

from clickhouse_connect.driver.client import Client
from confluent_kafka import KafkaException
from fleetmeter_jobs.errors import JobError
from fleetmeter_jobs.ledger.dedup.seal import read_chain
from fleetmeter_jobs.ledger.errors import StoreUnavailableError
from fleetmeter_jobs.ledger.position import PartitionId
from fleetmeter_jobs.reconcile import reconcile
from fleetmeter_native import blob_stats
from fleetmeter_sql import migrate

from fleetmeter_chaos.cargo import Cargo, load_cargo
from fleetmeter_chaos.engines import Engines
from fleetmeter_chaos.faults import FAULTS
from fleetmeter_chaos.fleet import Fleet
from fleetmeter_chaos.log_reading import LogReader
from fleetmeter_chaos.plan import Plan, Step
from fleetmeter_chaos.recreation import create_topic, recreate
from fleetmeter_chaos.stage import Stage, StuckError
from fleetmeter_chaos.verdict import Chapter, verdict
from fleetmeter_chaos.workers import ForkClient, Worker

LIMIT_S: Final = 60.0
"""For each phase after the faults; on a machine that is busy with other things a few seconds are usual."""
_FLEET_LIMIT_S: Final = 3 * LIMIT_S
"""More than a transactional producer waits for an end that librdkafka never reports, and then for its successor's."""
_ASKED_EVERY_S: Final = 0.25
"""Asking whether the log is drained costs both engines more than it costs to wait."""
_NEXT_MONTH: Final = "log committed over a month's end"
_EXPECTED_ENDS: Final = frozenset({0, 3, -SIGKILL})
"""Clean, unconfirmed, killed. Anything else is a worker that gave up by itself."""


def _expected_end(worker: Worker) -> bool:
    """Also of one that was told to leave before it listened."""
    deaf = worker.exit_code == -SIGTERM and worker.leaving and not worker.ready_file.exists()
    return deaf or worker.exit_code in _EXPECTED_ENDS


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
    effects: dict[str, int] = field(default_factory=dict)
    """What the pipeline did about the faults, and how often."""
    bad_input: dict[str, int] = field(default_factory=dict)
    """What the log held beside good events that come once."""


class Schedule:
    """Runs one plan on a lane's engines. `run` is its life; the folder keeps the story and the workers' logs."""

    def __init__(
        self, plan: Plan, engines: Engines, forks: ForkClient, reader: LogReader, folder: Path, mutation: str = ""
    ) -> None:
        self.plan, self.engines = plan, engines
        self.stage = Stage(plan, engines, forks, f"chaos_{uuid.uuid4().hex}", folder, mutation)
        self._reader = reader
        self._phases: dict[str, float] = {}
        self._bad_input = Counter[str]()
        self._began = self._phase_began = time.monotonic()

    def run(self) -> Outcome:
        """Never raises for what the pipeline does: what is wrong stands in the outcome."""
        problems: list[str] = []
        stage = self.stage
        try:
            self.engines.clock.set(self.plan.broker_ahead_s)
            problems += self._play()
        except StuckError as error:
            problems += [str(error), *stage.last_words(), *self._books_wrong()]
        finally:
            stage.clear()
            with self.engines.client() as client:
                client.command(f"DROP DATABASE IF EXISTS {stage.name} SYNC")
            self.engines.admin.delete_topics([stage.name])
            self._end_of("clearing")
        for problem in problems:
            stage.story.tell("verdict", problem)
        return Outcome(
            self.plan.seed,
            problems,
            dict(stage.story.faults()),
            time.monotonic() - self._began,
            self.plan.events,
            len(stage.workers),
            self._phases,
            dict(stage.story.effects()),
            dict(self._bad_input),
        )

    def _play(self) -> list[str]:
        plan, stage = self.plan, self.stage
        cargo = load_cargo(plan.seed, plan.events, datetime.now(UTC))
        self._set_up()
        for _ in range(plan.workers):
            stage.start_worker()
        self._end_of("set-up")
        chapters = [self._faults_and_healing(cargo)]
        if plan.recreate:
            chapters.append(self._another_log(cargo))
        stage.end_workers(LIMIT_S)
        self._end_of("ending")
        self._bad_input = sum((chapter.bad_input() for chapter in chapters), Counter())
        with self.engines.client(stage.name) as client:
            problems = verdict(stage.store(), client, stage.name, self.engines.bootstrap, chapters)
            self._tell_of_months(client)
        self._end_of("verdict")
        return problems + [
            f"{worker.name} ended with {worker.exit_code}; see its log"
            for worker in stage.workers
            if not _expected_end(worker)
        ]

    def _tell_of_months(self, client: Client) -> None:
        """Whether commits went on from one table partition to the next."""
        ((months,),) = client.query(
            "SELECT max(months) FROM (SELECT uniqExact(_partition_id) AS months FROM ledger "
            "WHERE row_kind = 'marker' AND _partition_id != '0' GROUP BY topic, partition, epoch)"
        ).result_rows
        if months > 1:
            self.stage.story.tell("campaign", f"a log was committed over {months} months", effect=_NEXT_MONTH)

    def _set_up(self) -> None:
        stage = self.stage
        (stage.folder / "plan.txt").write_text(f"{self.plan}\n", encoding="utf-8")
        create_topic(self.engines.admin, stage.name, self.plan.partitions)
        with self.engines.client() as client:
            migrate(client, stage.name)
        if self.plan.window:
            stage.story.tell("campaign", f"ClickHouse remembers {self.plan.window} tokens", "tokens age out")
            stage.store().http.execute(
                f"ALTER TABLE ledger MODIFY SETTING non_replicated_deduplication_window = {self.plan.window}"
            )
        stage.find_parts()

    def _faults_and_healing(self, cargo: Cargo) -> Chapter:
        plan, stage = self.plan, self.stage
        fleet = Fleet(self.engines.bootstrap, stage.name, cargo, plan.producers, plan.seed, stage.story)
        fleet.start(plan.span_s)
        if not plan.from_the_start:
            stage.run_until(stage.proxy.committing.is_set, LIMIT_S, "a worker commits something")
            self._end_of("joining")
        fleet.opened.set()
        for step in plan.steps:
            stage.later(step.at_s, lambda step=step: self._inject(step))  # type: ignore[misc]
        over_at = time.monotonic() + plan.span_s
        stage.run_until(lambda: time.monotonic() >= over_at, plan.span_s + LIMIT_S, "the faults are over")
        self._end_of("faults")
        stage.heal(LIMIT_S)
        self._finish(fleet)
        self._end_of("healing")
        return self._drained(cargo, epoch=0)

    def _inject(self, step: Step) -> None:
        if not self.stage.healing():
            FAULTS[step.fault].inject(self.stage, **step.how)

    def _finish(self, fleet: Fleet) -> None:
        """Everything is acknowledged. A strike may still fall on a broker, and somebody has to start it again."""
        self.stage.run_until(fleet.finished, _FLEET_LIMIT_S, "everything sent is acknowledged")

    def _another_log(self, cargo: Cargo) -> Chapter:
        """The topic again, with other events, and some of those that were counted before."""
        plan, stage = self.plan, self.stage
        more = cargo.another(plan.seed + 1, 2 * plan.events, datetime.now(UTC))
        fleet = Fleet(self.engines.bootstrap, stage.name, more, ("steady",), plan.seed, stage.story)

        def refill() -> None:
            fleet.start(0.0)
            self._finish(fleet)

        recreate(stage, refill)
        store = stage.store()
        unnoticed = [number for number in range(plan.partitions) if store.epochs(stage.name, number)[-1][0].epoch != 1]
        if unnoticed:
            raise StuckError(f"partitions {unnoticed} count the new log on from where the old one ended")
        self._reader.forget()
        self._end_of("recreating")
        return self._drained(more, epoch=1)

    def _drained(self, cargo: Cargo, epoch: int) -> Chapter:
        """When every offset is committed, and every zombie has gone on: what the log holds."""
        stage, partitions = self.stage, self.plan.partitions
        store = stage.store()

        def drained() -> bool:
            if any(worker.state == "stopped" for worker in stage.workers):
                return False
            try:
                ends = self._reader.ends(stage.name, partitions)
                rows = store.http.rows(
                    "SELECT partition, max(next_offset) FROM ledger WHERE row_kind = 'marker' AND topic != '' "
                    "AND epoch = {epoch:UInt32} GROUP BY partition",
                    parameters={"epoch": epoch},
                )
            except (StoreUnavailableError, KafkaException):
                return False  # a strike may still fall: workers come late to their points
            positions = dict(rows)
            return all(positions.get(number, -1) == log.end for (_, number), log in ends.items())

        stage.run_until(drained, LIMIT_S, "everything is counted", asked_every_s=_ASKED_EVERY_S)
        if self.plan.chunk_ids:
            stage.run_until(lambda: self._sealed(epoch), LIMIT_S, "full chunks of ids are sealed", _ASKED_EVERY_S)
        stage.mend_engines(LIMIT_S)
        chapter = Chapter(epoch, cargo, self._reader.read(stage.name, partitions, cargo))
        self._end_of("draining")
        return chapter

    def _sealed(self, epoch: int) -> bool:
        """Whether no more ids wait in the ledger than a chunk that grows may have. What a worker left there that died
        before it deleted a sealed chunk's blobs goes with the next chunk."""
        stage = self.stage
        if any(worker.state == "stopped" for worker in stage.workers):
            return False
        store = stage.store()
        try:
            for number in range(self.plan.partitions):
                partition = PartitionId(stage.name, number, epoch)
                position = store.position(partition)
                if position is None:
                    continue
                sealed_to = read_chain(store, partition, position.first_offset).end
                blobs = store.blobs(partition, position.next_offset, sealed_to)
                if sum(blob_stats(blob.data)["foreign_ids"] for blob in blobs) >= self.plan.chunk_ids:
                    return False
        except StoreUnavailableError:
            return False
        return True

    def _books_wrong(self) -> list[str]:
        """What can be told of a ledger that others still write, or that can't be read on."""
        try:
            ends = self._reader.ends(self.stage.name, self.plan.partitions)
            report = reconcile(self.stage.store(), lambda: ends)
        except (JobError, KafkaException) as error:
            return [f"the books can't be read: {error}"]
        return [f"{each.partition.partition}: {problem}" for each in report.partitions for problem in each.problems]

    def _end_of(self, phase: str) -> None:
        now = time.monotonic()
        self._phases[phase] = round(self._phases.get(phase, 0.0) + now - self._phase_began, 3)
        self._phase_began = now
