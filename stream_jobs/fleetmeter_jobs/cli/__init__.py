"""The command `fleetmeter`. Each command or group of commands is one module here; `app` names them all.

Only this package may import every room. It needs the `jobs` extra; without it, `main` says so in a sentence.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point of the `fleetmeter` command: runs it and exits with its code (see `exits`)."""
    try:
        from fleetmeter_jobs.cli.app import run  # noqa: PLC0415  (the base install has no typer)
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich", "orjson"}:
            raise
        sys.stderr.write("The fleetmeter commands need the jobs extra: pip install 'fleetmeter[jobs]'\n")
        sys.exit(3)
    run()
