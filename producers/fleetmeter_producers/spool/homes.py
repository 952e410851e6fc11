"""The homes that an outbox reads from: those it adopted, by age, and then its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fleetmeter_producers.spool.home import Home, homes_in, sweep_unfinished
from fleetmeter_producers.spool.segment import Segment

_logger = logging.getLogger(__name__)

_ADOPTED_AT_MOST: Final = 32

# A position is (home, segment, offset) in one number, which keeps the order within a home.
_OFFSET_BITS: Final = 32
_SEGMENT_BITS: Final = 32


class Homes:
    """Not thread-safe, but for `find_orphans`, which changes nothing here."""

    def __init__(self, source_folder: Path) -> None:
        self.own: Home | None = None
        self._folder = source_folder
        self._by_key: dict[int, Home] = {}
        self._next_key = 0

    def __iter__(self) -> Iterator[Home]:
        """All of them, in the order of reading."""
        return iter(self._by_key.values())

    @property
    def adopted(self) -> list[Home]:
        """Those of dead processes."""
        return [home for home in self._by_key.values() if home is not self.own]

    def found_own(self) -> Home:
        """A home to write to. Raises OSError."""
        self.own = Home.create(self._folder)
        self._by_key[self._next_key] = self.own
        self._next_key += 1
        return self.own

    def adopt(self, home: Home) -> None:
        """Read from it after the others that were adopted, and before one's own."""
        own = {key: other for key, other in self._by_key.items() if other is self.own}
        adopted = {key: other for key, other in self._by_key.items() if other is not self.own}
        self._by_key = {**adopted, self._next_key: home, **own}
        self._next_key += 1

    def drop(self, home: Home) -> None:
        """Forget a home."""
        self._by_key = {key: other for key, other in self._by_key.items() if other is not home}

    def clear(self) -> None:
        """Forget all of them."""
        self._by_key = {}
        self.own = None

    def next_unread(self) -> tuple[Home, Segment, int] | None:
        """Where to read on: home, segment, and the position of the segment's first byte."""
        for key, home in self._by_key.items():
            segment = home.unread()
            if segment is not None:
                return home, segment, (key << _SEGMENT_BITS | segment.number) << _OFFSET_BITS
        return None

    def place(self, position: int) -> tuple[Home, int, int]:
        """(Home, segment number, offset) of a position."""
        rest, offset = position >> _OFFSET_BITS, position & (1 << _OFFSET_BITS) - 1
        return self._by_key[rest >> _SEGMENT_BITS], rest & (1 << _SEGMENT_BITS) - 1, offset

    def find_orphans(self) -> Iterator[Home]:
        """Homes of dead processes, locked for this one, the oldest first; a bounded number of them at a time."""
        sweep_unfinished(self._folder)
        known = {home.folder for home in self}
        room = _ADOPTED_AT_MOST - len(self.adopted)
        for folder in homes_in(self._folder):
            if room <= 0:
                return
            if folder in known:
                continue
            try:
                home = Home.adopt(folder)
            except OSError as error:
                _logger.warning("the spool %s, which another process left, can't be read: %s", folder, error)
                continue
            if home is not None:
                room -= 1
                yield home
