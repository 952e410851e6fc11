"""Asking a restored state whether events were counted: for audits, which have time to wait for each lookup."""

from __future__ import annotations

from typing import Any

from fleetmeter_jobs.ledger.dedup.restore import Restored
from fleetmeter_jobs.ledger.dedup.store import DedupStore


class KnownEvents:
    """What a partition counted, as a core that answers; nothing of it is ever committed."""

    def __init__(self, restored: Restored, store: DedupStore) -> None:
        self._core, self._book, self._store = restored.core, restored.book, store

    def ingest(self, values: list[bytes | None], base_offset: int, append_time_us: int) -> Any:
        """Ask about record values. See `fleetmeter_native.Core.ingest`; events that are held are in no count yet."""
        return self._core.ingest(values, base_offset, append_time_us)

    def flush(self) -> Any:
        """The counts since the last flush, once the store has answered for what is held. Raises what it raises."""
        while self._core.held_events:
            known = []
            for number, fingerprints in self._core.take_lookups():
                chunk = self._book.chunk_of(number)
                if chunk is not None:
                    known.append(
                        self._store.known_ids(chunk.partition, chunk.first_offset, chunk.next_offset, fingerprints)
                    )
            self._core.resolve(b"".join(known))
        return self._core.flush()
