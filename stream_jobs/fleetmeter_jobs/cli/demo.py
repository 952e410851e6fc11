"""`fleetmeter demo`: the whole pipeline on this machine, from a simulated fleet to rollups and an invoice."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from confluent_kafka.admin import AdminClient
from fleetmeter_producers.simulator import SimulationConfig
from rich.text import Text

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.demo_invoice import bill_fleet, fleet_end
from fleetmeter_jobs.cli.demo_screen import draw
from fleetmeter_jobs.cli.demo_story import Story, tell
from fleetmeter_jobs.cli.exits import Exit
from fleetmeter_jobs.cli.options import Given, Json, own_settings
from fleetmeter_jobs.cli.oracle import compare, read_oracle
from fleetmeter_jobs.cli.output import console, notes, print_json
from fleetmeter_jobs.cli.reconcile import drained_report
from fleetmeter_jobs.cli.simulate import run_simulation
from fleetmeter_jobs.cli.stack.supervisor import Stack
from fleetmeter_jobs.settings import Settings

app = command_app()

DRAIN_LIMIT_S: Final = 180.0
DELETE_TIMEOUT_S: Final = 30.0

Events = Annotated[int, typer.Option("--events", "-n", min=1_000, help="Events, faulty ones included.")]
Workers = Annotated[int, typer.Option("--workers", "-w", min=1, max=16, help="Worker processes.")]
Seed = Annotated[int, typer.Option("--seed", help="Another seed, another fleet.")]
Invoices = Annotated[
    Path | None, typer.Option("--focus", help="File to write all of the fleet's invoices to, as FOCUS 1.2 rows.")
]


class _Steps:
    """Says each step with the time since the beginning."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    def __call__(self, message: str) -> None:
        notes.print(Text(f"{self.elapsed_s:6.1f} s  {message}", "dim"), soft_wrap=True)


@app.command()
def demo(
    events: Events = 200_000,
    workers: Workers = 2,
    seed: Seed = 7,
    focus: Invoices = None,
    as_json: Json = False,
    setting: Given = None,
) -> None:
    """Simulate a fleet, count its events, and show that none is lost or counted twice; exit 1 if one is.

    Everything runs in a temporary folder and is gone afterwards; only after a failure the folder stays, for its logs.
    Kafka and ClickHouse are started here unless their addresses are given.

    Example: fleetmeter demo --events 500000
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    step = _Steps()
    config = SimulationConfig.of(events=events, seed=seed, end=fleet_end(datetime.now(UTC)))
    with (
        _folder() as folder,
        _apart(own_settings(folder, setting)) as settings,
        Stack(settings, workers=workers, report=step) as stack,
    ):
        with stack.tended():
            story = _run(stack.settings, config, folder / "oracle.json", workers, step, focus, quiet=as_json)
        step("Stopping everything")
    if as_json:
        print_json(story.as_dict())
    else:
        console.print(draw(story, seconds=step.elapsed_s))
    if not story.ok:
        raise typer.Exit(Exit.NO)


def _run(
    settings: Settings,
    config: SimulationConfig,
    oracle: Path,
    workers: int,
    step: _Steps,
    focus: Path | None,
    *,
    quiet: bool,
) -> Story:
    """The story of one simulation on a stack that is up; its invoices go to the file `focus`, if there is one."""
    began = time.monotonic()
    summary = run_simulation(config, settings, oracle, quiet=quiet)
    step(f"Kafka has acknowledged {summary.records:,} records; waiting until the workers have committed them")
    report = drained_report(settings, DRAIN_LIMIT_S, quiet=quiet)
    counted_s = time.monotonic() - began
    step("Comparing every figure with the oracle")
    comparison = compare(settings, read_oracle(oracle), report.total)
    with connect(settings, database=settings.clickhouse_database) as client:
        story = tell(client, settings, summary, report, comparison, workers=workers, counted_s=counted_s)
        step("Closing the fleet's billing period, and making its invoices")
        return replace(story, bill=bill_fleet(client, config.end or datetime.now(UTC), focus))


@contextmanager
def _folder() -> Iterator[Path]:
    """A temporary folder. It goes with the demo, unless the demo fails: then its logs are what one has to read."""
    folder = Path(tempfile.mkdtemp(prefix="fleetmeter-demo-"))
    try:
        yield folder
    except Exception:
        notes.print(
            f"The demo's logs and data are kept in {folder}; delete it when you have seen them.", soft_wrap=True
        )
        raise
    except BaseException:
        shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


@contextmanager
def _apart(settings: Settings) -> Iterator[Settings]:
    """Settings with a topic and a database of the demo's own on engines that were given, which may hold somebody's
    data. Both are deleted afterwards; what is started here goes with its folder."""
    mark = uuid.uuid4().hex[:8]
    topic = f"fleetmeter.demo-{mark}" if "kafka_bootstrap" in settings.model_fields_set else None
    database = f"fleetmeter_demo_{mark}" if "clickhouse_url" in settings.model_fields_set else None
    own = {"topic": topic, "clickhouse_database": database}
    given = {name: getattr(settings, name) for name in settings.model_fields_set}
    try:
        yield Settings.load(**{**given, **{name: value for name, value in own.items() if value is not None}})
    finally:
        if topic is not None:
            admin = AdminClient({**settings.kafka_access.librdkafka(), "log_level": 2})
            admin.delete_topics([topic], request_timeout=DELETE_TIMEOUT_S)[topic].result()
        if database is not None:
            with connect(settings) as client:
                client.command(f"DROP DATABASE IF EXISTS {database} SYNC")
