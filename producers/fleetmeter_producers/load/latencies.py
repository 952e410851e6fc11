"""How long calls took: counts in buckets as wide as 1/32 of what they hold, so that hours of calls take a few KB."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Self

_SHARP_BITS: Final = 5
_SHARP: Final = 1 << _SHARP_BITS
_LARGEST_NS: Final = (1 << 40) - 1  # 18 minutes; what took longer counts as that


class Latencies:
    """A histogram of nanoseconds. Not thread-safe; those of several threads or processes add up by `merge`."""

    def __init__(self, counts: Iterable[int] = ()) -> None:
        self._counts = list(counts) or [0] * (_bucket(_LARGEST_NS) + 1)

    def add(self, ns: int) -> None:
        """One call took so long."""
        self._counts[_bucket(min(ns, _LARGEST_NS))] += 1

    @property
    def counts(self) -> list[int]:
        """The buckets, for whoever carries them to another process."""
        return list(self._counts)

    @property
    def calls(self) -> int:
        """How many there were."""
        return sum(self._counts)

    def merge(self, other: Latencies) -> Self:
        """Take in another one's calls."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        return self

    def at(self, share: float) -> float:
        """The time in microseconds within which this share of the calls, 0 to 1, was done; at most 1/32 too high. 0
        if there was no call."""
        wanted, seen = max(1, -int(-share * self.calls // 1)), 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return _upper(bucket) / 1000
        return 0.0


def _bucket(ns: int) -> int:
    """Below 64 ns each has its own; above, the six highest bits of a number say which."""
    shift = max(0, ns.bit_length() - _SHARP_BITS - 1)
    return (shift << _SHARP_BITS) + (ns >> shift)


def _upper(bucket: int) -> int:
    """The largest number in a bucket."""
    shift = max(0, (bucket >> _SHARP_BITS) - 1)
    return (bucket - (shift << _SHARP_BITS) + 1 << shift) - 1
