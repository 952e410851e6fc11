"""The stack's Kafka and ClickHouse: given, on this machine, or in a container; started again when they die."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal
from urllib.parse import urlsplit

from fleetmeter_local import LocalError, RunningClickHouse, RunningKafka, start_clickhouse, start_kafka
from fleetmeter_local.docker import docker_missing
from fleetmeter_local.engines import RunningEngine
from fleetmeter_local.prerequisites import Prerequisite, check_chdb, check_java, check_maven

from fleetmeter_jobs.cli.stack.backoff import Backoff
from fleetmeter_jobs.settings import Settings


def stack_kafka(settings: Settings) -> RunningKafka:
    """The given broker, which whoever uses it will find answering or not; else one that was started and answers."""
    if "kafka_bootstrap" in settings.model_fields_set:
        return RunningKafka(settings.kafka_bootstrap, "given")
    source = _lasting_source([check_java(), check_maven()])
    return start_kafka(settings.data_dir, source=source, cache_dir=settings.cache_dir)


def stack_clickhouse(settings: Settings) -> RunningClickHouse:
    """The given ClickHouse; else one that was started and answers."""
    if "clickhouse_url" not in settings.model_fields_set:
        return start_clickhouse(settings.data_dir, source=_lasting_source([check_chdb()]))
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


def _lasting_source(prerequisites: Sequence[Prerequisite]) -> Literal["local", "docker"]:
    """A process on this machine where it can run, since its data stays; a container's data ends with the container."""
    lacking = not all(each.ok for each in prerequisites)
    return "docker" if lacking and docker_missing() is None else "local"


class SupervisedEngine:
    """An engine of the stack that is started again when it ends without being asked to."""

    def __init__(self, name: str, engine: RunningEngine, clock: Callable[[], float]) -> None:
        self.name = name
        self._engine = engine
        self._clock = clock
        self._backoff = Backoff()
        self._started_at = clock()
        self._restart_at: float | None = None

    def tend(self) -> str | None:
        """One look; blocks while the engine starts. A sentence if something happened."""
        if self._engine.is_alive():
            return None
        now = self._clock()
        if self._restart_at is None:
            wait_s = self._backoff.next_wait_s(now - self._started_at)
            self._restart_at = now + wait_s
            return f"{self.name} has ended; starts again in {wait_s:.1f} s; its log: {self._engine.log_path}"
        if now < self._restart_at:
            return None
        self._restart_at = None
        self._started_at = now
        try:
            self._engine.restart()
        except LocalError as error:
            return f"{self.name} could not be started again: {error}"
        return f"{self.name} answers again"
