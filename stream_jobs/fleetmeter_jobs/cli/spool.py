"""`fleetmeter spool`: what clients keep on this machine's disk until Kafka has it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from fleetmeter_producers import ClientSettings
from fleetmeter_producers.spool.draining import Drained, drain_spool
from fleetmeter_producers.spool.inspection import SpoolReport, inspect_spool, source_folders
from fleetmeter_producers.spool.place import default_spool_dir

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.exits import Exit
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json, print_table, progress

app = command_app(help="Look into the spools of clients on this machine, and send what dead processes left.")

SpoolPath = Annotated[
    Path | None,
    typer.Argument(
        metavar="PATH",
        help="A client's spool_dir, or the folder of one source in it (default: FLEETMETER_SPOOL_DIR, or the user's "
        "state directory).",
        show_default=False,
    ),
]


@app.command("inspect")
def inspect(path: SpoolPath = None, as_json: Json = False) -> None:
    """Show what waits in the spools: for each process its events, bytes and times. Changes nothing.

    Example: fleetmeter spool inspect /var/lib/fleetmeter/spool
    """
    reports = inspect_spool(path or default_spool_dir())
    if as_json:
        print_json([{**asdict(report), "events": report.events} for report in reports])
        return
    print_table(
        ("source", "topic", "process", "alive", "events", "bytes", "first", "last", "damaged files"),
        [
            (
                report.source,
                report.topic,
                home.folder.name,
                home.alive,
                home.events,
                home.bytes,
                home.first_time,
                home.last_time,
                ", ".join(home.damaged_files),
            )
            for report in reports
            for home in report.homes
        ],
    )
    console.print(_summary(reports))


def _summary(reports: list[SpoolReport]) -> str:
    dead = sum(home.events for report in reports for home in report.homes if not home.alive)
    if dead:
        return (
            f"{dead:,} events were left by processes that ended: the next client of their source on this machine sends "
            "them, or `fleetmeter spool drain`."
        )
    return "Nothing was left by processes that ended."


@app.command("drain")
def drain(
    path: SpoolPath = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0, help="Seconds for each source.")] = 60.0,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Send what dead processes left in the spools. Living ones send their own. Exits 1 if something is left.

    Example: fleetmeter spool drain /var/lib/fleetmeter/spool --timeout 300
    """
    access = settings_of_stack(data_dir, setting).kafka_access
    client = ClientSettings(outbox="memory", kafka=access.librdkafka_security())
    drained: list[Drained] = []
    with progress(quiet=as_json) as display:
        for folder in source_folders(path or default_spool_dir()):
            task = display.add_task(folder.name, total=None, detail="")

            def show(done: int, total: int, task: object = task) -> None:
                display.update(task, completed=done, total=total, detail=f"{done:,} of {total:,} events")  # type: ignore[arg-type]

            drained.append(drain_spool(folder, access.bootstrap, timeout_s=timeout_s, settings=client, progress=show))
    if as_json:
        print_json([asdict(result) for result in drained])
    else:
        print_table(
            ("source", "topic", "sent", "left", "damaged", "last error"),
            [(each.source, each.topic, each.sent, each.left, each.damaged, each.last_error) for each in drained],
        )
    if any(each.left or each.damaged for each in drained):
        raise typer.Exit(Exit.NO)
