"""The toy core's blobs and folds. A value is an identity; those that begin with `s` are sequenced, others foreign.

A blob names its append day, and each identity with the hour of its event; a fingerprint is a hash of the value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
from fleetmeter_jobs.ledger.dedup.native import Native

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


def is_sequenced(value: bytes) -> bool:
    return value.startswith(b"s")


def event_time_us(value: bytes, append_time_us: int) -> int:
    """`value@h` happened h hours before it was appended, others a second before."""
    _, _, hours = value.partition(b"@")
    return append_time_us - (int(hours) * HOUR_US if hours else 1_000_000)


def identity(value: bytes) -> bytes:
    """Without the time."""
    return value.partition(b"@")[0]


def fingerprint(value: bytes) -> bytes:
    return hashlib.md5(identity(value), usedforsecurity=False).digest()


def pack(day: int, identities: Mapping[bytes, int]) -> bytes:
    """A blob: identities with the hour, or for sequenced ones the day, that belongs to each."""
    if not identities:
        return b""
    return b"\n".join([b"%d" % day, *(b"%s %d" % (name, number) for name, number in identities.items())])


def unpack(blob: bytes) -> tuple[int, dict[bytes, int]]:
    if not blob:
        return 0, {}
    day, *lines = blob.split(b"\n")
    pairs = [line.rpartition(b" ") for line in lines]
    return int(day), {name: int(number) for name, _, number in pairs}


def blob_stats(blob: bytes) -> dict[str, int]:
    day, identities = unpack(blob)
    sequenced = sum(is_sequenced(name) for name in identities)
    hours = {number for name, number in identities.items() if not is_sequenced(name)}
    return {
        "sequenced_events": sequenced,
        "foreign_ids": len(identities) - sequenced,
        "append_day": day,
        "hours": len(hours),
    }


class ToyFold:
    """As `fleetmeter_native.ChunkFold`."""

    def __init__(self, _hash_key: bytes) -> None:
        self._foreign: dict[bytes, int] = {}
        self._sequenced: dict[bytes, int] = {}

    def add(self, blob: bytes) -> None:
        for name, number in unpack(blob)[1].items():
            (self._sequenced if is_sequenced(name) else self._foreign)[name] = number

    @property
    def foreign_ids(self) -> int:
        return len(self._foreign)

    @property
    def sequenced_events(self) -> int:
        return len(self._sequenced)

    def fingerprints(self) -> pa.RecordBatch:
        found = sorted(fingerprint(name) for name in self._foreign)
        return pa.record_batch({"fingerprint": pa.array(found, pa.binary(16))})

    def hours(self) -> bytes:
        return pack_hours(self._foreign.values())

    def filter(self) -> bytes:
        """The first byte of each fingerprint: right for all of them, and for many others."""
        return bytes(sorted({fingerprint(name)[0] for name in self._foreign}))

    def sequenced(self, before_day: int) -> bytes:
        kept = {name: day for name, day in self._sequenced.items() if day >= before_day}
        return pack(max(kept.values(), default=0), kept)


def pack_hours(hours: Iterable[int]) -> bytes:
    return b"".join(hour.to_bytes(4, "little") for hour in sorted(set(hours)))


def unpack_hours(packed: bytes) -> set[int]:
    return {int.from_bytes(packed[at : at + 4], "little") for at in range(0, len(packed), 4)}


TOY_NATIVE: Any = Native(ToyFold, blob_stats)
