"""Trying again: how long to wait, and how to be told to stop."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from fleetmeter_jobs.ledger.errors import CommitAbandonedError, StoreUnavailableError

T = TypeVar("T")


class Cancel(Protocol):
    """Tells a commit to give up. A `threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether to give up."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait so many seconds, or until told to give up; the answer is `is_set()`."""
        ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between tries: doubling from `first_s` to `limit_s`, each shortened by up to half at random, so that many
    workers don't come back in step."""

    first_s: float = 0.2
    limit_s: float = 15.0
    random: Callable[[], float] = field(default=random.random)

    def wait_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row (from 1), in seconds."""
        longest = min(self.limit_s, self.first_s * 2.0 ** min(failures - 1, 40))
        return longest * (1 - self.random() / 2)


def pause(cancel: Cancel, seconds: float, doing: str) -> None:
    """Wait; raises CommitAbandonedError when told to give up meanwhile."""
    if cancel.wait(seconds):
        raise CommitAbandonedError(f"told to stop while {doing}; whether it took effect is read back at the next start")


def until_answered(
    call: Callable[[], T],
    cancel: Cancel,
    backoff: Backoff,
    doing: str,
    on_error: Callable[[StoreUnavailableError], None] = lambda _error: None,
) -> T:
    """The answer of an idempotent call, tried until the store gives one or `cancel` is set."""
    failures = 0
    while True:
        if cancel.is_set():
            raise CommitAbandonedError(f"told to stop before {doing}")
        try:
            return call()
        except StoreUnavailableError as error:
            on_error(error)
            failures += 1
            pause(cancel, backoff.wait_s(failures), doing)
