"""`fleetmeter status`: what runs, where, and how far it has counted."""

from __future__ import annotations

import typer

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.exits import Exit
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json
from fleetmeter_jobs.cli.stack.view import look, render

app = command_app()


@app.command()
def status(as_json: Json = False, data_dir: DataDir = None, setting: Given = None) -> None:
    """Show what runs, where, and how far it has counted. Exits 1 if the stack, or a part of it, is down.

    Example: fleetmeter status --json
    """
    view = look(settings_of_stack(data_dir, setting))
    if as_json:
        print_json(view.as_dict())
    elif view.parts:
        console.print(render(view))
    else:
        console.print(f"Nothing runs in {view.data_dir}. Start it with `fleetmeter up`.")
    if not view.is_up:
        raise typer.Exit(Exit.NO)
