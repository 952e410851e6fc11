"""Kafka and ClickHouse in containers, through testcontainers, where a Docker daemon answers.

The containers and their data end with this process (testcontainers' reaper sees to it), so that a detached engine is
never one of these. Ports are published on loopback.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fleetmeter_local.engines import ClickHouseUser, RunningClickHouse, RunningKafka
from fleetmeter_local.errors import EngineStartError, PrerequisiteError
from fleetmeter_local.kafka.properties import broker_settings
from fleetmeter_local.ports import LOOPBACK, free_port
from fleetmeter_local.probes import clickhouse_answers, kafka_answers

KAFKA_IMAGE = "apache/kafka:4.3.1"
CLICKHOUSE_IMAGE = "clickhouse/clickhouse-server:26.8"
_PING_S = 2
_POLL_S = 0.1


def docker_missing() -> str | None:
    """Why containers cannot be used here, in a few words; None if they can."""
    for module in ("docker", "testcontainers"):
        if importlib.util.find_spec(module) is None:
            return f"the Python package {module} is not installed"
    docker = importlib.import_module("docker")
    try:
        client = docker.from_env(timeout=_PING_S)
        try:
            client.ping()
        finally:
            client.close()
    except docker.errors.DockerException as error:
        return f"no Docker daemon answers ({error})"
    return None


def require_docker() -> None:
    """Raises PrerequisiteError if containers cannot be used here."""
    if (reason := docker_missing()) is not None:
        raise PrerequisiteError(
            f"Containers cannot be used: {reason}. Start Docker and `pip install testcontainers`, or use a "
            "local engine."
        )


class ContainerLifecycle:
    """Ends and revives one container. `answers` tells whether the engine in it is ready."""

    pid: int | None = None
    log_path: Path | None = None

    def __init__(self, name: str, container: Any, answers: Callable[[], bool], timeout_s: float) -> None:
        self._name = name
        self._container = container
        self._answers = answers
        self._timeout_s = timeout_s

    def start(self) -> None:
        """Starts it for the first time and waits until it answers; takes it away if it does not."""
        self._container.start()
        try:
            self._await_answer()
        except BaseException:
            self._container.stop()
            raise

    def is_alive(self) -> bool:
        """True while the container runs."""
        wrapped = self._container.get_wrapped_container()
        if wrapped is None:
            return False
        wrapped.reload()
        return bool(wrapped.status == "running")

    def stop(self, timeout_s: float) -> None:
        """Stops the container, and removes it with its data."""
        wrapped = self._container.get_wrapped_container()
        if wrapped is not None:
            wrapped.stop(timeout=int(timeout_s))
        self._container.stop()

    def kill(self) -> None:
        """kill -9 of what runs in the container."""
        self._container.get_wrapped_container().kill()

    def restart(self) -> None:
        """Starts the same container with its data and port again."""
        self._container.get_wrapped_container().start()
        self._await_answer()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + self._timeout_s
        while not self._answers():
            if time.monotonic() >= deadline:
                wrapped = self._container.get_wrapped_container()
                raise EngineStartError(
                    f"the {self._name} container",
                    f"it did not answer within {self._timeout_s:g} s",
                    "See its last lines below, and `docker ps --all`.",
                    log_path=None,
                    log_tail=wrapped.logs(tail=20).decode(errors="replace"),
                    domain="kafka" if self._name == "kafka" else "clickhouse",
                )
            time.sleep(_POLL_S)


def start_kafka_container(*, port: int | None, timeout_s: float) -> RunningKafka:
    """A broker in a container, with the settings of the local one.

    Raises PrerequisiteError, EngineStartError, and Docker's own errors (an image that cannot be pulled).
    """
    require_docker()
    port = free_port() if port is None else port
    settings = broker_settings("/var/lib/kafka/data", port, 9093)
    settings["listeners"] = "PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093"
    container = _container(KAFKA_IMAGE, 9092, port)
    for key, value in settings.items():
        container.with_env("KAFKA_" + key.upper().replace(".", "_"), value)
    bootstrap = f"{LOOPBACK}:{port}"
    lifecycle = ContainerLifecycle("kafka", container, lambda: kafka_answers(bootstrap), timeout_s)
    lifecycle.start()
    return RunningKafka(bootstrap, "docker", lifecycle)


def start_clickhouse_container(
    *, port: int | None, users: Sequence[ClickHouseUser], timeout_s: float
) -> RunningClickHouse:
    """A ClickHouse server in a container, with the given users. Raises as `start_kafka_container`."""
    require_docker()
    port = free_port() if port is None else port
    first = users[0]
    container = _container(CLICKHOUSE_IMAGE, 8123, port)
    container.with_env("CLICKHOUSE_USER", first.name)
    container.with_env("CLICKHOUSE_PASSWORD", first.password)
    container.with_env("CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT", "1")
    # Else the image confines a user without a password to the container itself.
    container.with_env("CLICKHOUSE_SKIP_USER_SETUP", "1" if first == ClickHouseUser("default") else "0")
    url = f"http://{LOOPBACK}:{port}"
    lifecycle = ContainerLifecycle("clickhouse", container, lambda: clickhouse_answers(url), timeout_s)
    lifecycle.start()
    for user in users[1:]:
        for statement in _creation(user):
            _run(url, first, statement)
    return RunningClickHouse(LOOPBACK, port, first.name, first.password, "docker", lifecycle)


def _container(image: str, inner_port: int, port: int) -> Any:
    core = importlib.import_module("testcontainers.core.container")
    container = core.DockerContainer(image)
    # A fixed host port: a published random one changes when the container is restarted.
    container.with_kwargs(ports={f"{inner_port}/tcp": (LOOPBACK, port)})
    return container


def _creation(user: ClickHouseUser) -> list[str]:
    name = "`" + user.name.replace("\\", "\\\\").replace("`", "\\`") + "`"
    password = user.password.replace("\\", "\\\\").replace("'", "\\'")
    secret = f"IDENTIFIED WITH sha256_password BY '{password}'" if password else "NOT IDENTIFIED"
    profile = " SETTINGS readonly = 1" if user.readonly else ""
    grant = "SELECT, SHOW" if user.readonly else "ALL"
    return [f"CREATE USER IF NOT EXISTS {name} {secret}{profile}", f"GRANT {grant} ON *.* TO {name}"]


def _run(url: str, user: ClickHouseUser, statement: str) -> None:
    credentials = urllib.parse.urlencode({"user": user.name, "password": user.password})
    request = urllib.request.Request(f"{url}/?{credentials}", data=statement.encode(), method="POST")  # noqa: S310
    # A proxy of the environment is not meant for loopback.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as response:
        response.read()
