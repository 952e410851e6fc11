"""`fleetmeter down`: everything of a data folder's stack is stopped, in order, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fleetmeter_local import all_daemons, stop_daemon

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.options import DataDir, Given, Json, own_settings
from fleetmeter_jobs.cli.output import console, print_json, progress
from fleetmeter_jobs.cli.stack.state import SUPERVISOR
from fleetmeter_jobs.settings import Settings

app = command_app()

ENGINES_STOP_S: Final = 70.0
"""What the supervisor may need for its engines, beside its workers' shutdown_limit_s."""


@app.command()
def down(as_json: Json = False, data_dir: DataDir = None, setting: Given = None) -> None:
    """Stop everything that `up` and `local --detach` started. The data stays; `up` continues where it was.

    A process is known by its pid and the moment it started, so that no stranger is ever stopped. If nothing runs, that
    is said, and the exit code is 0.

    Example: fleetmeter down
    """
    settings = own_settings(data_dir, setting)
    with progress(quiet=as_json) as display:
        display.add_task("Stopping: the workers commit what they hold", total=None, detail="")
        stopped = stop_everything(settings.data_dir.absolute(), settings)
    if as_json:
        print_json({"stopped": stopped})
    else:
        console.print(f"Stopped {', '.join(stopped)}." if stopped else f"Nothing runs in {settings.data_dir}.")


def stop_everything(folder: Path, settings: Settings) -> list[str]:
    """Stops the supervisor, which stops what it owns; then whatever else still runs. Returns what ran."""
    ran = [state.name for state in all_daemons(folder) if state.is_alive()]
    stop_daemon(folder, SUPERVISOR, timeout_s=settings.shutdown_limit_s + ENGINES_STOP_S)
    # Workers first: engines that were started alone, or outlived a killed supervisor, go after those who use them.
    for state in sorted(all_daemons(folder), key=lambda state: not state.name.startswith("worker-")):
        stop_daemon(folder, state.name)
    return ran
