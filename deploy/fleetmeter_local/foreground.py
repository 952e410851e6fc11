"""Engines that run until someone presses Ctrl-C: `fleetmeter local kafka | clickhouse`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeVar

from fleetmeter_local.choice import start_clickhouse, start_kafka
from fleetmeter_local.engines import DEFAULT_USERS, ClickHouseUser, RunningClickHouse, RunningEngine, RunningKafka
from fleetmeter_local.errors import Domain, EngineDiedError
from fleetmeter_local.process import trouble_in

Engine = TypeVar("Engine", bound=RunningEngine)
_LOOK_S = 0.2


def run_kafka(
    data_dir: Path, on_ready: Callable[[RunningKafka], None], *, port: int | None = None, cache_dir: Path | None = None
) -> None:
    """Runs a local broker until SIGINT or SIGTERM, then stops it cleanly.

    `on_ready` is called once it answers. Only from the main thread. Raises EngineDiedError if the broker ends by
    itself, and what `start_kafka` raises.
    """
    _run(start_kafka(data_dir, port=port, source="local", cache_dir=cache_dir), on_ready)


def run_clickhouse(
    data_dir: Path,
    on_ready: Callable[[RunningClickHouse], None],
    *,
    port: int | None = None,
    users: Sequence[ClickHouseUser] = DEFAULT_USERS,
) -> None:
    """Runs an embedded ClickHouse until SIGINT or SIGTERM; else as `run_kafka`."""
    _run(start_clickhouse(data_dir, port=port, users=users, source="local"), on_ready)


def _run(running: Engine, on_ready: Callable[[Engine], None]) -> None:
    asked = threading.Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        asked.set()

    with running:
        previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            on_ready(running)
            while not asked.wait(_LOOK_S):
                if not running.is_alive():
                    told = trouble_in(running.log_path) if running.log_path else ""
                    domain: Domain = "kafka" if isinstance(running, RunningKafka) else "clickhouse"
                    raise EngineDiedError(running.log_path, told, domain=domain)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
