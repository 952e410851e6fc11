"""Starts the embedded ClickHouse, and finds it again."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fleetmeter_local.engines import ClickHouseUser, RunningClickHouse
from fleetmeter_local.files import write_whole
from fleetmeter_local.local import LocalLifecycle, Started, await_ready, start_local
from fleetmeter_local.prerequisites import check_chdb, require
from fleetmeter_local.probes import clickhouse_answers
from fleetmeter_local.process import start_process
from fleetmeter_local.state import daemon_state

NAME = "clickhouse"
_ADVICE = (
    "See what the log says below; a folder that another process has open, a port that is taken and a full disk are "
    "the usual reasons."
)


def start_embedded(
    data_dir: Path, *, port: int | None, users: Sequence[ClickHouseUser], detached: bool, timeout_s: float
) -> RunningClickHouse:
    """Starts it on `data_dir/clickhouse`; returns once it answers.

    Raises PrerequisiteError, AlreadyRunningError, EngineStartError.
    """
    if not users:
        raise ValueError("users: at least one is needed, or nobody could ask anything")
    require(check_chdb())

    def start(port: int | None) -> Started:
        return _start(data_dir, port, users, detached=detached, timeout_s=timeout_s)

    return _running(start_local(data_dir, NAME, port, start))


def find_embedded(data_dir: Path, *, timeout_s: float = 120.0) -> RunningClickHouse | None:
    """The process that serves this folder; None if none runs. A later `restart` of it is detached."""
    state = daemon_state(data_dir, NAME)
    if state is None or not state.is_alive():
        return None

    def start(port: int | None) -> Started:
        config = json.loads(_config_file(data_dir).read_text(encoding="utf-8"))
        users = [ClickHouseUser(**user) for user in config["users"]]
        return _start(data_dir, port, users, detached=True, timeout_s=timeout_s)

    return _running(LocalLifecycle(data_dir, Started(state.process(), state.address), start))


def _running(lifecycle: LocalLifecycle) -> RunningClickHouse:
    address = lifecycle.address
    return RunningClickHouse(
        address["host"], int(address["port"]), address["user"], address["password"], "local", lifecycle
    )


def _start(
    data_dir: Path, port: int | None, users: Sequence[ClickHouseUser], *, detached: bool, timeout_s: float
) -> Started:
    folder = data_dir.absolute() / "clickhouse"
    address_file = folder / "address.json"
    address_file.unlink(missing_ok=True)
    config = {
        "data_dir": str(folder),
        "port": port,
        "users": [asdict(user) for user in users],
        "address_file": str(address_file),
    }
    config_file = _config_file(data_dir.absolute())
    write_whole(config_file, json.dumps(config))
    process = start_process(
        NAME,
        [sys.executable, "-m", "fleetmeter_local.clickhouse", str(config_file)],
        log_path=data_dir.absolute() / "logs" / "clickhouse.log",
        # Dates without a zone mean the same on every machine, as in ClickHouse's own image.
        env={**os.environ, "TZ": "UTC"},
        detached=detached,
    )
    address = await_ready(
        process, lambda: _answering(address_file), timeout_s=timeout_s, advice=_ADVICE, domain="clickhouse"
    )
    return Started(process, {**address, "user": users[0].name, "password": users[0].password})


def _config_file(data_dir: Path) -> Path:
    return data_dir / "clickhouse" / "config.json"


def _answering(address_file: Path) -> dict[str, str] | None:
    try:
        address = json.loads(address_file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    answers = clickhouse_answers(f"http://{address['host']}:{address['port']}")
    return {key: str(value) for key, value in address.items()} if answers else None
