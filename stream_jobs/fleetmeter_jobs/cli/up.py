"""`fleetmeter up`: Kafka, ClickHouse and workers on this machine, in the foreground or left behind."""

from __future__ import annotations

import signal
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Annotated, Final

import typer
from rich.live import Live
from rich.text import Text

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.options import DataDir, Given, Json, own_settings, settings_of_stack
from fleetmeter_jobs.cli.output import console, notes, print_json
from fleetmeter_jobs.cli.stack.detached import start_detached
from fleetmeter_jobs.cli.stack.supervisor import TEND_INTERVAL_S, Stack
from fleetmeter_jobs.cli.stack.view import look, render
from fleetmeter_jobs.settings import Settings

app = command_app()

VIEW_EVERY_S: Final = 1.0

Workers = Annotated[int, typer.Option("--workers", "-w", min=0, max=64, help="Worker processes.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Return when all is up; `fleetmeter down` stops it.")]


@app.command()
def up(
    workers: Workers = 1,
    detach: Detach = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Start Kafka, ClickHouse and workers on this machine; create the topic and the tables.

    Engines whose address is given (FLEETMETER_KAFKA_BOOTSTRAP, FLEETMETER_CLICKHOUSE_URL) are used as they are. What
    dies is started again. In the foreground, Ctrl-C stops everything; the data stays in the data folder.

    Example: fleetmeter up --workers 2 --detach
    """
    settings = own_settings(data_dir, setting)
    settings = settings.model_copy(update={"data_dir": settings.data_dir.absolute()})
    if not detach:
        run_in_foreground(settings, workers, as_json=as_json)
        return
    start_detached(settings, workers, quiet=as_json)
    view = look(settings_of_stack(settings.data_dir, setting))
    if as_json:
        print_json(view.as_dict())
        return
    console.print(render(view))
    console.print("\nNext: fleetmeter simulate --events 100000; fleetmeter status; fleetmeter down")


def run_in_foreground(settings: Settings, workers: int, *, as_json: bool) -> None:
    """Owns the stack until it is told to stop: the body of `up`, and of the detached supervisor. A terminal that is
    closed (SIGHUP) says so as well as Ctrl-C and SIGTERM."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with Stack(settings, workers=workers, report=_report) as stack:
            if as_json:
                print_json(look(stack.settings).as_dict())
            _tend(stack, live=console.is_terminal and not as_json)
    except KeyboardInterrupt:
        _report("Stopped")


def _tend(stack: Stack, *, live: bool) -> None:
    """Until KeyboardInterrupt."""
    display = Live(console=console, auto_refresh=False, transient=True) if live else nullcontext()
    next_view = time.monotonic()
    try:
        with display as screen:
            while True:
                stack.tend()
                if screen is not None and time.monotonic() >= next_view:
                    next_view = time.monotonic() + VIEW_EVERY_S
                    screen.update(render(look(stack.settings), footer="Ctrl-C stops everything."), refresh=True)
                time.sleep(TEND_INTERVAL_S)
    except KeyboardInterrupt:
        _report("Stopping: the workers commit what they hold")
        raise


def _report(message: str) -> None:
    stamp = "" if notes.is_terminal else f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} "
    notes.print(Text(f"{stamp}{message}"), soft_wrap=True)
