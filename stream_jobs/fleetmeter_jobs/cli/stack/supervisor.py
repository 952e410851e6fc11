"""The owner of a stack: it starts the engines and the workers in order, keeps them running, and stops them in order.

Everything it starts ends with it, also when it is killed: each process has a watchdog that sees our end. So whoever
finds the supervisor dead finds no orphans either.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from fleetmeter_local import (
    ManagedProcess,
    ProcessIdentity,
    RunningClickHouse,
    RunningKafka,
    forget_daemon,
    remember_daemon,
    start_clickhouse,
    start_kafka,
)
from fleetmeter_local.process import start_of
from fleetmeter_sql.migrate import migrate

from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.stack.environment import given_settings
from fleetmeter_jobs.cli.stack.state import SUPERVISOR, supervisor_address
from fleetmeter_jobs.cli.stack.topic import ensure_topic
from fleetmeter_jobs.cli.stack.workers import SupervisedWorker
from fleetmeter_jobs.settings import Settings

READY_TIMEOUT_S: Final = 90.0
TEND_INTERVAL_S: Final = 0.2
STOP_ENGINE_S: Final = 30.0

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
        self.kafka: RunningKafka | None = None
        self.clickhouse: RunningClickHouse | None = None
        self.workers: list[SupervisedWorker] = []
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
            self._remember(ready=False)
            self._cleanup.callback(forget_daemon, self.settings.data_dir, SUPERVISOR)
            self._start_engines()
            created = ensure_topic(self.settings)
            verb = "Created" if created else "Found"
            self._report(f"{verb} the topic {self.settings.topic}")
            self._migrate()
            self._start_workers()
            self._remember(ready=True)
        except BaseException:
            self.stop()
            raise

    def tend(self) -> None:
        """One look at everything: what has died is started again, and reported."""
        for name, engine in (("Kafka", self.kafka), ("ClickHouse", self.clickhouse)):
            if engine is not None and not engine.is_alive():
                self._report(f"{name} has ended; starting it again")
                engine.restart()
                self._report(f"{name} answers again")
        for worker in self.workers:
            if message := worker.tend():
                self._report(message)

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
        """Both at once; a given address is taken as it is."""
        settings = self.settings
        given = settings.model_fields_set
        self._report("Starting Kafka and ClickHouse")
        with ThreadPoolExecutor(max_workers=2) as pool:
            kafka = pool.submit(_kafka, settings, given="kafka_bootstrap" in given)
            clickhouse = pool.submit(_clickhouse, settings, given="clickhouse_url" in given)
        # Whichever started must be stopped even if the other failed.
        if clickhouse.exception() is None:
            self.clickhouse = clickhouse.result()
            self._cleanup.callback(self.clickhouse.stop, STOP_ENGINE_S)
        if kafka.exception() is None:
            self.kafka = kafka.result()
            self._cleanup.callback(self.kafka.stop, STOP_ENGINE_S)
        self.clickhouse, self.kafka = clickhouse.result(), kafka.result()
        update = {"kafka_bootstrap": self.kafka.bootstrap}
        if "clickhouse_url" not in given:
            update |= {"clickhouse_url": self.clickhouse.url, "clickhouse_user": self.clickhouse.user}
            if self.clickhouse.password:
                update["clickhouse_password"] = self.clickhouse.password
        explicit = {name: getattr(settings, name) for name in given}
        self.settings = Settings.load(**{**explicit, **update})
        self._report(f"Kafka answers at {self.kafka.bootstrap} ({self.kafka.source})")
        self._report(f"ClickHouse answers at {self.clickhouse.url} ({self.clickhouse.source})")

    def _migrate(self) -> None:
        with connect(self.settings) as client:
            applied = migrate(client, self.settings.clickhouse_database)
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
                if message := worker.tend():
                    self._report(message)
            if self._clock() > deadline:
                late = next(worker for worker in self.workers if not worker.ready)
                raise CommandError(
                    f"{late.name} was not ready within {READY_TIMEOUT_S:.0f} s; its log says why: {late.log_path}",
                    Exit.DEFECT,
                )
            time.sleep(TEND_INTERVAL_S / 4)

    def _stop_workers(self) -> None:
        for worker in self.workers:
            worker.ask_to_stop()
        for worker in self.workers:
            worker.stop(self.settings.shutdown_limit_s + 5)

    def _remember(self, *, ready: bool) -> None:
        pid = os.getpid()
        ourselves = ManagedProcess(
            SUPERVISOR, ProcessIdentity(pid, start_of(pid) or ""), self.settings.data_dir / "logs" / "supervisor.log"
        )
        given = given_settings(self.settings, secrets=False)
        remember_daemon(self.settings.data_dir, ourselves, supervisor_address(given, self._wanted_workers, ready=ready))


def _kafka(settings: Settings, *, given: bool) -> RunningKafka:
    return RunningKafka(settings.kafka_bootstrap, "given") if given else start_kafka(settings.data_dir)


def _clickhouse(settings: Settings, *, given: bool) -> RunningClickHouse:
    if not given:
        return start_clickhouse(settings.data_dir)
    address = urlsplit(settings.clickhouse_url)
    secure = address.scheme == "https"
    return RunningClickHouse(
        address.hostname or "",
        address.port or (8443 if secure else 8123),
        settings.clickhouse_user,
        settings.clickhouse_password.get_secret_value(),
        "given",
        secure=secure,
    )


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
