"""`make bench`: how fast the native core and a worker are on this machine, beside plain Faust and plain Python.

Starts a local Kafka and ClickHouse (unless their addresses are given, as everywhere), in a temporary folder; takes
about three minutes. Example: python tests/bench/run.py --only native --known-ids 10000000
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleetmeter_bench.billing_speed import ROWS_AN_ACCOUNT, billing_speed, billing_table
from fleetmeter_bench.broker_away import broker_away
from fleetmeter_bench.client_speed import emit_costs, import_ms
from fleetmeter_bench.dedup_figures import dedup_figures
from fleetmeter_bench.ingest_speed import ingest_speeds
from fleetmeter_bench.machine import machine
from fleetmeter_bench.native_speed import native_speeds
from fleetmeter_bench.parser_peers import parser_peers
from fleetmeter_bench.pipeline import engines, timed_plain_faust, timed_reading, timed_recoveries, timed_worker
from fleetmeter_bench.screen import (
    away_table,
    client_table,
    dedup_table,
    ingest_table,
    native_table,
    parser_table,
    pipeline_table,
    reading_line,
    recovery_table,
    show_machine,
)
from fleetmeter_bench.soak import soak
from fleetmeter_bench.worker_speed import EndToEnd
from fleetmeter_bench.workload import Format
from fleetmeter_jobs.cli.stack.topic import ensure_topic
from fleetmeter_jobs.settings import Settings
from fleetmeter_local import start_kafka
from rich.console import Console

PARTS = ("native", "python", "dedup", "worker", "recovery", "client", "away", "ingest", "billing")
EMITS = 200_000
AWAY_EVENTS_PER_S = 1_000
RECOVERY_EVENTS = 3_000_000
ACCOUNTS = 10_000
WORKER_EVENTS: dict[Format, int] = {"JSON": 1_000_000, "JSON array": 2_000_000, "Arrow": 4_000_000}


def main(arguments: list[str]) -> int:
    """Measure, print; the exit code."""
    options = _options(arguments)
    if options.soak:
        with _folder() as folder:
            return soak(folder, options.soak)
    # Progress goes to stderr, so that --json leaves stdout to the machine.
    console = Console(stderr=options.json)
    if not console.is_terminal:
        console = Console(stderr=options.json, width=120)  # that of workers takes 112
    results: dict[str, Any] = {"machine": machine()}
    show_machine(console, results["machine"])
    native = None
    if "native" in options.only:
        with console.status("Timing the native core ..."):
            speeds = list(native_speeds(options.events, options.known_ids, options.seconds))
        results["native"] = [dataclasses.asdict(one) for one in speeds]
        native = speeds[0].sequenced.median
        console.print(native_table(speeds, options.known_ids))
    if "python" in options.only:
        with console.status("Timing Python ..."):
            peers = list(parser_peers(min(options.events, 20_000), options.seconds))
        results["python"] = {name: dataclasses.asdict(one) for name, one in peers}
        console.print(parser_table(peers, native))
    if "dedup" in options.only:
        with console.status("Measuring the memory of counted events ..."), _folder() as folder:
            figures = list(dedup_figures(folder))
        results["dedup"] = [dataclasses.asdict(one) for one in figures]
        console.print(dedup_table(figures))
    if "worker" in options.only:
        results["worker"] = _pipeline(console, options.scale, results["machine"]["cores"])
    if "recovery" in options.only:
        results["recovery"] = _recovery(console, options.scale)
    if "client" in options.only:
        results["client"] = _client(console, options.scale)
    if "billing" in options.only:
        with console.status("Starting ClickHouse ...") as status, _folder() as folder:
            billed = billing_speed(folder, max(10, int(ACCOUNTS * options.scale)), ROWS_AN_ACCOUNT, status.update)
        results["billing"] = dataclasses.asdict(billed)
        console.print(billing_table(billed))
    if "away" in options.only:
        results["away"] = _away(console, options.minutes)
    if "ingest" in options.only:
        results["ingest"] = _ingest(console, options.scale)
    if options.json:
        sys.stdout.write(json.dumps(results, indent=2) + "\n")
    return 0


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fleetmeter-bench-") as name:
        yield Path(name)


def _pipeline(console: Console, scale: float, cores: int) -> dict[str, Any]:
    workers: list[tuple[str, EndToEnd]] = []
    with (
        tempfile.TemporaryDirectory(prefix="fleetmeter-bench-") as folder,
        console.status("Starting engines ...") as status,
        engines(Path(folder)) as running,
    ):
        first = None
        for format_, events in WORKER_EVENTS.items():
            status.update(f"A worker on {format_} ...")
            of_topic, done = timed_worker(running, format_, max(10_000, int(events * scale)))
            workers.append((format_, done))
            first = first or of_topic
        json_topic, json_records = first or running.settings, workers[0][1].records
        status.update("The consumer alone ...")
        reading = timed_reading(json_topic, json_records)
        status.update("Plain Faust ...")
        plain = timed_plain_faust(json_topic, json_records)
    console.print(pipeline_table(workers, plain, cores))
    console.print(reading_line(reading))
    return {
        "workers": {name: {**dataclasses.asdict(one), "events_per_s": one.events_per_s} for name, one in workers},
        "reading": {**dataclasses.asdict(reading), "records_per_s": reading.records_per_s},
        "plain_faust": {**dataclasses.asdict(plain), "events_per_s": plain.events_per_s},
        "ratios": {name: one.events_per_s / plain.events_per_s for name, one in workers},
    }


def _recovery(console: Console, scale: float) -> list[dict[str, Any]]:
    with (
        tempfile.TemporaryDirectory(prefix="fleetmeter-bench-") as folder,
        console.status("Killing workers ..."),
        engines(Path(folder)) as running,
    ):
        recoveries = timed_recoveries(running.settings, max(500_000, int(RECOVERY_EVENTS * scale)))
    console.print(recovery_table(recoveries))
    return [dataclasses.asdict(one) for one in recoveries]


def _client(console: Console, scale: float) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="fleetmeter-bench-") as name,
        console.status("Starting Kafka ...") as status,
        start_kafka(Path(name)) as kafka,
    ):
        settings = Settings.load(kafka_bootstrap=kafka.bootstrap, topic="bench-client", data_dir=Path(name))
        ensure_topic(settings)
        status.update("Emitting ...")
        costs = emit_costs(kafka.bootstrap, settings.topic, Path(name), max(10_000, int(EMITS * scale)))
    console.print(client_table(costs))
    importing = import_ms()
    console.print(f"import fleetmeter_producers: {importing:.0f} ms of CPU")
    return {"emit": [dataclasses.asdict(one) for one in costs], "import_ms": importing}


def _away(console: Console, minutes: float) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="fleetmeter-bench-") as name,
        console.status("Starting Kafka ...") as status,
        start_kafka(Path(name), source="local") as kafka,  # it is stopped: no given one
    ):
        settings = Settings.load(
            kafka_bootstrap=kafka.bootstrap, topic="bench-away", topic_partitions=1, data_dir=Path(name)
        )
        ensure_topic(settings)
        alone = broker_away(
            kafka,
            settings.topic,
            Path(name) / "spool",
            events_per_s=AWAY_EVENTS_PER_S,
            minutes=minutes,
            tell=lambda line: status.update(f"The broker is away: {line}"),
        )
    console.print(away_table(alone))
    return dataclasses.asdict(alone)


def _ingest(console: Console, scale: float) -> list[dict[str, Any]]:
    with _folder() as folder, console.status("Starting Kafka ...") as status, start_kafka(folder) as kafka:
        settings = Settings.load(kafka_bootstrap=kafka.bootstrap, topic="bench-ingest", data_dir=folder)
        ensure_topic(settings)
        status.update("Posting ...")
        speeds = list(ingest_speeds(settings, folder, scale))
    console.print(ingest_table(speeds))
    return [{**dataclasses.asdict(one), "events_per_cpu_s": one.events_per_cpu_s} for one in speeds]


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="figures as JSON on stdout, tables on stderr")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="which parts to time")
    parser.add_argument("--events", type=int, default=200_000, help="events a run of the native core (default 200000)")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="longest time for the runs of one figure (default 2)"
    )
    parser.add_argument("--known-ids", type=int, default=0, help="also beside so many known foreign ids, say 10000000")
    parser.add_argument("--scale", type=float, default=1.0, help="times as many events for the workers (default 1)")
    parser.add_argument(
        "--minutes", type=float, default=0.5, help="for how long the broker is away from a client (default 0.5)"
    )
    parser.add_argument(
        "--soak",
        type=int,
        default=0,
        metavar="EVENTS",
        help="instead: so many events over 80 days of the broker's clock, printing memory; say 10000000",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
