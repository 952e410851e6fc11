"""One way to get an engine, for the commands and the tests alike.

The order: an address given in the environment; else a container, if a Docker daemon answers; else a process on this
machine. `source` cuts the choice short.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from fleetmeter_local.engines import DEFAULT_USERS, ClickHouseUser, RunningClickHouse, RunningKafka

Wanted = Literal["auto", "given", "docker", "local"]

BOOTSTRAP_VARIABLE = "FLEETMETER_KAFKA_BOOTSTRAP"
URL_VARIABLE = "FLEETMETER_CLICKHOUSE_URL"


def start_kafka(
    data_dir: Path,
    *,
    port: int | None = None,
    source: Wanted = "auto",
    detached: bool = False,
    cache_dir: Path | None = None,
    timeout_s: float = 60.0,
) -> RunningKafka:
    """A broker that answers.

    Args:
        data_dir: folder of this fleetmeter installation; the broker keeps its log segments in `data_dir/kafka`, its log
            in `data_dir/logs/kafka.log`, and its pid and address in `data_dir/run/kafka.json`.
        port: for a local broker; the port of the last run on this folder, or a free one, if None.
        source: "auto" for the order above.
        detached: outlive this process (`find_kafka`, `stop_all`); otherwise the broker ends with this process.
        cache_dir: where the broker's jars are kept between runs; the user's cache folder if None
            (`FLEETMETER_CACHE_DIR`, else `XDG_CACHE_HOME`/fleetmeter).
        timeout_s: how long it may take to answer (the one-time download of the jars not included).

    Raises PrerequisiteError, EngineStartError, EngineUnreachableError (given address), AlreadyRunningError.
    """
    raise NotImplementedError


def start_clickhouse(
    data_dir: Path,
    *,
    port: int | None = None,
    users: Sequence[ClickHouseUser] = DEFAULT_USERS,
    source: Wanted = "auto",
    detached: bool = False,
    timeout_s: float = 60.0,
) -> RunningClickHouse:
    """A ClickHouse that answers. Data in `data_dir/clickhouse`; else as `start_kafka`.

    The result's `user` and `password` are those of the first of `users` (local, docker) or of the given URL.
    """
    raise NotImplementedError


def find_kafka(data_dir: Path) -> RunningKafka | None:
    """The local broker that serves this folder now, whoever started it; None if none runs."""
    raise NotImplementedError


def find_clickhouse(data_dir: Path) -> RunningClickHouse | None:
    """The embedded ClickHouse that serves this folder now, whoever started it; None if none runs."""
    raise NotImplementedError
