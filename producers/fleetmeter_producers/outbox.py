"""Where events wait between `emit` and the broker's acknowledgement.

`Outbox` is the seam: `emit` appends to it, the sender takes from it, and an entry leaves it only when the broker has
acknowledged its record. `MemoryOutbox` keeps the entries in the process, so they are lost with it; one that keeps them
on disk has the same contract and survives.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

ENTRY_OVERHEAD_BYTES: Final = 256
"""What an entry costs in memory beside its value; counted against the limit, so that the limit is an honest one."""


class Entry(NamedTuple):
    """One event that waits: its place in the order of `append`, and the bytes to send."""

    position: int
    value: bytes


class Pending(NamedTuple):
    """What an outbox holds: events that were accepted and not yet acknowledged, and the bytes they take."""

    events: int
    bytes: int


class Outbox(Protocol):
    """The contract. All methods may be called from any thread; none touches the network."""

    trouble: str | None
    """Why the last event could not be kept, if it was not for lack of room."""
    recovered: int
    """Events of earlier processes that were found and are sent."""
    damaged: int
    """Events that were accepted and can't be read any more."""

    def append(self, value: bytes, wait_s: float) -> bool:
        """Accept an event, waiting up to `wait_s` for room. False: there was none, and nothing was kept."""

    def take(self, most: int, wait_s: float) -> list[Entry]:
        """The oldest entries that are not being sent, at most `most`; waits up to `wait_s` for the first. They stay in
        the outbox until acknowledged."""

    def acknowledge(self, positions: Sequence[int]) -> None:
        """The broker has the entries: they leave the outbox."""

    def give_back(self, positions: Iterable[int]) -> None:
        """The entries were not delivered: they will be taken again, before newer ones."""

    def wait_drained(self, wait_s: float) -> bool:
        """Wait until everything appended before this call is acknowledged; False if it was not in time."""

    def wake(self) -> None:
        """Let a waiting `take` return at once."""

    def pending(self) -> Pending:
        """What was accepted and not yet acknowledged."""

    def is_filling(self) -> bool:
        """Whether more than half of its room is taken. Waits for nothing."""

    def has_orphans(self) -> bool:
        """Whether earlier processes left something that `take` will find."""

    def close(self) -> None:
        """Nothing more will be asked of it: let go of what it holds. What outlives the process stays."""

    def abandon(self) -> None:
        """In a forked child: let go of what belongs to the parent, and leave it as it is."""


class MemoryOutbox:
    """An outbox in memory, bounded by bytes (values and bookkeeping). It lives and dies with the process."""

    def __init__(self, limit_bytes: int) -> None:
        self.trouble: str | None = None
        self.recovered = 0
        self.damaged = 0
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # for take
        self._room = threading.Condition(self._lock)  # for append
        self._drain = threading.Condition(self._lock)  # for wait_drained
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._ready: deque[int] = deque()
        self._next_position = 0
        self._bytes = 0
        self._woken = False

    def append(self, value: bytes, wait_s: float) -> bool:
        cost = len(value) + ENTRY_OVERHEAD_BYTES
        with self._lock:
            if self._bytes + cost > self._limit_bytes and not (
                wait_s > 0 and self._room.wait_for(lambda: self._bytes + cost <= self._limit_bytes, wait_s)
            ):
                return False
            # Whole before the first call, at which a signal's handler may raise.
            position = self._next_position
            self._next_position += 1
            self._kept[position] = value
            self._bytes += cost
            self._ready.append(position)
            self._work.notify()
            return True

    def take(self, most: int, wait_s: float) -> list[Entry]:
        with self._lock:
            if not self._ready and wait_s > 0:
                self._work.wait_for(lambda: self._ready or self._woken, wait_s)
            self._woken = False
            count = min(most, len(self._ready))
            positions = [self._ready.popleft() for _ in range(count)]
            return [Entry(position, self._kept[position]) for position in positions]

    def acknowledge(self, positions: Sequence[int]) -> None:
        with self._lock:
            for position in positions:
                self._bytes -= len(self._kept.pop(position)) + ENTRY_OVERHEAD_BYTES
            self._room.notify(len(positions))
            self._drain.notify_all()

    def give_back(self, positions: Iterable[int]) -> None:
        with self._lock:
            # Older entries first, whatever the order in which the broker refused them.
            self._ready.extendleft(sorted(positions, reverse=True))
            self._work.notify()

    def wait_drained(self, wait_s: float) -> bool:
        with self._lock:
            end = self._next_position
            return self._drain.wait_for(lambda: not self._kept or next(iter(self._kept)) >= end, wait_s)

    def wake(self) -> None:
        with self._lock:
            self._woken = True
            self._work.notify_all()

    def pending(self) -> Pending:
        with self._lock:
            return Pending(len(self._kept), self._bytes)

    def is_filling(self) -> bool:
        return 2 * self._bytes > self._limit_bytes

    def has_orphans(self) -> bool:
        return False

    def close(self) -> None:
        """There is nothing to let go of."""

    def abandon(self) -> None:
        """The memory is the child's own."""
