"""Faults at named points inside a commit: a worker's observer that strikes when its time has come."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from fleetmeter_jobs.ledger.context import CommitObserver, HookPoint
from fleetmeter_jobs.ledger.errors import StoreUnavailableError

from fleetmeter_chaos.story import Story

COMMIT_POINTS: Final[tuple[HookPoint, ...]] = (
    "before_side_rows",
    "before_insert",
    "after_insert",
    "before_read_back",
    "before_ack",
)
SEAL_POINTS: Final[tuple[HookPoint, ...]] = (
    "before_ids",
    "before_manifests",
    "before_blobs_deleted",
    "after_blobs_deleted",
)
Blow = Literal["kill", "stop", "kill_clickhouse", "kill_broker"]
BLOWS: Final[tuple[Blow, ...]] = ("kill", "stop", "kill_clickhouse", "kill_broker")
_STRUCK: Final[Mapping[Blow, str]] = {
    "kill": "worker killed",
    "stop": "worker stopped",
    "kill_clickhouse": "ClickHouse killed",
    "kill_broker": "broker killed",
}


@dataclass(frozen=True, slots=True)
class Strike:
    """When the worker comes to `point` for the `count`th time (from 1), `blow` falls."""

    point: HookPoint
    count: int
    blow: Blow

    @property
    def fault(self) -> str:
        """Its name in the summary."""
        return f"{_STRUCK[self.blow]} {self.point.replace('_', ' ')}"


class Striker:
    """Counts the points that a worker comes to, over all its partitions, and strikes in that very moment.

    `pid_files` says where the pids of the engines are that blows can fall on."""

    def __init__(self, strikes: Sequence[Strike], story: Story, worker: str, pid_files: Mapping[Blow, Path]) -> None:
        self._due = {(strike.point, strike.count): strike for strike in strikes}
        self._came = Counter[HookPoint]()
        self._story, self._worker, self._pid_files = story, worker, pid_files
        self._lock = threading.Lock()

    def at(self, point: HookPoint, label: str) -> None:
        """The worker is at a point; it may not come back from here."""
        with self._lock:
            self._came[point] += 1
            strike = self._due.pop((point, self._came[point]), None)
            if strike is None:
                return
            what = f"{strike.fault} of {label}"
            match strike.blow:
                case "kill" | "stop":
                    # Told before: one that is dead can't.
                    self._story.tell(self._worker, what, strike.fault)
                    os.kill(os.getpid(), signal.SIGKILL if strike.blow == "kill" else signal.SIGSTOP)
                case _:
                    if killed(self._pid_files[strike.blow]):
                        self._story.tell(self._worker, what, strike.fault)


class StrikingObserver(CommitObserver):
    """Strikes first, then lets the worker's own observer see the step."""

    def __init__(self, striker: Striker, story: Story, worker: str, inner: CommitObserver) -> None:
        self._striker, self._story, self._worker, self._inner = striker, story, worker, inner

    def at(self, point: HookPoint, label: str) -> None:
        self._striker.at(point, label)
        self._inner.at(point, label)

    def failed(self, label: str, error: StoreUnavailableError) -> None:
        self._story.tell(self._worker, f"{label}: {error}", effect="commit tried again")
        self._inner.failed(label, error)

    def ghost(self, label: str) -> None:
        self._story.tell(self._worker, f"{label} is a ghost: raising the attempt", effect="attempt raised")
        self._inner.ghost(label)


def killed(pid_file: Path) -> bool:
    """kill -9 of the process that the file names; False if it was dead already."""
    try:
        os.kill(int(pid_file.read_text(encoding="ascii")), signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
