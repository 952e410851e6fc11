"""`fleetmeter load`: steady made-up usage, to see what clients, Kafka and workers do at a given rate."""

from __future__ import annotations

import ipaddress
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from fleetmeter_producers.load import LoadConfig, LoadReport, Progress, run_load

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.kafka import TIMEOUT_S, reader
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json, print_table, progress
from fleetmeter_jobs.settings import Settings

app = command_app()

_CENT: Final = 100


@app.command("load")
def load(
    rate: Annotated[float, typer.Option("--rate", "-r", help="Events a second, of all producers together.")] = 1_000,
    duration_s: Annotated[float, typer.Option("--duration", "-d", metavar="SECONDS", help="For how long.")] = 30,
    producers: Annotated[int, typer.Option("--producers", "-p", help="Processes that emit.")] = 1,
    batch: Annotated[str, typer.Option("--batch", help="Events in a record: none (one), ndjson or arrow.")] = "none",
    spool: Annotated[bool, typer.Option("--spool/--no-spool", help="Let events wait on disk, or in memory.")] = True,
    drain_s: Annotated[float, typer.Option("--drain", metavar="SECONDS", help="Longest wait for delivery.")] = 60,
    remote: Annotated[bool, typer.Option("--remote", help="Load a Kafka that is not on this machine.")] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Emit made-up usage at a steady rate, and report what the clients made of it. Ctrl-C ends it early.

    Accounts load-00 to load-19, region `load`: workers count them as any others, so only a Kafka on this machine is
    loaded unless you say `--remote`. Exits 1 if something was lost or is not delivered.

    Example: fleetmeter load --rate 20000 --duration 60 --producers 2 --batch ndjson
    """
    settings = settings_of_stack(data_dir, setting)
    config = LoadConfig.of(
        events_per_s=rate, duration_s=duration_s, producers=producers, batch=batch, spool=spool, drain_s=drain_s
    )
    if not remote:
        _refuse_remote(settings.kafka_bootstrap)
    _require_topic(settings)
    with _spool_folder() as folder, progress(quiet=as_json) as display:
        task = display.add_task("Emitting", total=config.duration_s, detail="")

        def show(now: Progress) -> None:
            display.update(
                task,
                completed=min(now.seconds, config.duration_s),
                detail=f"{now.emitted:,} emitted, {now.delivered:,} delivered, {now.waiting:,} wait",
            )

        report = run_load(
            config,
            settings.kafka_bootstrap,
            settings.topic,
            spool_dir=folder,
            kafka=dict(settings.kafka_access.librdkafka_security()),
            show=show,
        )
    if as_json:
        print_json({**asdict(report), "ok": report.ok})
    else:
        _print(report)
    if not report.ok:
        raise typer.Exit(Exit.NO)


def _refuse_remote(bootstrap: str) -> None:
    away = [server.strip() for server in bootstrap.split(",") if not _on_this_machine(server.strip())]
    if away:
        raise CommandError(
            f"{', '.join(away)} is not on this machine, and what load makes up would be counted there like real usage. "
            "Start a Kafka here with `fleetmeter up`, or say --remote if that is what you want."
        )


def _on_this_machine(server: str) -> bool:
    host = server.rpartition("://")[2].rpartition(":")[0].strip("[]") or server
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _require_topic(settings: Settings) -> None:
    """A producer would wait for its topic for ever. Raises CommandError."""
    with reader(settings) as consumer:
        found = consumer.list_topics(settings.topic, timeout=TIMEOUT_S).topics[settings.topic]
    if found.error is not None:
        raise CommandError(
            f"Kafka at {settings.kafka_bootstrap} has no topic {settings.topic}: {found.error.str()}. `fleetmeter up` "
            "makes it, or name another one with -s topic=NAME.",
            Exit.KAFKA,
        )


@contextmanager
def _spool_folder() -> Iterator[Path]:
    """Made-up events must not lie where real ones do, nor stay."""
    folder = Path(tempfile.mkdtemp(prefix="fleetmeter-load-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _print(report: LoadReport) -> None:
    times = report.emit_us
    print_table(
        ("what", "figure"),
        [
            ("asked for, events a second", f"{report.asked_events_per_s:,.0f}"),
            ("emitted, events a second", f"{report.events_per_s:,.0f}"),
            ("emitted", report.emitted),
            ("emit, microseconds: half of the calls", f"{times.p50:,.1f}"),
            ("emit, microseconds: 99 of 100", f"{times.p99:,.1f}"),
            ("emit, microseconds: 999 of 1,000", f"{times.p999:,.1f}"),
            ("waited when the last was emitted", report.backlog),
            ("waited at most", report.most_backlog),
            ("delivered", report.delivered),
            ("seconds until all was delivered" if report.ok else "seconds of waiting for delivery", report.drain_s),
            ("not delivered", report.left),
            ("dropped", report.dropped),
        ],
        title=f"Producers: {report.producers}; seconds: {report.seconds:,.1f}; batch: {report.batch}; {report.outbox}",
    )
    if report.events_per_s * _CENT < report.asked_events_per_s * (_CENT - 1):
        console.print("The rate was not reached: more --producers, a larger --batch, or a faster machine.")
    if report.last_error is not None:
        console.print(f"Last error of a delivery: {report.last_error}")
    console.print("Next: fleetmeter reconcile --wait 60; fleetmeter usage --by region,account_id")
