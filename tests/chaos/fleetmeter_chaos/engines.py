"""The broker and the ClickHouse of one lane: they outlive its schedules, and are killed and revived in them."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from confluent_kafka.admin import AdminClient
from fleetmeter_local import RunningClickHouse, RunningKafka, start_clickhouse, start_kafka
from fleetmeter_local.engines import RunningEngine

from fleetmeter_chaos.broker_clock import BrokerClock


class Engine:
    """One engine under fire. Its methods may be called from any thread. The file has the pid of its present process,
    for workers that strike it."""

    def __init__(self, name: str, running: RunningEngine, pid_file: Path) -> None:
        self.name = name
        self.running = running
        self.pid_file = pid_file
        self._lock = threading.RLock()
        self._write_pid()

    @property
    def pid(self) -> int:
        """Of the present process, or the last one."""
        assert self.running.pid is not None, f"{self.name} is not a process of this machine"
        return self.running.pid

    def alive(self) -> bool:
        """Whether it runs (stopped counts as running)."""
        return self.running.is_alive()

    def kill(self) -> bool:
        """kill -9; False if it was dead already."""
        with self._lock:
            alive = self.running.is_alive()
            if alive:
                self.running.kill()
            return alive

    def revive(self) -> None:
        """Start it again if it does not run; returns when it answers."""
        with self._lock:
            if not self.running.is_alive():
                self.running.restart()
                self._write_pid()

    def stop(self) -> bool:
        """SIGSTOP: it hangs, its connections stay. False if it is dead."""
        with self._lock:
            alive = self.alive()
            if alive:
                os.kill(self.pid, signal.SIGSTOP)
            return alive

    def go_on(self) -> None:
        """SIGCONT."""
        if self.alive():
            os.kill(self.pid, signal.SIGCONT)

    def _write_pid(self) -> None:
        new = self.pid_file.with_suffix(".new")
        new.write_text(str(self.pid), encoding="ascii")
        new.replace(self.pid_file)


class Engines:
    """A lane's two engines, in a folder of their own. A context manager: leaving it ends both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = BrokerClock(folder)
        """The broker's, which the campaign moves."""
        self._kafka: RunningKafka = start_kafka(folder, source="local", environment=self.clock.environment())
        try:
            self._clickhouse: RunningClickHouse = start_clickhouse(folder, source="local")
        except BaseException:
            self._kafka.stop()
            raise
        self.kafka = Engine("Kafka", self._kafka, folder / "kafka.pid")
        self.clickhouse = Engine("ClickHouse", self._clickhouse, folder / "clickhouse.pid")
        self.admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})

    @property
    def bootstrap(self) -> str:
        """The broker's address, the same after a restart."""
        return self._kafka.bootstrap

    @property
    def clickhouse_at(self) -> tuple[str, int]:
        """ClickHouse's address, the same after a restart."""
        return self._clickhouse.host, self._clickhouse.port

    @property
    def clickhouse_url(self) -> str:
        """The same as a URL."""
        return self._clickhouse.url

    def client(self, database: str = "default") -> Client:
        """A client of ClickHouse itself, past the proxy."""
        host, port = self.clickhouse_at
        return clickhouse_connect.get_client(host=host, port=port, database=database)

    def heal(self) -> None:
        """Both run and answer."""
        for engine in (self.kafka, self.clickhouse):
            engine.go_on()
            engine.revive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for engine in (self.kafka, self.clickhouse):
            engine.go_on()  # a stopped process can't end itself
            engine.running.stop(10)
