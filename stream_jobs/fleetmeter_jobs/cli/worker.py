"""`fleetmeter worker`: one worker process in the foreground, as a container or a unit of a service manager runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.worker import run_worker

app = command_app()

ReadyFile = Annotated[
    Path | None,
    typer.Option(
        "--ready-file",
        help="Written when the web port listens, with its address; /health/ready there tells when the worker counts.",
        show_default=False,
    ),
]


@app.command()
def worker(
    ready_file: ReadyFile = None, as_json: Json = False, data_dir: DataDir = None, setting: Given = None
) -> None:
    """Run one worker in the foreground, until SIGTERM or Ctrl-C; then it commits what it holds and exits 0.

    --json writes log lines as JSON. Health and Prometheus metrics are on the web port.

    Example: fleetmeter worker -s web_port=9100
    """
    settings = settings_of_stack(data_dir, [*(setting or []), *(["log_format=json"] if as_json else [])])
    code = run_worker(settings, ready_file=ready_file)
    raise typer.Exit(code)
