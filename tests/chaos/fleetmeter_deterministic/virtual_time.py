"""Time that passes only when told to, and an event loop that lives in it."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_TICK_S = 1e-6


class Clock:
    """Seconds since the world began, and the wall clock (UTC, epoch ms) that all machines of it share."""

    def __init__(self, start_ms: int) -> None:
        self.now = 0.0
        self._start_ms = start_ms

    def wall_ms(self) -> int:
        """Epoch milliseconds."""
        return self._start_ms + round(self.now * 1000)

    def monotonic(self) -> float:
        """As `time.monotonic`, in seconds."""
        return self.now

    def advance(self, to: float) -> None:
        """Let time pass up to `to`; never back."""
        self.now = max(self.now, to)

    def tick(self) -> None:
        """Work takes time too: where none passes, rounding can make a deadline that is never quite reached."""
        self.now += _TICK_S


class VirtualLoop(asyncio.AbstractEventLoop):
    """One process's event loop, moved on from outside, a round of ready callbacks at a time.

    As much of the interface as tasks, futures, time-outs and synchronisation need. After `kill` nothing runs any more:
    what garbage collection does to the tasks of a dead process has no effects.
    """

    def __init__(self, clock: Clock, on_defect: Callable[[dict[str, Any]], None]) -> None:
        self.ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._clock, self._on_defect = clock, on_defect
        self._dead = False

    # What moves it

    def run_ready(self) -> bool:
        """Run what is ready now, as one iteration of asyncio's loop does. False if there was nothing."""
        self._clock.tick()
        while self._timers and self._timers[0][0] <= self._clock.now:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled():
                self.ready.append(timer)
        if not self.ready:
            return False
        events._set_running_loop(self)
        try:
            for _ in range(len(self.ready)):
                if not self.ready:
                    break  # killed from within
                handle = self.ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            events._set_running_loop(None)
        return True

    def next_timer(self) -> float | None:
        """When the next timer is due."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def kill(self) -> None:
        """The process is gone."""
        self._dead = True
        self.ready.clear()
        self._timers.clear()

    # What asyncio needs of a loop

    def time(self) -> float:
        return self._clock.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if not self._dead:
            self.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        if not self._dead:
            heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._clock.now + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when they are due."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **_options: Any,
    ) -> asyncio.Task[T]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._dead:
            self._on_defect(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._dead

    def is_closed(self) -> bool:
        return False
