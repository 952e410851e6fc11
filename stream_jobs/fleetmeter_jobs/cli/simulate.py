"""`fleetmeter simulate`: the events of a simulated fleet in Kafka, and beside them what must be counted."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from fleetmeter_producers import ClientSettings
from fleetmeter_producers.simulator import SimulationConfig, SimulationSummary, simulate

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.kafka import require_kafka
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json, progress
from fleetmeter_jobs.cli.times import parse_moment
from fleetmeter_jobs.settings import Settings

app = command_app()


@app.command("simulate")
def simulate_command(
    events: Annotated[int, typer.Option("--events", "-n", min=1, help="Events, faulty ones included.")] = 100_000,
    seed: Annotated[int, typer.Option("--seed", help="The same seed and --end give the same events.")] = 0,
    end: Annotated[str | None, typer.Option("--end", metavar="TIME", help="Last event's time (default: now).")] = None,
    span_s: Annotated[int, typer.Option("--span", metavar="SECONDS", help="Time that the events span.")] = 3600,
    accounts: Annotated[int, typer.Option("--accounts", help="Accounts of the fleet's customers.")] = 60,
    servers: Annotated[int, typer.Option("--servers", help="Servers and gateways of all kinds.")] = 36,
    duplicates: Annotated[float, typer.Option("--duplicates", min=0, max=1, help="Share sent again.")] = 0.03,
    late: Annotated[float, typer.Option("--late", min=0, max=1, help="Share that comes late.")] = 0.02,
    malformed: Annotated[float, typer.Option("--malformed", min=0, max=1, help="Share that is broken.")] = 0.01,
    disorder: Annotated[float, typer.Option("--disorder", min=0, max=1, help="Share out of order.")] = 0.2,
    formats: Annotated[
        str, typer.Option("--formats", metavar="NAME[=SHARE],...", help="Of json, array, ndjson, arrow.")
    ] = "json",
    rate: Annotated[float | None, typer.Option("--rate", help="Events a second (default: as fast as it goes).")] = None,
    oracle: Annotated[Path, typer.Option("--oracle", help="File for what must be counted.")] = Path("oracle.json"),
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Send the events of a simulated fleet, and write down what must be counted.

    Diffusion and autoregressive servers, gateways with fallbacks, devices; with duplicates, late, disordered and broken
    events in known shares. Returns when Kafka has acknowledged all of them.

    Example: fleetmeter simulate --events 200000 --seed 7 && fleetmeter reconcile --wait 60 --oracle oracle.json
    """
    settings = settings_of_stack(data_dir, setting)
    config = SimulationConfig.of(
        events=events,
        seed=seed,
        end=None if end is None else parse_moment("--end", end, datetime.now(UTC)),
        span_s=span_s,
        accounts=accounts,
        servers=servers,
        duplicate_rate=duplicates,
        late_rate=late,
        malformed_rate=malformed,
        disorder_rate=disorder,
        wire_formats=_shares(formats),
        events_per_s=rate,
        event_limit_bytes=settings.event_limit_bytes,
        horizon_days=settings.horizon_days,
    )
    summary = run_simulation(config, settings, oracle, quiet=as_json)
    if as_json:
        print_json(asdict(summary))
        return
    console.print(
        f"Sent {summary.events_in:,} events in {summary.records:,} records, {summary.value_bytes / 1e6:,.1f} MB, in "
        f"{summary.seconds:.1f} s (seed {summary.seed}, end {summary.end}).\n"
        f"Of them {summary.accepted:,} must be counted ({summary.late:,} came late), {summary.duplicates:,} are "
        f"duplicates, {summary.rejected:,} must be refused."
    )
    console.print(f"Next: fleetmeter reconcile --wait 60 --oracle {oracle}")


def run_simulation(config: SimulationConfig, settings: Settings, oracle: Path, *, quiet: bool) -> SimulationSummary:
    """Runs the simulator against the settings' Kafka, with progress."""
    require_kafka(settings)
    with progress(quiet=quiet) as display:
        task = display.add_task("Sending the fleet's events", total=config.events, detail="")

        def show(done: int, total: int) -> None:
            display.update(task, completed=done, total=total, detail=f"{done:,} of {total:,} events")

        return simulate(
            config,
            settings.kafka_bootstrap,
            settings.topic,
            oracle,
            show,
            settings=ClientSettings(kafka=settings.kafka_access.librdkafka_security()),
        )


def _shares(text: str) -> dict[str, Any]:
    shares: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, share = part.strip().partition("=")
        try:
            shares[name] = float(share) if equals else 1.0
        except ValueError as error:
            raise CommandError(f"--formats {part!r} is not NAME or NAME=SHARE, such as ndjson=0.5.") from error
    return shares
