"""Where sources moved, for audits: which copies of an event in two partitions were counted once all the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fleetmeter_jobs.ledger.growth import FENCE, read_topology
from fleetmeter_jobs.ledger.store import LedgerStore

Copy = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True, slots=True)
class Move:
    """The sections of one growth (see `growth`), by partition."""

    starts: Mapping[int, int]
    ends: Mapping[int, int]

    def meet(self, one: Copy, other: Copy) -> bool:
        """Whether the copy that was counted later was recognised: not both lie before the sections, and not both
        behind them."""
        copies = one, other
        before = all(offset < self.starts.get(partition, 0) for partition, offset in copies)
        behind = all(offset >= self.ends.get(partition, 0) for partition, offset in copies)
        return not before and not behind


def read_moves(store: LedgerStore, topic: str) -> list[Move]:
    """Of all growths whose sections have an end. Raises what the store raises."""
    growths = [one for one in read_topology(store, topic).growths if one.ends is not None]
    closed = {one.nonce: one for one in store.topic_decisions(topic)} if growths else {}
    moves = []
    for growth in growths:
        starts = {}
        for number in range(growth.new_partitions):
            fence = closed.get(growth.nonce(FENCE, number))
            starts[number] = fence.first_offset if fence else store.epochs(topic, number)[0][1].first_offset
        moves.append(Move(starts, dict(enumerate(growth.ends or ()))))
    return moves


def counted_copies(copies: Mapping[int, int], moves: Sequence[Move]) -> dict[int, int]:
    """Of an event's first copies by partition those that were counted: the others were recognised as copies."""
    counted: dict[int, int] = {}
    for copy in copies.items():
        if not any(move.meet(copy, other) for move in moves for other in counted.items()):
            counted[copy[0]] = copy[1]
    return counted
