"""The tests' side of worker processes that a fork server starts."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any

_LONGEST_POLL_S = 0.05


class ForkedWorker:
    """A worker process: the part of `subprocess.Popen` that tests use, with the same meaning."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server = server
        self.pid = pid
        self.returncode: int | None = None
        self._polling = threading.Lock()  # its code is told once

    def poll(self) -> int | None:
        """The exit code (negative: the signal that ended it); None while it runs."""
        with self._polling:
            if self.returncode is None:
                self.returncode = self._server.ask(do="poll", pid=self.pid)["code"]
            return self.returncode

    def wait(self, timeout: float) -> int:
        """Its exit code, once it has ended. Raises subprocess.TimeoutExpired after `timeout` seconds."""
        deadline, pause_s = time.monotonic() + timeout, 0.001
        while (code := self.poll()) is None:
            if time.monotonic() >= deadline:
                raise subprocess.TimeoutExpired(f"worker {self.pid}", timeout)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_POLL_S)
        return code

    def send_signal(self, number: int) -> None:
        """Sends a signal, if it runs."""
        # Until a poll has told of its end it is a zombie at most: nobody else can have its pid.
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        self.send_signal(9)


class ForkServer:
    """One fork server. Methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        environment = _without_settings()
        # Threads of a numerical library would not survive the fork, and a worker computes nothing with it.
        environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fleetmeter_doubles.worker_fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,
        )

    def start(
        self, settings: dict[str, object], *, ready_file: Path, log: Path, drain: bool, proven: bool
    ) -> ForkedWorker:
        """A new worker process with these settings and no others, in this process's folder."""
        log.write_bytes(b"")  # there from the start: tests read it before the worker has come to writing
        environment = _without_settings() | {f"FLEETMETER_{name.upper()}": str(settings[name]) for name in settings}
        asked = {"ready_file": str(ready_file), "log": str(log), "drain": drain, "proven": proven}
        answer = self.ask(do="start", environment=environment, folder=str(Path.cwd()), **asked)
        return ForkedWorker(self, answer["pid"])

    def ask(self, **request: Any) -> dict[str, Any]:
        """The server's answer."""
        with self._lock:
            stdin, stdout = self._process.stdin, self._process.stdout
            assert stdin is not None
            assert stdout is not None
            stdin.write(json.dumps(request) + "\n")
            stdin.flush()
            line = stdout.readline()
        assert line, "the fork server has ended; standard error says why"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the server, and what it has forked. It leaves no coverage: all that it ran its workers have, too."""
        self._process.kill()
        self._process.wait(10)


@cache
def fork_server() -> ForkServer:
    """This process's, started when it is first asked for; it ends with the process."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def _without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FLEETMETER_")}
