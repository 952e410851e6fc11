"""Memory for requests, counted in bytes: what does not fit is sent away at once and never piles up."""

from __future__ import annotations

import threading
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

from fleetmeter_producers.ingest.problem import Problem

REQUEST_BYTES: Final = 16 * 1024
"""What a request takes beside its body: handler, connection, headers."""


class Room:
    """So many bytes for all requests together. Any thread may take from it."""

    def __init__(self, limit_bytes: int, retry_after_s: int) -> None:
        self.limit_bytes = limit_bytes
        self.taken_bytes = 0
        self._retry_after_s = retry_after_s
        self._lock = threading.Lock()

    def share(self) -> Share:
        """The place of one request; given back when its `with` ends."""
        return Share(self)

    def take(self, count: int) -> None:
        """Take bytes; raises `Problem` 503 with Retry-After if there are not so many."""
        with self._lock:
            if self.taken_bytes + count <= self.limit_bytes:
                self.taken_bytes += count
                return
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "too much is waiting for Kafka; nothing of this request was taken. Send it again later, with the same ids",
            headers={"Retry-After": str(self._retry_after_s)},
        )

    def give_back(self, count: int) -> None:
        """Give bytes back."""
        with self._lock:
            self.taken_bytes -= count


class Share:
    """What one request has taken."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._taken = 0

    def __enter__(self) -> Self:
        self.take(REQUEST_BYTES)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.give_back(self._taken)
        self._taken = 0

    def take(self, count: int) -> None:
        """Take more bytes; raises `Problem` as `Room.take`."""
        self._room.take(count)
        self._taken += count

    def give_back(self, count: int) -> None:
        """Give back some of what was taken, and not needed after all."""
        self._room.give_back(count)
        self._taken -= count
