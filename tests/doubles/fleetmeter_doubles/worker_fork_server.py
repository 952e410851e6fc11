"""A process that has loaded everything a worker needs, and forks one whenever it is asked to.

A worker takes two seconds of processor time to load, and the tests start a hundred. Each fork is a process like any
other: a pid of its own, stopped and killed like one that was started afresh. (How a fresh one starts is for the tests
of the commands: they run whole stacks.)

Protocol: a JSON object a line on stdin, one as an answer on stdout. The server ends with its stdin, the workers with
the server.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fleetmeter_jobs import worker
from fleetmeter_jobs.settings import Settings

_PR_SET_PDEATHSIG = 1


def serve() -> dict[str, Any] | None:
    """Answers requests until stdin ends. In each process that is forked it returns instead: what that worker is."""
    living: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        match request["do"]:
            case "start":
                parent = os.getpid()
                pid = os.fork()
                if not pid:
                    _leave_the_server(parent, request)
                    return dict(request)
                living.add(pid)
                answer: dict[str, Any] = {"pid": pid}
            case "poll":
                answer = {"code": _code_of(request["pid"])}
                if answer["code"] is not None:
                    living.discard(request["pid"])
            case unknown:
                raise ValueError(f"unknown request {unknown!r}")
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in living:
        os.kill(pid, signal.SIGKILL)
    return None


def _code_of(pid: int) -> int | None:
    """The exit code (negative: the signal) of a worker that has ended; it is asked for once."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _leave_the_server(parent: int, request: dict[str, Any]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(0)
    with open(os.devnull, "rb") as nothing, open(request["log"], "ab") as sink:  # noqa: PTH123  (descriptors count)
        os.dup2(nothing.fileno(), 0)
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])


def be_worker(life: dict[str, Any]) -> int:
    """The worker's whole life; its exit code."""
    unproven = patch.object(worker, "prove_store", lambda _scratch: None) if life["proven"] else nullcontext()
    with unproven:
        return worker.run_worker(Settings.load(), ready_file=Path(life["ready_file"]), exit_when_drained=life["drain"])


if __name__ == "__main__":
    started = serve()
    sys.exit(0 if started is None else be_worker(started))
