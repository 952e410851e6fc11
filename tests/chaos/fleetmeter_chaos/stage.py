"""What a schedule plays on: its workers, its engines, its proxy; and whoever starts again what died."""

from __future__ import annotations

import itertools
import re
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore

from fleetmeter_chaos.cargo import EVENT_LIMIT_BYTES, RECORD_LIMIT_BYTES
from fleetmeter_chaos.engines import Engine, Engines
from fleetmeter_chaos.plan import SESSION_S, Plan
from fleetmeter_chaos.proxy import Proxy
from fleetmeter_chaos.story import Story
from fleetmeter_chaos.timeline import Timeline
from fleetmeter_chaos.worker_life import WorkerLife
from fleetmeter_chaos.workers import ForkClient, Worker

T = TypeVar("T")
_STOPS: Final = re.compile(r"-(\d+/\d+) stops: (.+)")

POLL_S: Final = 0.05
REPLACED_AFTER_S: Final = 0.3
WORKERS_LIMIT: Final = 8
"""More than a schedule starts beside its own; one that dies again and again is not replaced for ever."""


class StuckError(Exception):
    """Something did not happen in time, or the schedule was interrupted."""


class Stage:
    """A `Scene`. `watch` has to be called often."""

    def __init__(self, plan: Plan, engines: Engines, forks: ForkClient, name: str, folder: Path, mutation: str) -> None:
        self.plan, self.engines, self.name, self.folder = plan, engines, name, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.story = Story(folder / "story.jsonl")
        self.proxy = Proxy(*engines.clickhouse_at, self.story)
        self.timeline = Timeline()
        self.workers: list[Worker] = []
        self.interrupted = threading.Event()
        """Set it to end the schedule at once."""
        self._forks, self._mutation = forks, mutation
        self._parts = Path()
        self._reviving: dict[str, threading.Thread] = {}
        self._aside: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self._healing = threading.Event()
        self._ending = False
        self._files = itertools.count()
        self._lock = threading.RLock()

    def store(self) -> ClickHouseStore:
        """The ledger, past the proxy."""
        return ClickHouseStore.connect(self.engines.clickhouse_url, "default", "", self.name)

    # What faults may do

    def running(self) -> list[Worker]:
        with self._lock:
            return [worker for worker in self.workers if worker.state == "running" and not worker.leaving]

    def signal(self, worker: Worker, number: int) -> None:
        self._forks.signal(worker, number)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self.timeline.later(seconds, call)

    def aside(self, call: Callable[[], None]) -> None:
        def run() -> None:
            try:
                call()
            except BaseException as error:  # noqa: BLE001  (raised again in the schedule's thread)
                self._errors.append(error)

        thread = threading.Thread(target=run, name="aside", daemon=True)
        self._aside.append(thread)
        thread.start()

    def healing(self) -> bool:
        return self._healing.is_set() or self.interrupted.is_set()

    def ledger_folder(self) -> Path:
        return self._parts

    def table_partitions(self) -> list[int]:
        now = self.engines.clock.now()
        months = (now, (now.replace(day=1) + timedelta(days=32)))
        return [0, *(month.year * 100 + month.month for month in months)]

    def scratch_file(self, name: str) -> Path:
        return self.folder / f"{name}-{next(self._files)}.log"

    def start_worker(self, place: int | None = None) -> None:
        with self._lock:
            number = len(self.workers)
            place = number if place is None else place
            name = f"worker-{number}"
            port = self.proxy.listen(name)
            life = WorkerLife(
                name=name,
                ready_file=str(self.folder / f"{name}.json"),
                story=str(self.story.path),
                pid_files={
                    "kill_clickhouse": str(self.engines.clickhouse.pid_file),
                    "kill_broker": str(self.engines.kafka.pid_file),
                },
                strikes=_nth(self.plan.strikes, number) if not self._healing.is_set() else (),
                clock_shifts_s=_nth(self.plan.clock_shifts_s, number),
                prove_store=self.plan.prove_store and not number,
                mutation=self._mutation,
                settings=self._settings(port, place),
                beyond_limits={"dedup_chunk_ids": self.plan.chunk_ids} if self.plan.chunk_ids else {},
            )
            worker = self._forks.start(life, self.folder / f"{name}.log")
            worker.place, worker.clock_shifts_s = place, life.clock_shifts_s
            self.workers.append(worker)
        self.story.tell("campaign", f"{name} started (pid {worker.pid})")

    def _settings(self, port: int, place: int) -> dict[str, str]:
        settings = {
            "kafka_bootstrap": self.engines.bootstrap,
            "topic": self.name,
            "consumer_group": self.name,
            "clickhouse_url": f"http://127.0.0.1:{port}",
            "clickhouse_database": self.name,
            "session_timeout_s": SESSION_S,
            "heartbeat_interval_s": 0.3,
            "rebalance_limit_s": 1.0,
            "flush_interval_s": self.plan.flush_interval_s,
            "flush_events": self.plan.flush_events,
            "fetch_limit_bytes": 65_536,
            "event_limit_bytes": EVENT_LIMIT_BYTES,
            "record_limit_bytes": RECORD_LIMIT_BYTES,
            "retry_wait_s": 0.02,
            "retry_wait_limit_s": 0.3,
            "insert_timeout_s": self.plan.insert_timeout_s,
            "watermark_interval_s": 0.5,
            "recheck_interval_s": 0.5,
            "shutdown_limit_s": 3,
        }
        if self.plan.filter_limit_bytes is not None:
            settings["dedup_filter_limit_bytes"] = self.plan.filter_limit_bytes
        if self.plan.named_workers:
            settings["group_instance"] = f"place-{place}"
        return {name: str(value) for name, value in settings.items()}

    # The schedule's own steps

    def find_parts(self) -> None:
        """Look where the ledger's parts are made; once there is a ledger."""
        (((folder,),),) = self.store().http.rows(
            "SELECT data_paths FROM system.tables WHERE database = currentDatabase() AND name = 'ledger'"
        )
        self._parts = Path(folder)

    def run_until(self, over: Callable[[], bool], limit_s: float, what: str, asked_every_s: float = 0.0) -> None:
        """Let things happen until it is over. Raises StuckError, which says what was waited for."""
        deadline, asked_at = time.monotonic() + limit_s, float("-inf")
        while True:
            if time.monotonic() >= asked_at + asked_every_s:
                if over():
                    return
                asked_at = time.monotonic()
            if self.interrupted.is_set():
                raise StuckError("interrupted")
            if time.monotonic() > deadline:
                raise StuckError(f"{what}: not within {limit_s:.0f} s")
            self.timeline.run_due()
            self.watch()
            threading.Event().wait(min(self.timeline.next_in_s(), POLL_S))

    def watch(self) -> None:
        """See what stopped or died, and start it again, as whoever runs workers and engines would."""
        for pid, what, code in self._forks.poll():
            worker = next((worker for worker in self.workers if worker.pid == pid), None)
            if worker is not None:
                self._changed(worker, what, code)
        for engine in (self.engines.clickhouse, self.engines.kafka):
            if engine.name not in self._reviving and not engine.alive():
                self.story.tell("campaign", f"starts {engine.name} again")
                thread = threading.Thread(target=self._revive, args=(engine,), daemon=True)
                self._reviving[engine.name] = thread
                thread.start()
        if self._errors:
            raise self._errors.pop()

    def _changed(self, worker: Worker, what: str, code: int) -> None:
        match what:
            case "stopped":
                worker.state = "stopped"
                self.later(worker.asleep_s, lambda: self.wake(worker))
            case "continued":
                worker.state = "running"
            case _:
                worker.state, worker.exit_code = "ended", code
                self.story.tell(worker.name, f"ended with {code}")
                self.later(REPLACED_AFTER_S, lambda: self._replace(worker.place))

    def wake(self, worker: Worker) -> None:
        """Let a stopped worker go on."""
        if worker.live:
            self.story.tell(worker.name, "goes on")
            self.signal(worker, signal.SIGCONT)

    def _replace(self, place: int) -> None:
        live = [worker for worker in self.workers if worker.live and not worker.leaving]
        if not self._ending and len(live) < self.plan.workers and len(self.workers) < self.plan.workers + WORKERS_LIMIT:
            self.start_worker(place)

    def _revive(self, engine: Engine) -> None:
        try:
            engine.revive()
            self.story.tell(engine.name, "answers again")
        except BaseException as error:  # noqa: BLE001  (raised again in the schedule's thread)
            self._errors.append(error)
        finally:
            del self._reviving[engine.name]

    def heal(self, limit_s: float) -> None:
        """From here on no fault begins; what was late comes now. Strikes that a worker still carries may fall."""
        self._healing.set()
        self.story.tell("campaign", "healing")
        for thread in self._aside:
            thread.join(limit_s)
        self.proxy.heal()
        self.timeline.run_all()
        self.mend_engines(limit_s)
        if not self.running():
            self.start_worker()

    def last_words(self) -> list[str]:
        """What workers said last of partitions that they stopped."""
        said: dict[str, str] = {}
        for worker in self.workers:
            text = worker.log.read_text(encoding="utf-8", errors="replace") if worker.log.exists() else ""
            said |= {found[1]: f"{worker.name} stopped {found[1]}: {found[2]}" for found in _STOPS.finditer(text)}
        return list(said.values())

    def mend_engines(self, limit_s: float) -> None:
        """Both engines run and answer."""
        self.run_until(lambda: not self._reviving, limit_s, "an engine answers again")
        self.engines.heal()

    def end_workers(self, limit_s: float) -> None:
        """Tell them to stop, and wait for it."""
        self._ending = True
        for worker in self.workers:
            if worker.live:
                worker.leaving = True
                self.signal(worker, signal.SIGCONT)
                self.signal(worker, signal.SIGTERM)
        self.run_until(lambda: not any(worker.live for worker in self.workers), limit_s, "every worker ends")
        self.proxy.heal()
        self.mend_engines(limit_s)

    def clear(self) -> None:
        """End what runs, whatever state it is in, and leave the engines running."""
        self._healing.set()
        self._ending = True
        for worker in self.workers:
            if worker.live:
                self.signal(worker, signal.SIGKILL)
        for thread in [*self._aside, *self._reviving.values()]:
            thread.join()
        self._forks.poll()
        self.engines.heal()
        self.proxy.close()


def _nth(of: tuple[tuple[T, ...], ...], number: int) -> tuple[T, ...]:
    return of[number] if number < len(of) else ()
