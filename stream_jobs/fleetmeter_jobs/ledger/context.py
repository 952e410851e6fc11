"""What a commit needs of the world beside the store: a clock, patience, a way to be stopped, an observer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from fleetmeter_jobs.ledger.errors import StoreUnavailableError
from fleetmeter_jobs.ledger.retry import Backoff, Cancel

HookPoint = Literal[
    # of a commit
    "before_side_rows",
    "before_insert",
    "after_insert",
    "before_read_back",
    "before_ack",
    # of sealing a chunk
    "before_ids",
    "before_manifests",
    "before_blobs_deleted",
    "after_blobs_deleted",
]


class CommitObserver:
    """Sees each step of a commit; does nothing by itself. Metrics count with it, and fault tests strike in it.

    An exception out of `at` leaves the commit at that point, as a crash would. `label` is the token of the insert that
    the step is about (before side rows: the partition and position; of sealing: the chunk).
    """

    def at(self, point: HookPoint, label: str) -> None:
        """The commit has come to a named point."""

    def failed(self, label: str, error: StoreUnavailableError) -> None:
        """The store did not answer as it should; the commit goes on trying."""

    def ghost(self, label: str) -> None:
        """A token was logged, but its rows never appeared: the attempt will be raised."""


@dataclass(frozen=True, slots=True)
class CommitContext:
    """Injected into everything that commits, so that a test decides what the time is and how long a wait takes."""

    cancel: Cancel = field(default_factory=threading.Event)
    backoff: Backoff = field(default_factory=Backoff)
    observer: CommitObserver = field(default_factory=CommitObserver)
    now_ms: Callable[[], int] = field(default=lambda: time.time_ns() // 1_000_000)
    ghosts: bool = True
    """Whether a token can be logged whose part never appears. Not on replicated tables: Keeper takes both at once."""
