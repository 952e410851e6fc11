"""Sequenced ids: `<ULID of the incarnation>-<sequence>`, from 0, without a gap.

A worker remembers such ids as (source, ULID) -> ranges of numbers, so that a month of them costs it a few bytes. The
promise behind it: within one source, an incarnation gives a number once. An incarnation is therefore never shared by
two processes: whoever forks makes a new one.
"""

from __future__ import annotations

import itertools

from fleetmeter_producers.ulid import new_ulid


class Incarnation:
    """One life of one client: its name, and the ids it has given. Safe to use from many threads, and from what
    interrupts one of them: there is no lock, since a count gives each number once."""

    def __init__(self, ulid: str | None = None) -> None:
        self.ulid = new_ulid() if ulid is None else ulid
        self._sequences = itertools.count()

    def next_id(self) -> str:
        """The next id; no other call, here or in another incarnation, returns it."""
        return f"{self.ulid}-{next(self._sequences)}"
