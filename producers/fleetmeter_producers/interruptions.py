"""Events that are emitted in the middle of the client's own work, by the very thread that does it.

Garbage collection may begin wherever something is allocated, also while a lock of the client is held; and it may close
a stream that its caller dropped, whose usage is then emitted. A handler of a signal may do the same. To wait for that
lock would be for ever, and to go on without it would be in the middle of a write. So such an event is set aside, in
memory, and accepted by the first of: the thread that was interrupted, before its call of the client returns; any other
thread that leaves the client; the thread that sends, with its next turn, a second later at most. Only a kill within
that time takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import get_ident


class Interruptions:
    """Which threads are inside of a client (`with` it), and what came in between. Waits for no lock of Python's.

    `accept` takes one event that was set aside; it is called inside.
    """

    def __init__(self, accept: Callable[[bytes], None]) -> None:
        self._accept = accept
        self._depths: dict[int, int] = {}
        self._aside: SimpleQueue[bytes] = SimpleQueue()  # its put may interrupt itself, as the library promises
        self._afterwards: dict[int, list[Callable[[], object]]] = {}

    def __enter__(self) -> None:
        thread = get_ident()
        self._depths[thread] = self._depths.get(thread, 0) + 1

    def __exit__(self, *_: object) -> None:
        thread = get_ident()
        while True:
            depth = self._depths[thread] - 1
            if depth:
                self._depths[thread] = depth
                return
            try:
                if not self._aside.empty():
                    self.accept_all()
            finally:
                del self._depths[thread]
            if self._aside.empty():
                break
            self._depths[thread] = 1  # once more: it was interrupted on the way out
        for work in self._afterwards.pop(thread, ()):
            work()

    def __bool__(self) -> bool:
        """Whether this thread is inside: then it is interrupted."""
        return get_ident() in self._depths

    def put_aside(self, value: bytes) -> None:
        """Keep an event until somebody leaves."""
        self._aside.put(value)

    def afterwards(self, work: Callable[[], object]) -> None:
        """Have this thread, which is inside, do something as soon as it is outside, before its call returns."""
        self._afterwards.setdefault(get_ident(), []).append(work)

    def accept_all(self) -> None:
        """Have what was set aside accepted, the oldest first; from inside."""
        while True:
            try:
                value = self._aside.get_nowait()
            except Empty:
                return
            self._accept(value)
