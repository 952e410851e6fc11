"""Threads that run one at a time, and only when told to: any interleaving of blocking code, repeatable."""

from __future__ import annotations

import threading
from collections.abc import Callable

_PATIENCE_S = 20.0


class Crashed(BaseException):
    """The thread's process has died where it stood. Not an Exception, so that nothing on its way handles it."""


class Turn:
    """One blocking piece of work, which stops wherever it calls `pause` until it is given the next turn."""

    _of_thread = threading.local()

    def __init__(self, work: Callable[[], object]) -> None:
        self.result: object = None
        self.error: BaseException | None = None
        self.at = "start"
        self._work = work
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self._dying = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Whether the work has come to an end."""
        return self.at == "end"

    def step(self) -> str:
        """Let it run to its next pause, whose name is returned, or to its "end"."""
        if self.done:
            raise RuntimeError("the work has ended")
        self._go.release()
        if not self._stopped.acquire(timeout=_PATIENCE_S):
            raise TimeoutError(f"no pause within {_PATIENCE_S} s after {self.at!r}")
        if self.error is not None and not isinstance(self.error, Crashed):
            raise self.error
        return self.at

    def crash(self) -> None:
        """Kill it where it stands."""
        if not self.done:
            self._dying = True
            self.step()

    @classmethod
    def pause(cls, name: str) -> None:
        """Called by the work: hand the turn back. Outside of a Turn it does nothing."""
        turn = getattr(cls._of_thread, "turn", None)
        if turn is not None:
            turn._pause(name)

    def _pause(self, name: str) -> None:
        if self._dying:
            raise Crashed
        self.at = name
        self._stopped.release()
        self._go.acquire()
        if self._dying:
            raise Crashed

    def _run(self) -> None:
        self._of_thread.turn = self
        self._go.acquire()
        try:
            if not self._dying:
                self.result = self._work()
        except BaseException as error:  # noqa: BLE001  (handed to whoever gives the turns)
            self.error = error
        finally:
            self.at = "end"
            self._stopped.release()


class TurnCancel:
    """A `Cancel` whose waits are pauses, so that no time passes in them. More than `limit` waits are an error: nothing
    comes of them any more."""

    def __init__(self, limit: int = 1000) -> None:
        self.cancelled = False
        self.limit = limit
        self.waits: list[float] = []

    def is_set(self) -> bool:
        return self.cancelled

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout or 0.0)
        if len(self.waits) > self.limit:
            raise AssertionError(f"{self.limit} waits and no end of it")
        Turn.pause("wait")
        return self.cancelled
