"""Faults at named points inside a commit: a worker's observer that strikes when its time has come."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fleetmeter_jobs.ledger.context import CommitObserver, HookPoint
from fleetmeter_jobs.ledger.errors import StoreUnavailableError

from fleetmeter_chaos.story import Story

POINTS: Final[tuple[HookPoint, ...]] = (
    "before_side_rows",
    "before_insert",
    "after_insert",
    "before_read_back",
    "before_ack",
)
Blow = Literal["kill", "stop", "kill_clickhouse"]
BLOWS: Final[tuple[Blow, ...]] = ("kill", "stop", "kill_clickhouse")


@dataclass(frozen=True, slots=True)
class Strike:
    """When the worker comes to `point` for the `count`th time (from 1), `blow` falls."""

    point: HookPoint
    count: int
    blow: Blow

    @property
    def fault(self) -> str:
        """Its name in the summary."""
        what = {"kill": "worker killed", "stop": "worker stopped", "kill_clickhouse": "ClickHouse killed"}[self.blow]
        return f"{what} {self.point.replace('_', ' ')}"


class Striker:
    """Counts the points that a worker comes to, over all its partitions, and strikes in that very moment."""

    def __init__(self, strikes: Sequence[Strike], story: Story, worker: str, clickhouse_pid: int) -> None:
        self._due = {(strike.point, strike.count): strike for strike in strikes}
        self._came: dict[HookPoint, int] = dict.fromkeys(POINTS, 0)
        self._story, self._worker, self._clickhouse_pid = story, worker, clickhouse_pid
        self._lock = threading.Lock()

    def at(self, point: HookPoint, label: str) -> None:
        """The worker is at a point; it may not come back from here."""
        with self._lock:
            self._came[point] += 1
            strike = self._due.pop((point, self._came[point]), None)
            if strike is None:
                return
            self._story.tell(self._worker, f"{strike.fault} of {label}", strike.fault)
            match strike.blow:
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "stop":
                    os.kill(os.getpid(), signal.SIGSTOP)
                case "kill_clickhouse":
                    kill_if_there(self._clickhouse_pid)


class StrikingObserver(CommitObserver):
    """Strikes first, then lets the worker's own observer see the step."""

    def __init__(self, striker: Striker, story: Story, worker: str, inner: CommitObserver) -> None:
        self._striker, self._story, self._worker, self._inner = striker, story, worker, inner

    def at(self, point: HookPoint, label: str) -> None:
        self._striker.at(point, label)
        self._inner.at(point, label)

    def failed(self, label: str, error: StoreUnavailableError) -> None:
        self._story.tell(self._worker, f"{label}: {error}")
        self._inner.failed(label, error)

    def ghost(self, label: str) -> None:
        self._story.tell(self._worker, f"{label} is a ghost: raising the attempt")
        self._inner.ghost(label)


def kill_if_there(pid: int) -> None:
    """kill -9 of a process that may be gone already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
