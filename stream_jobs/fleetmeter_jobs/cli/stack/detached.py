"""A supervisor that outlives the command that started it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

from fleetmeter_local import ManagedProcess, start_process

from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.output import progress
from fleetmeter_jobs.cli.stack.environment import environment_of
from fleetmeter_jobs.cli.stack.log_tail import log_tail
from fleetmeter_jobs.cli.stack.state import SUPERVISOR, is_ready, running_supervisor
from fleetmeter_jobs.settings import Settings

TIMEOUT_S: Final = 600.0
"""Long enough to fetch the broker's jars over a slow line, once."""
LOOK_EVERY_S: Final = 0.1


def start_detached(settings: Settings, workers: int, *, quiet: bool) -> None:
    """Starts a supervisor, and returns when everything counts. It is stopped again if it does not come so far.

    Raises CommandError with the supervisor's own words.
    """
    if running_supervisor(settings.data_dir) is not None:
        raise CommandError(
            f"A stack already runs in {settings.data_dir}. See it with `fleetmeter status`, stop it with "
            f"`fleetmeter down`, or give this one another --data-dir."
        )
    log_path = settings.data_dir / "logs" / f"{SUPERVISOR}.log"
    log_path.unlink(missing_ok=True)
    process = start_process(
        SUPERVISOR,
        [sys.executable, "-m", "fleetmeter_jobs.cli", "up", "--workers", str(workers)],
        log_path=log_path,
        env=environment_of(settings),
        detached=True,
    )
    try:
        _await_ready(settings.data_dir, process, quiet=quiet)
    except BaseException:
        process.stop()
        raise


def _await_ready(data_dir: Path, process: ManagedProcess, *, quiet: bool) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    with progress(quiet=quiet) as display:
        task = display.add_task("Starting", total=None, detail="")
        while True:
            supervisor = running_supervisor(data_dir)
            if supervisor is not None and supervisor.identity == process.identity and is_ready(supervisor):
                return
            if not process.is_alive():
                words = log_tail(process.log_path, lines=40)
                raise CommandError(f"The stack did not start. Its supervisor said:\n{words}", Exit.NO)
            if time.monotonic() > deadline:
                raise CommandError(
                    f"The stack was not up within {TIMEOUT_S:.0f} s; its log: {process.log_path}", Exit.DEFECT
                )
            display.update(task, detail=log_tail(process.log_path, lines=1))
            time.sleep(LOOK_EVERY_S)
