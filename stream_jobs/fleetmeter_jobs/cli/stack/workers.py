"""One worker process of a stack: started, watched, and started again when it ends without being asked to."""

from __future__ import annotations

import hashlib
import json
import platform
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from fleetmeter_local import ManagedProcess, forget_daemon, remember_daemon, start_process

from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.stack.backoff import Backoff
from fleetmeter_jobs.cli.stack.environment import environment_of
from fleetmeter_jobs.cli.stack.health import counts
from fleetmeter_jobs.settings import Settings


class SupervisedWorker:
    """A place in the stack that a worker process fills. Not safe for use by several threads."""

    def __init__(self, number: int, settings: Settings, clock: Callable[[], float]) -> None:
        self.name = f"worker-{number}"
        self.restarts = 0
        self.web: str | None = None
        """Base URL of its health and metrics, once it listens."""
        self._settings = settings.model_copy(update={"group_instance": _instance(settings, self.name)})
        self._clock = clock
        self._process: ManagedProcess | None = None
        self._ready = False
        self._backoff = Backoff()
        self._started_at = 0.0
        self._restart_at: float | None = None

    @property
    def log_path(self) -> Path:
        """Where the worker logs."""
        return self._settings.data_dir / "logs" / f"{self.name}.log"

    @property
    def ready(self) -> bool:
        """True while the process runs and has said once that it counts."""
        return self._ready and self._process is not None and self._process.is_alive()

    def start(self) -> None:
        """Starts the process; `tend` finds out when it is ready."""
        self._ready_file.parent.mkdir(parents=True, exist_ok=True)
        self._ready_file.unlink(missing_ok=True)
        self._ready, self.web, self._restart_at = False, None, None
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
        """Raises CommandError with the end of its log if the process ended before it was ever ready."""
        if self._process is None or self._ready or self._process.is_alive():
            return
        raise CommandError(
            f"{self.name} ended with code {self._process.exit_code()} before it counted. {self.log_path} says:\n"
            f"{self._process.trouble()}",
            Exit.DEFECT,
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
        if self._ready:
            return None
        if self.web is None and self._ready_file.exists():
            self.web = str(json.loads(self._ready_file.read_text(encoding="utf-8"))["web"])
            self._remember()
        if self.web is None or not counts(self.web):
            return None
        self._ready = True
        return f"{self.name} counts ({self.web})"

    def _plan_restart(self, process: ManagedProcess) -> str:
        now = self._clock()
        wait_s = self._backoff.next_wait_s(now - self._started_at)
        self._restart_at = now + wait_s
        return (
            f"{self.name} (pid {process.pid}) ended with code {process.exit_code()}; starts again in {wait_s:.1f} s; "
            f"its log: {self.log_path}"
        )

    def _remember(self) -> None:
        if self._process is not None:
            address = {"restarts": str(self.restarts), **({"web": self.web} if self.web else {})}
            remember_daemon(self._settings.data_dir, self._process, address)


def _instance(settings: Settings, name: str) -> str:
    """The worker's name in its group: the same after a restart, and another one in every other data folder."""
    folder = hashlib.sha256(f"{platform.node()}:{settings.data_dir.absolute()}".encode()).hexdigest()[:12]
    return ".".join(part for part in (settings.group_instance, folder, name) if part)
