"""A process that has loaded everything a worker needs, and forks one whenever it is asked to.

A worker takes a second of processor time to load; a schedule starts half a dozen. Each fork is a process like any
other: a pid of its own, killed, stopped and left behind like a worker that systemd started. They die with this process
(the kernel sees to it), which dies with the campaign.

Protocol: a JSON object a line on stdin, one as an answer on stdout.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import traceback
from typing import Any

from fleetmeter_chaos.worker_life import WorkerLife, end, live

_PR_SET_PDEATHSIG = 1


class ForkServer:
    """Answers requests until stdin ends."""

    def __init__(self) -> None:
        self._living: set[int] = set()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """`start`, `signal`, or `poll`."""
        match request["do"]:
            case "start":
                return {"pid": self._start(WorkerLife.of(request["life"]), request["log"])}
            case "signal":
                # Only what has not been waited for: nobody else can have its pid.
                there = request["pid"] in self._living
                if there:
                    os.kill(request["pid"], request["number"])
                return {"there": there}
            case "poll":
                return {"changes": self._changes()}
            case unknown:
                raise ValueError(f"unknown request {unknown!r}")

    def _start(self, life: WorkerLife, log: str) -> int:
        parent = os.getpid()
        # Until the worker has a clock that can jump, a jump must not kill it.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        pid = os.fork()
        if pid:
            self._living.add(pid)
            return pid
        code = 70
        try:
            _become_a_worker(parent, log)
            code = live(life)
        except BaseException:  # noqa: BLE001  (the end of a process: nobody is left to raise to)
            traceback.print_exc()
        finally:
            end(code)
        raise AssertionError("unreachable")

    def _changes(self) -> list[tuple[int, str, int]]:
        """(pid, "ended" | "stopped" | "continued", exit code or signal) since the last time."""
        changes = []
        for pid in list(self._living):
            found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            if not found:
                continue
            if os.WIFSTOPPED(status):
                changes.append((pid, "stopped", os.WSTOPSIG(status)))
            elif os.WIFCONTINUED(status):
                changes.append((pid, "continued", 0))
            else:
                self._living.discard(pid)
                changes.append((pid, "ended", os.waitstatus_to_exitcode(status)))
        return changes


def _become_a_worker(parent: int, log: str) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)
    with open(os.devnull, "rb") as nothing, open(log, "ab") as sink:  # noqa: PTH123  (descriptors are what counts)
        os.dup2(nothing.fileno(), 0)
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)


def main() -> int:
    """Serve."""
    server = ForkServer()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(server.answer(json.loads(line))) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
