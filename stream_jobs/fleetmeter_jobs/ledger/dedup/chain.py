"""Which chunks to believe, of those that the store has: a chain from the log's start that reaches as far as one can.

Rivals with other settings may have cut otherwise, so that chunks overlap. Any gapless row of them is right, for each
was folded from committed blobs. The furthest that ends at a state of the sequenced ids is taken, since blobs are
deleted up to the end of a chain that was read back, and never further.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fleetmeter_jobs.ledger.dedup.chunks import DAY_US
from fleetmeter_jobs.ledger.dedup.manifest import Kind, Manifest

_FUTURE_LIMIT_US = DAY_US
"""The largest future limit that the settings allow, so that a floor holds whatever it was when events were counted."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Everything that was counted in `start` up to `end` is in these."""

    start: int
    end: int
    links: tuple[Manifest, ...] = ()
    """Chunks, remembered or forgotten, each beginning where the one before ended."""
    sequenced: Manifest | None = None
    """State of the sequenced ids at the end; None if the chain is empty."""

    @property
    def chunks(self) -> tuple[Manifest, ...]:
        """Those that are remembered."""
        return tuple(link for link in self.links if link.kind is Kind.CHUNK)

    @property
    def identities_ever(self) -> int:
        """Events accepted before the end."""
        return self.sequenced.identities_ever if self.sequenced else 0

    @property
    def floor_us(self) -> int:
        """An event before this time may have been counted and forgotten; 0 if nothing was forgotten."""
        days = [link.append_day + 1 for link in self.links if link.kind is Kind.FORGOTTEN]
        return floor_of(max([*days, self.sequenced.forgotten_before if self.sequenced else 0], default=0))


def floor_of(forgotten_before: int) -> int:
    """The time before which events may be forgotten, if those that were appended before a day are; 0 for 0."""
    return forgotten_before * DAY_US + _FUTURE_LIMIT_US if forgotten_before else 0


def select_chain(manifests: Iterable[Manifest], start: int) -> Chain:
    """The chain from `start` that reaches furthest; the same for whoever sees the same manifests, in any order."""
    links: dict[tuple[int, int], Manifest] = {}
    states: dict[int, Manifest] = {}
    for one in sorted(manifests, key=lambda one: (one.kind, one.forgotten_before, one.digest)):
        # Of several versions the last stays: forgotten before remembered, for its ids may be deleted already.
        if one.kind is Kind.SEQUENCED:
            states[one.next_offset] = one
        else:
            links[one.first_offset, one.next_offset] = one
    reached_by: dict[int, Manifest | None] = {start: None}
    for (first, after), link in sorted(links.items()):
        if first in reached_by:
            reached_by.setdefault(after, link)
    end = max((offset for offset in reached_by if offset in states), default=start)
    return Chain(start, end, tuple(_way_back(reached_by, end)), states[end] if end != start else None)


def _way_back(reached_by: dict[int, Manifest | None], end: int) -> list[Manifest]:
    way: list[Manifest] = []
    link = reached_by[end]
    while link is not None:
        way.append(link)
        link = reached_by[link.first_offset]
    return way[::-1]
