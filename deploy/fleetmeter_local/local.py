"""The life of an engine that is a process on this machine: started once a data folder, found again, ended.

One folder has one process of a name. Two starters at the same moment are kept apart by a lock on a file, which the
system releases when its holder dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fleetmeter_local.errors import AlreadyRunningError, Domain, EngineStartError
from fleetmeter_local.files import write_whole
from fleetmeter_local.ports import bind_loopback
from fleetmeter_local.process import POLL_S, ManagedProcess
from fleetmeter_local.state import daemon_state, forget_daemon, remember_daemon, run_dir

Ready = TypeVar("Ready")


@dataclass(frozen=True, slots=True)
class Started:
    """A process that answers, and what others need to reach it; `address` has at least `port`."""

    process: ManagedProcess
    address: Mapping[str, str]


class LocalLifecycle:
    """Ends and revives one engine of one data folder. Not safe for use by several threads at once.

    Args:
        data_dir: the folder.
        started: what runs, or ran.
        start: starts it again at a port, and returns once it answers.
    """

    def __init__(self, data_dir: Path, started: Started, start: Callable[[int], Started]) -> None:
        self._data_dir = data_dir
        self._started = started
        self._start = start

    @property
    def address(self) -> Mapping[str, str]:
        """What others need to reach it."""
        return self._started.address

    @property
    def pid(self) -> int | None:
        """The process's pid, also when it has ended."""
        return self._started.process.pid

    @property
    def log_path(self) -> Path | None:
        """Where it logs."""
        return self._started.process.log_path

    def is_alive(self) -> bool:
        """True while the process runs."""
        return self._started.process.is_alive()

    def stop(self, timeout_s: float) -> None:
        """Stops it and forgets it; a process that has ended is only forgotten."""
        process = self._started.process
        process.stop(timeout_s)
        state = daemon_state(self._data_dir, process.name)
        if state is not None and state.identity == process.identity:
            forget_daemon(self._data_dir, process.name)

    def kill(self) -> None:
        """kill -9; the state file stays behind, as after a crash."""
        self._started.process.kill()

    def restart(self) -> None:
        """Starts it again on the same data and port. Raises AlreadyRunningError if it runs."""
        name, port = self._started.process.name, int(self.address["port"])
        self._started = _start_once(self._data_dir, name, lambda: self._start(port))


def start_local(data_dir: Path, name: str, port: int | None, start: Callable[[int | None], Started]) -> LocalLifecycle:
    """Starts an engine on a folder that has none of this name running.

    Args:
        data_dir: the folder; it is made.
        name: of the engine.
        port: to start it at; if None the one of the last run, if that is still free, or any free one.
        start: starts it (at any free port if it is given None), and returns once it answers.

    Raises AlreadyRunningError, and what `start` raises.
    """
    started = _start_once(data_dir, name, lambda: start(_port_of_last_run(data_dir, name) if port is None else port))
    return LocalLifecycle(data_dir, started, start)


def _port_file(data_dir: Path, name: str) -> Path:
    return run_dir(data_dir) / f"{name}.port"


def _port_of_last_run(data_dir: Path, name: str) -> int | None:
    """An address that people have noted down should be there again; None if there is none or someone else has it."""
    try:
        port = int(_port_file(data_dir, name).read_text(encoding="ascii"))
        with bind_loopback(port):
            return port
    except (OSError, ValueError):
        return None


def _start_once(data_dir: Path, name: str, start: Callable[[], Started]) -> Started:
    with locked(run_dir(data_dir) / f"{name}.lock"):
        state = daemon_state(data_dir, name)
        if state is not None and state.is_alive():
            address = ", ".join(f"{key} {value}" for key, value in state.address.items() if key != "password")
            raise AlreadyRunningError(
                f"{name} already runs on {data_dir} (pid {state.identity.pid}, {address}). Use it, stop it "
                "(`fleetmeter down`), or name another data folder."
            )
        started = start()
        remember_daemon(data_dir, started.process, started.address)
        write_whole(_port_file(data_dir, name), started.address["port"])
        return started


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock that all processes respect which ask for the same path; waits for it as long as it takes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def await_ready(
    process: ManagedProcess, probe: Callable[[], Ready | None], *, timeout_s: float, advice: str, domain: Domain
) -> Ready:
    """Waits until `probe` gives something, and returns it; ends the process if it does not come to that.

    Args:
        process: a process that has just been started.
        probe: asks the engine for an answer; None for not yet.
        timeout_s: how long it may take.
        advice: a sentence on what to do when the start fails.
        domain: of the error.

    Raises EngineStartError, with the log's tail.
    """
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            alive = process.is_alive()
            if alive and (ready := probe()) is not None:
                return ready
            if not alive:
                code = process.exit_code()
                reason = "the process ended" + ("" if code is None else f" with exit code {code}")
            elif time.monotonic() >= deadline:
                reason = f"it did not answer within {timeout_s:g} s"
            else:
                time.sleep(POLL_S)
                continue
            raise EngineStartError(
                process.name,
                reason,
                advice,
                log_path=process.log_path,
                log_tail=process.trouble(),
                domain=domain,
            )
    except BaseException:
        process.kill()
        raise
