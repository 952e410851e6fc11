"""The owner of a stack: it starts the engines and the workers in order, keeps them running, and stops them in order.

Everything it starts ends with it, also when it is killed: each process has a watchdog that sees our end. So whoever
finds the supervisor dead finds no orphans either.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from fleetmeter_local import (
    ManagedProcess,
    ProcessIdentity,
    RunningClickHouse,
    RunningKafka,
    forget_daemon,
    remember_daemon,
)
from fleetmeter_local.process import start_of
from fleetmeter_sql.migrate import migrate

from fleetmeter_jobs.cli.clickhouse import connect, table_options
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.stack.engines import SupervisedEngine, stack_clickhouse, stack_kafka
from fleetmeter_jobs.cli.stack.environment import given_settings
from fleetmeter_jobs.cli.stack.state import SUPERVISOR, supervisor_address
from fleetmeter_jobs.cli.stack.topic import ensure_topic
from fleetmeter_jobs.cli.stack.workers import SupervisedWorker
from fleetmeter_jobs.settings import Settings

READY_TIMEOUT_S: Final = 90.0
TEND_INTERVAL_S: Final = 0.2
STOP_ENGINE_S: Final = 30.0
STOP_MARGIN_S: Final = 5.0

Report = Callable[[str], None]


class Stack:
    """Engines, topic, tables and workers of one data folder. A context manager: leaving it stops all of it.

    `report` is told each step in a sentence. After `start`, `settings` has the engines' addresses. Not safe for use by
    several threads.
    """

    def __init__(
        self, settings: Settings, *, workers: int, report: Report, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
        self.workers: list[SupervisedWorker] = []
        self.kafka: RunningKafka | None = None
        self.clickhouse: RunningClickHouse | None = None
        self._engines: list[SupervisedEngine] = []
        self._wanted_workers = workers
        self._report = report
        self._clock = clock
        self._cleanup = ExitStack()

    def start(self) -> None:
        """Returns when every worker counts. What was started is stopped again if something fails.

        Raises CommandError, LocalError, JobError or SqlError; each says what to do.
        """
        try:
            self._cleanup.enter_context(_only_supervisor(self.settings.data_dir))
            self._cleanup.callback(forget_daemon, self.settings.data_dir, SUPERVISOR)
            self._remember(ready=False)
            self._start_engines()
            created = ensure_topic(self.settings)
            self._report(f"{'Created' if created else 'Found'} the topic {self.settings.topic}")
            self._migrate()
            self._start_workers()
            self._remember(ready=True)
        except BaseException:
            self.stop()
            raise

    def tend(self) -> None:
        """One look at everything: what has died is started again, and reported."""
        tended: list[SupervisedEngine | SupervisedWorker] = [*self._engines, *self.workers]
        for one in tended:
            if message := one.tend():
                self._report(message)

    @contextmanager
    def tended(self) -> Iterator[None]:
        """Tends the stack in a thread, for whoever has something else to do meanwhile and leaves the stack alone."""
        over = threading.Event()

        def keep_tending() -> None:
            while not over.wait(TEND_INTERVAL_S):
                self.tend()

        thread = threading.Thread(target=keep_tending, name="tend", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def stop(self) -> None:
        """Stops the workers, which commit what they hold, then the engines. Twice is once."""
        self._cleanup.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start_engines(self) -> None:
        """Both at once. Whichever started is stopped even if the other failed."""
        self._report("Starting Kafka and ClickHouse")
        with ThreadPoolExecutor(max_workers=2) as pool:
            starting_clickhouse = pool.submit(stack_clickhouse, self.settings)
            starting_kafka = pool.submit(stack_kafka, self.settings)
        if starting_clickhouse.exception() is None:
            self._cleanup.callback(starting_clickhouse.result().stop, STOP_ENGINE_S)
        if starting_kafka.exception() is None:
            self._cleanup.callback(starting_kafka.result().stop, STOP_ENGINE_S)
        kafka, clickhouse = starting_kafka.result(), starting_clickhouse.result()
        self.kafka, self.clickhouse = kafka, clickhouse
        self._engines = [
            SupervisedEngine("Kafka", kafka, self._clock),
            SupervisedEngine("ClickHouse", clickhouse, self._clock),
        ]
        self.settings = _with_addresses(self.settings, kafka, clickhouse)
        self._report(f"Kafka answers at {kafka.bootstrap} ({kafka.source})")
        self._report(f"ClickHouse answers at {clickhouse.url} ({clickhouse.source})")

    def _migrate(self) -> None:
        with connect(self.settings) as client:
            applied = migrate(client, self.settings.clickhouse_database, options=table_options(self.settings))
        if applied:
            self._report(f"Applied {len(applied)} migrations to the database {self.settings.clickhouse_database}")

    def _start_workers(self) -> None:
        self.workers = [SupervisedWorker(n, self.settings, self._clock) for n in range(1, self._wanted_workers + 1)]
        self._cleanup.callback(self._stop_workers)
        for worker in self.workers:
            worker.start()
        deadline = self._clock() + READY_TIMEOUT_S
        while not all(worker.ready for worker in self.workers):
            for worker in self.workers:
                worker.require_alive()
            self.tend()
            if self._clock() > deadline:
                late = next(worker for worker in self.workers if not worker.ready)
                raise CommandError(
                    f"{late.name} did not count within {READY_TIMEOUT_S:.0f} s; its log says why: {late.log_path}",
                    Exit.DEFECT,
                )
            time.sleep(TEND_INTERVAL_S)

    def _stop_workers(self) -> None:
        for worker in self.workers:
            worker.ask_to_stop()
        for worker in self.workers:
            worker.stop(self.settings.shutdown_limit_s + STOP_MARGIN_S)

    def _remember(self, *, ready: bool) -> None:
        pid, folder = os.getpid(), self.settings.data_dir
        ourselves = ManagedProcess(
            SUPERVISOR, ProcessIdentity(pid, start_of(pid) or ""), folder / "logs" / f"{SUPERVISOR}.log"
        )
        address = supervisor_address(
            given_settings(self.settings, secrets=False),
            workers=self._wanted_workers,
            ready=ready,
            sources={}
            if self.kafka is None or self.clickhouse is None
            else {
                "kafka": self.kafka.source,
                "clickhouse": self.clickhouse.source,
            },
        )
        remember_daemon(folder, ourselves, address)


def _with_addresses(settings: Settings, kafka: RunningKafka, clickhouse: RunningClickHouse) -> Settings:
    found: dict[str, Any] = {"kafka_bootstrap": kafka.bootstrap}
    if clickhouse.source != "given":
        found |= {"clickhouse_url": clickhouse.url, "clickhouse_user": clickhouse.user}
        found |= {"clickhouse_password": clickhouse.password} if clickhouse.password else {}
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    return Settings.load(**{**given, **found})


@contextmanager
def _only_supervisor(data_dir: Path) -> Iterator[None]:
    """The lock of a data folder: the system lets go of it when we end, in whatever way."""
    path = data_dir / "run" / "up.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(
                f"A stack already runs in {data_dir}. See it with `fleetmeter status`, stop it with `fleetmeter down`, "
                f"or give this one another --data-dir."
            ) from error
        yield
