"""Events that are emitted in the middle of the client's own work, by the very thread that does it.

Garbage collection may begin wherever something is allocated, also while a lock of the client is held; and it may close
a stream that its caller dropped, whose usage is then emitted. A handler of a signal may do the same. To wait for that
lock would be for ever, and to go on without it would be in the middle of a write. So such an event is set aside, and
accepted a moment later: by the thread that sends, or when the client is closed.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from threading import get_ident


class Interruptions:
    """Which threads are inside of a client (`with` it), and what came in between. Waits for no lock of Python's."""

    def __init__(self) -> None:
        self._depths: dict[int, int] = {}
        self._aside: SimpleQueue[bytes] = SimpleQueue()  # its put may interrupt itself, as the library promises

    def __enter__(self) -> None:
        thread = get_ident()
        self._depths[thread] = self._depths.get(thread, 0) + 1

    def __exit__(self, *_: object) -> None:
        thread = get_ident()
        depth = self._depths[thread] - 1
        if depth:
            self._depths[thread] = depth
        else:
            del self._depths[thread]

    def __bool__(self) -> bool:
        """Whether this thread is inside: then it is interrupted."""
        return get_ident() in self._depths

    def put_aside(self, value: bytes) -> None:
        """Keep an event for later."""
        self._aside.put(value)

    def take(self) -> bytes | None:
        """The oldest event that was set aside; None if there is none."""
        try:
            return self._aside.get_nowait()
        except Empty:
            return None
