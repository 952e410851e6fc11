"""One worker process of a stack: started, watched, and started again when it ends without being asked to."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fleetmeter_local import ManagedProcess, forget_daemon, remember_daemon, start_process
from fleetmeter_local.process import tail_of

from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.stack.environment import environment_of
from fleetmeter_jobs.settings import Settings

FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
STEADY_AFTER_S: Final = 60.0
"""A worker that ran so long is taken for healthy: the next restart is quick again."""


class SupervisedWorker:
    """A place in the stack that a worker process fills. Not safe for use by several threads."""

    def __init__(self, number: int, settings: Settings, clock: Callable[[], float]) -> None:
        self.name = f"worker-{number}"
        self.restarts = 0
        self.web_port: int | None = None
        self._settings = settings
        self._clock = clock
        self._process: ManagedProcess | None = None
        self._ready = False
        self._started_at = 0.0
        self._wait_s = FIRST_WAIT_S
        self._restart_at: float | None = None

    @property
    def log_path(self) -> Path:
        """Where the worker logs."""
        return self._settings.data_dir / "logs" / f"{self.name}.log"

    @property
    def ready(self) -> bool:
        """True while the process runs and has said that it counts."""
        return self._ready and self._process is not None and self._process.is_alive()

    @property
    def pid(self) -> int | None:
        """The pid of the process, if it runs."""
        return self._process.pid if self._process is not None and self._process.is_alive() else None

    def start(self) -> None:
        """Starts the process; `tend` finds out when it is ready."""
        self._ready_file.unlink(missing_ok=True)
        self._ready_file.parent.mkdir(parents=True, exist_ok=True)
        self._ready, self.web_port, self._restart_at = False, None, None
        self._started_at = self._clock()
        self._process = start_process(
            self.name,
            [sys.executable, "-m", "fleetmeter_jobs.cli", "worker", "--ready-file", str(self._ready_file)],
            log_path=self.log_path,
            env=environment_of(self._settings),
        )
        self._remember()

    def tend(self) -> str | None:
        """One look: notes readiness, and starts the process again if it ended. A sentence if something happened."""
        if self._process is None:
            return None
        if self._process.is_alive():
            return self._note_ready()
        if self._restart_at is None:
            return self._plan_restart(self._process)
        if self._clock() >= self._restart_at:
            self.restarts += 1
            self.start()
            return f"{self.name} was started again (restart {self.restarts})"
        return None

    def require_alive(self) -> None:
        """Raises CommandError with the end of its log if the process ended before it was ready."""
        if self._process is not None and not self._process.is_alive() and not self._ready:
            code = self._process.exit_code()
            raise CommandError(
                f"{self.name} ended with code {code} before it was ready. The end of {self.log_path}:\n"
                f"{tail_of(self.log_path)}",
                Exit.DEFECT if code is None or code not in set(Exit) else Exit(code),
            )

    def ask_to_stop(self) -> None:
        """Sends SIGTERM and returns; `stop` waits."""
        if self._process is not None:
            self._process.signal(signal.SIGTERM)

    def stop(self, timeout_s: float) -> None:
        """Stops the process, hard after `timeout_s`, and forgets it."""
        if self._process is not None:
            self._process.stop(timeout_s)
            self._process = None
        forget_daemon(self._settings.data_dir, self.name)
        self._ready_file.unlink(missing_ok=True)

    @property
    def _ready_file(self) -> Path:
        return self._settings.data_dir / "run" / f"{self.name}.ready"

    def _note_ready(self) -> str | None:
        if self._ready or not self._ready_file.exists():
            return None
        self._ready = True
        self.web_port = _web_port(self._ready_file)
        self._remember()
        return f"{self.name} counts (pid {self.pid})"

    def _plan_restart(self, process: ManagedProcess) -> str:
        if self._clock() - self._started_at >= STEADY_AFTER_S:
            self._wait_s = FIRST_WAIT_S
        self._restart_at = self._clock() + self._wait_s
        message = (
            f"{self.name} (pid {process.pid}) ended with code {process.exit_code()}; starts again in "
            f"{self._wait_s:.1f} s; its log: {self.log_path}"
        )
        self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)
        return message

    def _remember(self) -> None:
        if self._process is None:
            return
        address = {"ready": "yes" if self._ready else "no", "restarts": str(self.restarts)}
        if self.web_port is not None:
            address["web_port"] = str(self.web_port)
        remember_daemon(self._settings.data_dir, self._process, address)


def _web_port(ready_file: Path) -> int | None:
    document = json.loads(ready_file.read_text(encoding="utf-8") or "{}")
    port = document.get("web_port") if isinstance(document, dict) else None
    return int(port) if port is not None else None
