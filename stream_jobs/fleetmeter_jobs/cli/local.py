"""`fleetmeter local`: one engine alone, for development: a Kafka broker or a ClickHouse."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from fleetmeter_local import (
    RunningClickHouse,
    RunningKafka,
    daemon_state,
    run_clickhouse,
    run_kafka,
    start_clickhouse,
    start_kafka,
    stop_daemon,
)

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.options import DataDir, Given, Json, own_settings
from fleetmeter_jobs.cli.output import console, notes, print_json

app = command_app(help="Run only a local Kafka or only a local ClickHouse.")

Port = Annotated[
    int | None, typer.Option("--port", min=1, max=65_535, help="Default: the one used before, else a free one.")
]
Detach = Annotated[bool, typer.Option("--detach", help="Leave it running; --stop and `fleetmeter down` stop it.")]
Stop = Annotated[bool, typer.Option("--stop", help="Stop the one that runs in the data folder.")]


@app.command("kafka")
def kafka(
    port: Port = None,
    detach: Detach = False,
    stop: Stop = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Run a local Kafka broker in the foreground until Ctrl-C, or detached.

    Example: fleetmeter local kafka --port 9092 --data-dir /tmp/kafka
    """
    settings = own_settings(data_dir, setting)
    folder = settings.data_dir.absolute()

    def ready(engine: RunningKafka) -> None:
        _announce(engine, "kafka", {"bootstrap": engine.bootstrap}, as_json=as_json, detached=detach)

    if stop:
        _stop(folder, "kafka", as_json=as_json)
    elif detach:
        ready(start_kafka(folder, port=port, source="local", detached=True, cache_dir=settings.cache_dir))
    else:
        run_kafka(folder, ready, port=port, cache_dir=settings.cache_dir)


@app.command("clickhouse")
def clickhouse(
    port: Port = None,
    detach: Detach = False,
    stop: Stop = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Run a local ClickHouse over its HTTP protocol in the foreground until Ctrl-C, or detached.

    It is the real engine in one process, for one machine; any ClickHouse HTTP client can use it. The user `default`
    may do everything, `reader` only read. Production runs a server.

    Example: fleetmeter local clickhouse --port 8123 --detach && curl 'localhost:8123/?query=SELECT+version()'
    """
    folder = own_settings(data_dir, setting).data_dir.absolute()

    def ready(engine: RunningClickHouse) -> None:
        _announce(engine, "clickhouse", {"url": engine.url, "user": engine.user}, as_json=as_json, detached=detach)

    if stop:
        _stop(folder, "clickhouse", as_json=as_json)
    elif detach:
        ready(start_clickhouse(folder, port=port, source="local", detached=True))
    else:
        run_clickhouse(folder, ready, port=port)


def _announce(
    engine: RunningKafka | RunningClickHouse, name: str, address: dict[str, str], *, as_json: bool, detached: bool
) -> None:
    if as_json:
        print_json({"engine": name, "pid": engine.pid, "log": engine.log_path, **address})
        return
    where = ", ".join(f"{key} {value}" for key, value in address.items())
    console.print(f"{name} answers: {where} (pid {engine.pid}, log {engine.log_path})")
    notes.print(f"`fleetmeter local {name} --stop` stops it." if detached else "Ctrl-C stops it.")


def _stop(folder: Path, name: str, *, as_json: bool) -> None:
    state = daemon_state(folder, name)
    stopped = stop_daemon(folder, name)
    if as_json:
        print_json({"engine": name, "stopped": stopped, "pid": state.identity.pid if state and stopped else None})
    else:
        console.print(f"Stopped {name}." if stopped else f"No {name} ran in {folder}.")
