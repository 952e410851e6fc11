"""A whole stack under test, run by the commands that people type.

Those that start and end processes have a process of their own. The others run in this one, where they need not import
everything again: a second each.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleetmeter_doubles.commands import run_command
from fleetmeter_local.process import start_of

COMMAND_TIMEOUT_S = 180
_STARTING_OR_ENDING = {"up", "down", "local", "demo"}


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    arguments: Sequence[str]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Commands:
    """The command `fleetmeter` on one data folder."""

    data_dir: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Ours without any setting, and with those of this stack."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("FLEETMETER_")}
        given = {"data_dir": str(self.data_dir), **self.settings}
        return own | {f"FLEETMETER_{name.upper()}": value for name, value in given.items()}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command and returns at once."""
        return subprocess.Popen(
            [sys.executable, "-m", "fleetmeter_jobs.cli", *arguments],
            env=self.environment,
            cwd=self.data_dir.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> Ran:
        """Runs a command to its end, whatever its exit code."""
        if arguments[0] not in _STARTING_OR_ENDING:
            ended = run_command(*arguments, folder=self.data_dir.parent, data_dir=self.data_dir, **self.settings)
            return Ran(arguments, ended.code, ended.out, ended.err)
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{arguments} did not end in {COMMAND_TIMEOUT_S} s:\n{out}\n{err}") from None
        return Ran(arguments, process.returncode, out, err)

    def __call__(self, *arguments: str) -> Any:
        """Runs a command that must succeed, and returns what it printed as JSON."""
        ran = self.run(*arguments, "--json")
        assert ran.code == 0, f"{' '.join(arguments)} exited {ran.code}\n{ran.out[-2000:]}\n{ran.err}"
        return ran.json

    def parts(self) -> dict[str, Any]:
        """The stack's parts, once all are well: one that is busy may answer too late for a look."""
        looks: list[Ran] = []
        wait_until(lambda: looks.append(self.run("status", "--json")) or looks[-1].code == 0, "all are well")
        return dict(looks[-1].json["parts"])

    def pid_of(self, part: str) -> int:
        """The pid of a part of the stack, as `status` tells."""
        pid = self.run("status", "--json").json["parts"][part]["pid"]
        assert isinstance(pid, int), f"{part} does not run"
        return pid

    def kill(self, part: str) -> int:
        """kill -9, as a crash would; returns the pid that is gone."""
        pid = self.pid_of(part)
        os.kill(pid, signal.SIGKILL)
        return pid


@contextmanager
def running_stack(data_dir: Path, *, workers: int, **settings: str) -> Iterator[Commands]:
    """A detached stack; stopped, whatever happens, and then none of its processes is left."""
    fleetmeter = Commands(data_dir, settings)
    try:
        fleetmeter("up", "--workers", str(workers), "--detach")
        yield fleetmeter
    finally:
        parts = fleetmeter.run("status", "--json").json["parts"]
        stopped = fleetmeter.run("down")
    assert stopped.code == 0, stopped.err
    left = [name for name, part in parts.items() if part["pid"] is not None and alive(part["pid"])]
    assert left == []


def alive(pid: int) -> bool:
    """Whether a process with this pid runs; one that has ended and waits to be reaped does not."""
    return start_of(pid) is not None


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    """Returns when the condition holds; fails the test when it does not within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:.0f} s"
        time.sleep(0.2)
