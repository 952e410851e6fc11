"""One way to get an engine, for the commands and the tests alike.

The order: an address given in the environment; else a container, if a Docker daemon answers; else a process on this
machine. `source` cuts the choice short. A detached engine is never a container: those end with their starter.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from fleetmeter_local.clickhouse.launch import find_embedded, start_embedded
from fleetmeter_local.docker import docker_missing, start_clickhouse_container, start_kafka_container
from fleetmeter_local.engines import DEFAULT_USERS, ClickHouseUser, RunningClickHouse, RunningKafka, Source
from fleetmeter_local.errors import EngineUnreachableError, PrerequisiteError
from fleetmeter_local.kafka.broker import NO_VARIABLES, find_broker, start_broker
from fleetmeter_local.probes import clickhouse_answers, kafka_answers

Wanted = Literal["auto", "given", "docker", "local"]

BOOTSTRAP_VARIABLE = "FLEETMETER_KAFKA_BOOTSTRAP"
URL_VARIABLE = "FLEETMETER_CLICKHOUSE_URL"
USER_VARIABLE = "FLEETMETER_CLICKHOUSE_USER"
PASSWORD_VARIABLE = "FLEETMETER_CLICKHOUSE_PASSWORD"  # noqa: S105  (its name, not its value)
"""The commands take credentials from these only; a URL for tests may have its own."""
_GIVEN_TIMEOUT_S = 10.0


def start_kafka(
    data_dir: Path,
    *,
    port: int | None = None,
    source: Wanted = "auto",
    detached: bool = False,
    cache_dir: Path | None = None,
    timeout_s: float = 120.0,
    environment: Mapping[str, str] = NO_VARIABLES,
) -> RunningKafka:
    """A broker that answers.

    Args:
        data_dir: folder of this fleetmeter installation; the broker keeps its log segments in `data_dir/kafka`, its log
            in `data_dir/logs/kafka.log`, and its pid and address in `data_dir/run/kafka.json`.
        port: on loopback; if None the one of the last local run on this folder, if still free, or any free one.
        source: "auto" for the order above.
        detached: outlive this process (`find_kafka`, `stop_all`); otherwise the broker ends with this process.
        cache_dir: where the broker's jars are kept between runs; the user's cache folder if None
            (`FLEETMETER_CACHE_DIR`, else `XDG_CACHE_HOME`/fleetmeter).
        timeout_s: how long it may take to answer (the one-time download of the jars not included).
        environment: variables for the process on this machine, beside ours; a container or a given broker has its own.

    Raises PrerequisiteError, EngineStartError, EngineUnreachableError (given address), AlreadyRunningError.
    """
    match _choose(source, BOOTSTRAP_VARIABLE, detached=detached):
        case "given":
            return _given_kafka(_variable(BOOTSTRAP_VARIABLE))
        case "docker":
            return start_kafka_container(port=port, timeout_s=timeout_s)
        case _:
            return start_broker(
                data_dir,
                port=port,
                detached=detached,
                cache_dir=cache_dir,
                timeout_s=timeout_s,
                environment=environment,
            )


def start_clickhouse(
    data_dir: Path,
    *,
    port: int | None = None,
    users: Sequence[ClickHouseUser] = DEFAULT_USERS,
    source: Wanted = "auto",
    detached: bool = False,
    timeout_s: float = 120.0,
) -> RunningClickHouse:
    """A ClickHouse that answers. Data in `data_dir/clickhouse`; else as `start_kafka`.

    The result's `user` and `password` are those of the first of `users` (local, docker) or of the given URL.
    """
    match _choose(source, URL_VARIABLE, detached=detached):
        case "given":
            return _given_clickhouse(_variable(URL_VARIABLE))
        case "docker":
            return start_clickhouse_container(port=port, users=users, timeout_s=timeout_s)
        case _:
            return start_embedded(data_dir, port=port, users=users, detached=detached, timeout_s=timeout_s)


def find_kafka(data_dir: Path) -> RunningKafka | None:
    """The local broker that serves this folder now, whoever started it; None if none runs."""
    return find_broker(data_dir)


def find_clickhouse(data_dir: Path) -> RunningClickHouse | None:
    """The embedded ClickHouse that serves this folder now, whoever started it; None if none runs."""
    return find_embedded(data_dir)


def _choose(wanted: Wanted, variable: str, *, detached: bool) -> Source:
    if wanted != "auto":
        return wanted
    if os.environ.get(variable):
        return "given"
    return "local" if detached or docker_missing() is not None else "docker"


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise PrerequisiteError(f"A given address was asked for, but the environment variable {name} is not set.")
    return value


def _given_kafka(bootstrap: str) -> RunningKafka:
    if not kafka_answers(bootstrap, timeout_s=_GIVEN_TIMEOUT_S):
        raise EngineUnreachableError(
            f"No Kafka broker answers at {bootstrap} ({BOOTSTRAP_VARIABLE}) within {_GIVEN_TIMEOUT_S:g} s: start it, "
            "correct the address, or unset the variable to have one started here.",
            domain="kafka",
        )
    return RunningKafka(bootstrap, "given")


def _given_clickhouse(url: str) -> RunningClickHouse:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        raise PrerequisiteError(
            f"{URL_VARIABLE} has to look like http://user:password@host:8123 (it begins with {parts.scheme or url!r})."
        )
    secure = parts.scheme == "https"
    running = RunningClickHouse(
        parts.hostname,
        parts.port or (8443 if secure else 8123),
        unquote(parts.username or "") or os.environ.get(USER_VARIABLE) or "default",
        unquote(parts.password or "") or os.environ.get(PASSWORD_VARIABLE) or "",
        "given",
        secure=secure,
    )
    if not clickhouse_answers(running.url, timeout_s=_GIVEN_TIMEOUT_S):
        raise EngineUnreachableError(
            f"No ClickHouse answers at {running.url}/ping ({URL_VARIABLE}): start it, correct the address, or unset "
            "the variable to have one started here.",
            domain="clickhouse",
        )
    return running
