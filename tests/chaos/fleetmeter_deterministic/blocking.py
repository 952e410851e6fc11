"""Blocking calls of simulated processes: threads that run one at a time, and stop where the schedule wants them to.

Most of a schedule runs straight on; only where somebody is to stand still, a thread hands over. So the threads are kept
and reused, and a stop costs some microseconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from fleetmeter_doubles import Crashed

from fleetmeter_deterministic.virtual_time import Clock

_PATIENCE_S = 60.0
"""Real seconds after which a call that neither stops nor ends is a defect of the simulation."""


class Call:
    """One blocking call of a process. `done` is called with its outcome when it ends, not when it is killed."""

    def __init__(
        self, work: Callable[[], Any], done: Callable[[Any, BaseException | None], None], *, stops: bool = True
    ) -> None:
        self.at = "start"
        self.stops = stops
        """Whether it may stop on its way; one that does not needs no thread."""
        self.wake_at = 0.0
        """Not to be resumed before this moment: it sleeps."""
        self.ended = False
        self._work, self._done = work, done
        self._lane: _Lane | None = None
        self._dying = False

    def run(self) -> None:
        """Do the work; in a lane's thread, or in the hub's when it never stops."""
        result, error = None, None
        try:
            result = self._work()
        except Crashed:
            self.ended = True
            return
        except BaseException as raised:  # noqa: BLE001  (handed to whoever awaits the call)
            error = raised
        self.ended = True
        self._done(result, error)


class _Lane:
    """A thread that works for one call at a time."""

    def __init__(self) -> None:
        self.call: Call | None = None
        # Locks as signals, since a semaphore of Python's takes several: held until there is something to tell.
        self.go, self.back = threading.Lock(), threading.Lock()
        self.go.acquire()
        self.back.acquire()
        threading.Thread(target=self._run, daemon=True, name="lane").start()

    def _run(self) -> None:
        while True:
            self.go.acquire()
            if self.call is not None:
                self.call.run()
            self.back.release()


_FREE: list[_Lane] = []
"""Lanes without a call; shared by all worlds of the process, since starting threads costs more than using them."""


class Hub:
    """Gives calls their turns. `stops_at(point, label)` is asked at each point whether the running call stops there."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.running: Call | None = None
        self.stops_at: Callable[[str, str], bool] = lambda _point, _label: False

    def resume(self, call: Call) -> None:
        """Let the call run to where it stops next, or to its end."""
        if call.ended:
            raise RuntimeError("the call has ended")
        if not call.stops:
            call.run()
            return
        if call._lane is None:
            call._lane = _FREE.pop() if _FREE else _Lane()
            call._lane.call = call
        lane = call._lane
        self.running = call
        lane.go.release()
        if not lane.back.acquire(timeout=_PATIENCE_S):
            raise TimeoutError(f"a call neither stopped nor ended within {_PATIENCE_S} s after {call.at!r}")
        self.running = None
        if call.ended:
            lane.call = None
            call._lane = None
            _FREE.append(lane)

    def kill(self, call: Call) -> None:
        """The call's process dies where it stands."""
        if call._lane is None:
            call.ended = True
        elif not call.ended:
            call._dying = True
            self.resume(call)

    def point(self, name: str, label: str = "") -> None:
        """Called by the work: a place where the schedule may want it to stand still."""
        if self.running is not None and self.running._dying:
            raise Crashed
        if self.stops_at(name, label):
            self._stop(f"{name} {label}".rstrip())

    def sleep(self, seconds: float) -> None:
        """Called by the work: stand still until so much time has passed."""
        if self.running is not None:
            self.running.wake_at = self.clock.now + seconds
        self._stop("waiting")

    def _stop(self, where: str) -> None:
        call = self.running
        if call is None or call._lane is None:
            return
        call.at = where
        call._lane.back.release()
        call._lane.go.acquire()
        if call._dying:
            raise Crashed


class VirtualEvent(threading.Event):
    """An event whose `wait` takes virtual time."""

    def __init__(self, hub: Hub) -> None:
        super().__init__()
        self._hub = hub
        self._waiting: list[Call] = []

    def wait(self, timeout: float | None = None) -> bool:
        if not self.is_set() and self._hub.running is not None:
            self._waiting.append(self._hub.running)
            self._hub.sleep(timeout if timeout is not None else float("inf"))
        return self.is_set()

    def set(self) -> None:
        super().set()
        for call in self._waiting:
            call.wake_at = 0.0
        self._waiting.clear()
