"""What a partition is doing: for health, metrics and whoever waits for a worker to be ready or drained."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from fleetmeter_jobs.errors import JobError


class State(StrEnum):
    """Starting -> counting; waiting after an error that may pass; stopped after one that won't; released when given
    away."""

    STARTING = "starting"
    COUNTING = "counting"
    WAITING = "waiting"
    STOPPED = "stopped"
    RELEASED = "released"


@dataclass
class DedupStatus:
    """What is remembered of counted events, and what that takes."""

    OF_CORE: ClassVar = (
        "exact_bytes",
        "filter_bytes",
        "sequenced_bytes",
        "sequenced_incarnations",
        "sequenced_events",
        "foreign_ids",
        "filtered_ids",
        "hourly_ids",
        "chunks",
        "held_events",
    )
    """Names among the native core's `stats`, which says what they mean."""
    exact_bytes: int = 0
    filter_bytes: int = 0
    sequenced_bytes: int = 0
    sequenced_incarnations: int = 0
    sequenced_events: int = 0
    foreign_ids: int = 0
    filtered_ids: int = 0
    hourly_ids: int = 0
    chunks: int = 0
    held_events: int = 0
    unsealed_chunks: int = 0
    """Closed, and not yet in the store."""
    sealed_at_s: float | None = None
    """Wall clock of the last seal, since the state was read."""
    seal_error: str | None = None
    """Why the last try to seal did not succeed; counting goes on."""


@dataclass(slots=True)
class PartitionStatus:
    """A partition as health and metrics show it."""

    state: State = State.STARTING
    next_offset: int | None = None
    """The committed position."""
    log_end: int | None = None
    """Where the log ended when it was last fetched from."""
    watermark_us: int = 0
    """Largest event time seen, or later while the partition is idle; microseconds since the epoch."""
    committed_at_s: float | None = None
    """Wall clock of the last commit."""
    pending_events: int = 0
    inbox_bytes: int = 0
    dedup: DedupStatus = field(default_factory=DedupStatus)
    error: str | None = None
    domain: str | None = None

    @property
    def lag(self) -> int | None:
        """Offsets between the committed position and the log's end, as far as known."""
        return None if self.log_end is None or self.next_offset is None else self.log_end - self.next_offset

    def failed(self, state: State, error: BaseException) -> None:
        """Enter a state because of an error."""
        self.state = state
        self.error = str(error) or type(error).__name__
        self.domain = error.domain if isinstance(error, JobError) else "internal"

    def entered(self, state: State) -> None:
        """Enter a state; the last error is over."""
        self.state = state
        self.error = self.domain = None
