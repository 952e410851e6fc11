# ruff: noqa: A002, PYI021 -- the compiled module has no other place for its contract; `filter` is what it is
"""The compiled core. Times are microseconds since 1970-01-01T00:00:00Z unless a name says otherwise."""

from collections.abc import Sequence
from typing import Any, Final, final

__all__ = [
    "REASONS",
    "ArrowBatch",
    "ChunkFold",
    "Core",
    "Flush",
    "Ingested",
    "blob_stats",
    "explain_reason",
    "record_values",
]

REASONS: Final[dict[int, str]]
"""Reason codes and their stable names, as in `fleetmeter_schemas.reasons`."""

def explain_reason(code: int) -> str:
    """What a reason code means, in words; ValueError for a code that no version has used."""

def blob_stats(blob: bytes) -> dict[str, int]:
    """What a blob holds, without its hash key: sequenced_events, foreign_ids, append_day (days since 1970-01-01 of the
    newest append time of its ids), hours (how many distinct event hours its foreign ids have). The empty blob has
    zeros. ValueError for a damaged blob or one of another version."""

def record_values(
    records: bytes, count: int
) -> tuple[list[bytes | None], int, list[tuple[int, list[tuple[str, bytes | None]]]]]:
    """Reads the uncompressed records of a Kafka record batch (message format v2), `count` by its header.

    Returns the values (None: a tombstone), how many bytes they have together, and (place in the list, headers) of each
    record that has headers. ValueError names the record that is damaged, and how; then nothing of the batch can be
    trusted.
    """

@final
class Core:
    """Judges, deduplicates and aggregates the events of one (topic, partition, epoch).

    Sequenced ids stay in memory as ranges, each incarnation with the append day of its last new event, until
    `forget_sequenced`. Foreign ids belong to *chunks*, which Python numbers as it likes: new ones go to the current
    chunk (a fresh core's is 0), an *exact* one. `set_chunk` puts a filter, or only the event hours, in the place of a
    chunk whose ids lie in the store: then it is *cold*. A foreign event that no exact chunk knows and that a cold one
    calls a maybe is *held*: it is neither accepted nor a duplicate until `resolve` says which.

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
        deduplicate: bool = True,
    ) -> Core:
        """`spec` is what `fleetmeter_schemas.native_spec()` gives, `hash_key` the 16 secret bytes of the ledger's ids.
        `deduplicate=False` takes every valid event as new and remembers no id: for those who judge events and don't
        count them (the HTTP ingest), and to measure what deduplication costs. No setting of a worker leads to it.

        ValueError says what is wrong with the spec, the key or a limit.
        """

    def ingest(self, values: list[bytes | None], base_offset: int, append_time_us: int) -> Ingested:
        """Judges and counts record values; `values[i]` has the offset `base_offset + i` (None: no value).

        Either everything of the call is counted or, on an exception, nothing. OverflowError: a sum of one group would
        pass 2^64 - 1; its message names the measure; flush, then call again. TypeError: a value is neither bytes nor
        None. Held events are in no count of the answer (but in `max_event_time_us`) until `resolve`.
        """

    def flush(self) -> Flush:
        """Takes the deltas since the last flush; counters and groups restart at zero, the ids stay known.

        RuntimeError while events are held: their offsets could not be told from counted ones.
        """

    def restore(self, blob: bytes) -> None:
        """Adds the ids of a committed blob (`Flush.blob`, `snapshot`, `ChunkFold.sequenced`), foreign ones to the
        current chunk; they are not part of the next flush.

        ValueError for a damaged blob, or one of another version or hash key; then nothing has changed.
        """

    def snapshot(self) -> bytes:
        """All ids that are known exactly, as one blob; equal ids (and days) give equal bytes. It has no event hours:
        `ChunkFold` takes it only if it has no foreign ids."""

    def begin_chunk(self, chunk: int) -> None:
        """From here on new and restored foreign ids go to the exact chunk `chunk`, a number from 0 to 2^64 - 1.

        The chunk before stays exact until `set_chunk` or `forget_chunk`, or vanishes if it is empty. Nothing happens if
        `chunk` is the current one. RuntimeError if something is pending or held (flush first): a commit's ids belong to
        one chunk. ValueError if there is a chunk of this number already.
        """

    def set_chunk(self, chunk: int, *, ids: int, hours: bytes, filter: bytes | None) -> None:
        """Makes `chunk` cold: what `ChunkFold` gave takes the place of its ids, whose memory is freed, or of what it
        was as a cold one before; or a cold chunk is added. May be called while events are pending or held.

        With `filter`, an id that it may contain is a maybe; it is not copied, but kept. Without (None: *by hour*), an
        event whose time lies in one of `hours`. ValueError, with nothing changed: the current chunk (begin another one
        first), hours or filter damaged, of another hash key, or not of `ids` ids.
        """

    def forget_chunk(self, chunk: int) -> None:
        """Forgets the ids of a chunk, exact or cold. ValueError for an unknown chunk and for the current one.

        Events that are held because of it stay held.
        """

    def forget_sequenced(self, before_day: int) -> int:
        """Forgets incarnations whose last new event was appended before this day (since 1970-01-01), and frees their
        memory; returns how many events they had."""

    floor_us: int
    """Events before this time are `too_old`, whatever the horizon (0 unless set): their ids may be forgotten."""

    def take_lookups(self) -> list[tuple[int, bytes]]:
        """The questions that held events raise and that were not taken yet: by cold chunk, ascending, the concatenated
        16-byte fingerprints to look for in it, as `ChunkFold.fingerprints` has them."""

    def resolve(self, known: bytes) -> Ingested:
        """Answers all lookups that were taken so far: `known` is the concatenated fingerprints that were found.

        The events behind them become duplicates, the others are accepted, in the order of their arrival; only they are
        in the counts of the answer. What was found is remembered for a while, so that a storm of resends asks once.
        As in `ingest`, all is counted or nothing. ValueError: a fingerprint that was not asked for, or half of one.
        OverflowError: a sum would pass 2^64 - 1; drop the core, restore it, and flush sooner.
        """

    def stats(self) -> dict[str, int]:
        """Sizes of the deduplication state.

        memory_bytes: all of it, that of held events too; exact_bytes: of foreign ids known exactly, and those of the
        next blob; filter_bytes: of cold chunks, hours included; sequenced_bytes. sequenced_incarnations,
        sequenced_ranges, sequenced_events. foreign_ids: known exactly; filtered_ids: behind filters; hourly_ids: of
        chunks by hour; chunks: all of them; held_events.
        """

    @property
    def held_events(self) -> int:
        """Events that wait for `resolve`; may be read while another thread calls."""

    @property
    def pending_events(self) -> int:
        """Events that came in since the last flush; may be read while another thread calls."""

    @property
    def pending_groups(self) -> int:
        """Rows that the next flush would have; may be read while another thread calls."""

@final
class Ingested:
    """What one call of `ingest` or `resolve` did."""

    @property
    def events_in(self) -> int:
        """accepted + duplicates + rejected."""

    @property
    def accepted(self) -> int: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def rejected(self) -> int:
        """Events, and records that could not be read as events, each counted once: as many as `rejections`."""

    @property
    def unknown_fields(self) -> int:
        """Unknown attributes, data keys and columns, and labels whose key is not allow-listed, of accepted events."""

    @property
    def overflowed_labels(self) -> int:
        """Accepted events whose label set was counted under `__other__`."""

    @property
    def max_event_time_us(self) -> int:
        """Largest time of accepted, duplicate and held events; 0 if there was none. An answer of `resolve` has 0: the
        answer of `ingest` told it."""

    @property
    def rejections(self) -> list[tuple[int, int, int, str, bytes]]:
        """(record_index, event_index, code, field, payload), in order. Of one record at most 10,000 refused events are
        told one by one; the next stands for all that follow: `too_large`, with the whole record as its payload.

        `field` is an attribute, `data.<name>`, or empty; `payload` the event's own bytes (a line, an array element, a
        whole record; an Arrow row as a structured CloudEvent).
        """

    @property
    def facts(self) -> list[tuple[int, int, bytes]]:
        """(record_index, event_index, event as structured CloudEvents JSON) of accepted events that do not roll up. In
        an answer of `resolve`, whose events come from many calls, the first number is the record's offset."""

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
class ChunkFold:
    """Folds committed blobs into what outlives them: a chunk of foreign ids, and the state of the sequenced ones.

    The same set of blobs gives the same bytes, in whatever order it was added. One thread at a time may call it; the
    GIL is released while it works. A chunk of 4 million ids takes about 200 MB while its filter is built.
    """

    def __new__(cls, hash_key: bytes) -> ChunkFold:
        """`hash_key`: the 16 secret bytes of the ledger's ids; else ValueError."""

    def add(self, blob: bytes) -> None:
        """Adds the ids of a committed blob, or of `sequenced`. ValueError, with nothing changed, for a damaged one, one
        of another version or hash key, or one with foreign ids but without their hours."""

    @property
    def foreign_ids(self) -> int:
        """Distinct foreign ids."""

    @property
    def sequenced_events(self) -> int:
        """Distinct sequenced ids."""

    def fingerprints(self) -> ArrowBatch:
        """One column `fingerprint` (fixed-size binary of 16 bytes, not null): the foreign ids, distinct, ascending by
        their bytes."""

    def hours(self) -> bytes:
        """The event hours of the foreign ids: hours since 1970-01-01, ascending, each a little-endian uint32."""

    def filter(self) -> bytes:
        """A binary fuse filter of the foreign ids: 16 bits a slot, about 2.25 bytes an id; says yes to every one of
        them, and to one in 65,536 others. RuntimeError if none could be built (never seen)."""

    def sequenced(self, before_day: int) -> bytes:
        """The sequenced ids with their days as a blob, without incarnations whose last new event was appended before
        `before_day` (days since 1970-01-01; 0 for all); empty if there are none."""

@final
class ArrowBatch:
    """A record batch for any Arrow library: `pyarrow.record_batch(batch)` takes it without a copy."""

    @property
    def num_rows(self) -> int: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[Any, Any]:
        """The Arrow PyCapsule interface: (schema, array). A requested schema is ignored, as the interface allows."""
