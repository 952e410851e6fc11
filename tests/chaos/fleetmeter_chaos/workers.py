"""The campaign's side of the worker processes: started through a fork server, signalled, watched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from fleetmeter_chaos.worker_life import WorkerLife

ASLEEP_S = 2.1
"""Longer than a session: a stopped worker's partitions are with others when it wakes."""
State = Literal["running", "stopped", "ended"]


@dataclass(slots=True)
class Worker:
    """One worker process as last heard of."""

    name: str
    pid: int
    log: Path
    ready_file: Path
    state: State = "running"
    exit_code: int | None = None
    place: int = 0
    """Whoever takes the place of a worker that died has its name in the consumer group, where workers have names."""
    asleep_s: float = ASLEEP_S
    """When it is stopped, it goes on after so long."""
    leaving: bool = False
    """Whether it was told to stop."""
    clock_shifts_s: tuple[float, ...] = ()
    """How far its clock is ahead, at first and after each jump."""
    jumps: int = 0

    @property
    def live(self) -> bool:
        """Whether it runs, or would if it were continued."""
        return self.state != "ended"

    def clock_jumps_s(self) -> float:
        """It is told to; by how much its clock goes forth or back. 0 if the same time follows, or no other is left."""
        shifts, self.jumps = self.clock_shifts_s or (0.0,), self.jumps + 1
        last = len(shifts) - 1
        return shifts[min(self.jumps, last)] - shifts[min(self.jumps - 1, last)]


class ForkClient:
    """Speaks with one fork server. Methods may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FLEETMETER_")}
        # Threads of a numerical library would not survive the fork, and a worker computes nothing with it.
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        with (folder / "fork-server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fleetmeter_chaos.fork_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                text=True,
                start_new_session=True,
            )

    def start(self, life: WorkerLife, log: Path) -> Worker:
        """A new worker process."""
        pid = self._ask(do="start", life=asdict(life), log=str(log))["pid"]
        return Worker(life.name, pid, log, Path(life.ready_file))

    def signal(self, worker: Worker, number: int) -> bool:
        """Send a signal; False if the worker has ended."""
        return bool(self._ask(do="signal", pid=worker.pid, number=int(number))["there"])

    def poll(self) -> list[tuple[int, str, int]]:
        """What became of workers since the last time: (pid, "ended" | "stopped" | "continued", code)."""
        return [(pid, what, code) for pid, what, code in self._ask(do="poll")["changes"]]

    def close(self) -> None:
        """End the server; the kernel ends what it has forked."""
        self._process.kill()
        self._process.wait(10)

    def _ask(self, **request: Any) -> dict[str, Any]:
        with self._lock:
            stdin, stdout = self._process.stdin, self._process.stdout
            assert stdin is not None
            assert stdout is not None
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            line = stdout.readline()
        assert line, "the fork server has ended; its log says why"
        answer: dict[str, Any] = json.loads(line)
        return answer
