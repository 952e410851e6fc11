"""The native core, as far as remembering goes (see `fleetmeter_native`), so that a test can stand in for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Fold(Protocol):
    """`fleetmeter_native.ChunkFold`."""

    @property
    def foreign_ids(self) -> int: ...
    @property
    def sequenced_events(self) -> int: ...
    def add(self, blob: bytes) -> None: ...
    def fingerprints(self) -> Any: ...
    def hours(self) -> bytes: ...
    def filter(self) -> bytes: ...
    def sequenced(self, before_day: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Native:
    """What is needed beside a core."""

    fold: Callable[[bytes], Fold]
    """Takes the hash key."""
    blob_stats: Callable[[bytes], Mapping[str, int]]
