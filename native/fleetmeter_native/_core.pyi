# ruff: noqa: PYI021 -- the compiled module has no other place for its contract
"""The compiled core. Times are microseconds since 1970-01-01T00:00:00Z unless a name says otherwise."""

from collections.abc import Sequence
from typing import Any, Final, final

__all__ = ["REASONS", "ArrowBatch", "Core", "Flush", "Ingested", "explain_reason"]

REASONS: Final[dict[int, str]]
"""Reason codes and their stable names, as in `fleetmeter_schemas.reasons`."""

def explain_reason(code: int) -> str:
    """What a reason code means, in words; ValueError for a code that no version has used."""

@final
class Core:
    """Judges, deduplicates and aggregates the events of one (topic, partition, epoch).

    One thread at a time may call it (another one gets RuntimeError at once); the GIL is released while it works. After
    an error inside (a bug) it refuses further calls: make a new one and `restore` it.
    """

    def __new__(
        cls,
        spec: bytes,
        hash_key: bytes,
        *,
        horizon_us: int,
        future_us: int,
        record_limit_bytes: int,
        event_limit_bytes: int,
        label_keys: Sequence[str],
        label_sets_per_account_hour: int,
    ) -> Core:
        """`spec` is what `fleetmeter_schemas.native_spec()` gives, `hash_key` the 16 secret bytes of the ledger's ids.

        ValueError says what is wrong with the spec, the key or a limit.
        """

    def ingest(self, values: list[bytes | None], base_offset: int, append_time_us: int) -> Ingested:
        """Judges and counts record values; `values[i]` has the offset `base_offset + i` (None: no value).

        Either everything of the call is counted or, on an exception, nothing. OverflowError: a sum of one group would
        pass 2^64 - 1; its message names the measure; flush, then call again. TypeError: a value is neither bytes nor
        None.
        """

    def flush(self) -> Flush:
        """Takes the deltas since the last flush; counters and groups restart at zero, the ids stay known."""

    def restore(self, blob: bytes) -> None:
        """Adds the ids of a committed blob (of `Flush.blob` or `snapshot`); they are not part of the next flush.

        ValueError for a damaged blob, or one of another version or hash key; then nothing has changed.
        """

    def snapshot(self) -> bytes:
        """All ids that are known, as one blob; equal sets of ids give equal bytes."""

    def stats(self) -> dict[str, int]:
        """Sizes of the deduplication state: memory_bytes, sequenced_incarnations, sequenced_ranges, sequenced_events,
        foreign_ids."""

    @property
    def pending_events(self) -> int:
        """Events that came in since the last flush; may be read while another thread calls."""

    @property
    def pending_groups(self) -> int:
        """Rows that the next flush would have; may be read while another thread calls."""

@final
class Ingested:
    """What one call of `ingest` did."""

    @property
    def events_in(self) -> int:
        """accepted + duplicates + rejected."""

    @property
    def accepted(self) -> int: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def rejected(self) -> int:
        """Events, and records that could not be read as events, each counted once."""

    @property
    def unknown_fields(self) -> int:
        """Unknown attributes, data keys and columns, and labels whose key is not allow-listed, of accepted events."""

    @property
    def overflowed_labels(self) -> int:
        """Accepted events whose label set was counted under `__other__`."""

    @property
    def max_event_time_us(self) -> int:
        """Largest time of accepted and duplicate events; 0 if there was none."""

    @property
    def rejections(self) -> list[tuple[int, int, int, str, bytes]]:
        """(record_index, event_index, code, field, payload), in order.

        `field` is an attribute, `data.<name>`, or empty; `payload` the event's own bytes (a line, an array element, a
        whole record; an Arrow row as a structured CloudEvent).
        """

    @property
    def facts(self) -> list[tuple[int, int, bytes]]:
        """(record_index, event_index, event as structured CloudEvents JSON) of accepted events that do not roll up."""

@final
class Flush:
    """What a flush took out; the properties of the counts are those of `Ingested`, summed."""

    @property
    def events_in(self) -> int: ...
    @property
    def accepted(self) -> int: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def rejected(self) -> int: ...
    @property
    def unknown_fields(self) -> int: ...
    @property
    def overflowed_labels(self) -> int: ...
    @property
    def max_event_time_us(self) -> int: ...
    @property
    def blob(self) -> bytes:
        """The ids added since the last flush, packed; empty if there are none."""

    @property
    def usage(self) -> ArrowBatch:
        """event_type and account_id (dictionary of utf8), minute (uint32 epoch seconds), each ledger dimension
        (dictionary of utf8), each ledger measure (uint64), first_offset, next_offset (uint64)."""

    @property
    def subjects(self) -> ArrowBatch:
        """account_id (utf8), day (uint32 epoch days), subject_kind, subject (utf8), first_seen_us, last_seen_us
        (int64); distinct in a flush."""

@final
class ArrowBatch:
    """A record batch for any Arrow library: `pyarrow.record_batch(batch)` takes it without a copy."""

    @property
    def num_rows(self) -> int: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[Any, Any]:
        """The Arrow PyCapsule interface: (schema, array). A requested schema is ignored, as the interface allows."""
