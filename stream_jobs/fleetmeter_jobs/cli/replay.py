"""`fleetmeter replay`: a public trace of requests, as generation events in Kafka."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from fleetmeter_producers import ClientSettings
from fleetmeter_producers.trace import replay_trace

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.kafka import require_kafka
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json, progress
from fleetmeter_jobs.cli.times import parse_moment

app = command_app()

TraceFile = Annotated[
    Path, typer.Argument(metavar="FILE.csv", help="Columns TIMESTAMP, ContextTokens and GeneratedTokens.")
]
Seed = Annotated[int, typer.Option("--seed", help="The same file and seed give the same events, which count once.")]
End = Annotated[
    str | None, typer.Option("--end", metavar="TIME", help="When the last request shall have happened (default: now).")
]
KeepTimes = Annotated[
    bool, typer.Option("--keep-times", help="Leave the file's own times; workers refuse those before their horizon.")
]


@app.command("replay")
def replay_command(
    file: TraceFile,
    seed: Seed = 0,
    end: End = None,
    keep_times: KeepTimes = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Send a public request trace as generation events. Returns when Kafka has acknowledged all of them.

    Ids, accounts and models follow from the file and the seed. So the same trace replayed again within `horizon_days`
    counts nothing twice, and the tokens in ClickHouse equal the sums of the file's columns.

    Example: fleetmeter replay azure_llm_trace_2023_conv.csv --end 2026-03-01T12:00:00Z
    """
    if keep_times and end is not None:
        raise CommandError("--end moves the times and --keep-times leaves them: give one of the two.")
    settings = settings_of_stack(data_dir, setting)
    require_kafka(settings)
    with progress(quiet=as_json) as display:
        task = display.add_task(f"Sending {file.name}", total=None, detail="")
        summary = replay_trace(
            file,
            settings.kafka_bootstrap,
            settings.topic,
            seed=seed,
            end=None if end is None else parse_moment("--end", end, datetime.now(UTC)),
            keep_times=keep_times,
            settings=ClientSettings(kafka=settings.kafka_access.librdkafka_security()),
            progress=lambda done, total: display.update(
                task, completed=done, total=total, detail=f"{done:,} of {total:,} requests"
            ),
        )
    if as_json:
        print_json(asdict(summary))
        return
    console.print(
        f"Sent {summary.requests:,} requests with {summary.input_tokens:,} input and {summary.output_tokens:,} output "
        f"tokens,\nfrom {summary.first_time} to {summary.last_time}, in {summary.seconds:.1f} s (seed {summary.seed})."
    )
    console.print("Next: fleetmeter reconcile --wait 60; fleetmeter usage --by model")
