"""Foreign ids in chunks: exact, cold behind a filter or behind hours; what is held until the store has answered."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from typing import Any

import fleetmeter_native
import pyarrow as pa
import pytest
from fleetmeter_native import ChunkFold, Core, Ingested

APPEND_US = 1_772_366_400_000_000
APPEND_DAY = APPEND_US // 86_400_000_000
KEY = b"k" * 16
ULID = "01JD8Z5W8Q3K6V9XKQ2N4T7RYB"
MakeCore = Callable[..., Core]
Event = dict[str, Any]
MakeEvent = Callable[..., Event]


def _ingest(core: Core, events: Iterable[Event], base_offset: int = 0) -> Ingested:
    return core.ingest([json.dumps(event).encode() for event in events], base_offset, APPEND_US)


def _counts(answer: Ingested) -> tuple[int, int, int]:
    return answer.accepted, answer.duplicates, answer.rejected


def _fold(*blobs: bytes) -> ChunkFold:
    fold = ChunkFold(KEY)
    for blob in blobs:
        fold.add(blob)
    return fold


def _chill(core: Core, fold: ChunkFold, chunk: int, *, by_hour: bool = False) -> None:
    core.set_chunk(chunk, ids=fold.foreign_ids, hours=fold.hours(), filter=None if by_hour else fold.filter())


def _stored(fold: ChunkFold) -> list[bytes]:
    rows: list[bytes] = pa.record_batch(fold.fingerprints()).column("fingerprint").to_pylist()
    return rows


def _look_up(core: Core, store: dict[int, ChunkFold]) -> Ingested:
    """What a job does: ask each chunk's rows in the store."""
    found = []
    for chunk, asked in core.take_lookups():
        rows = set(_stored(store[chunk])) if chunk in store else set()
        each = [asked[at : at + 16] for at in range(0, len(asked), 16)]
        assert len(set(each)) == len(each), "nothing is asked twice"
        found += [one for one in each if one in rows]
    return core.resolve(b"".join(found))


@pytest.fixture
def cold(make_core: MakeCore, make_event: MakeEvent) -> tuple[Core, dict[int, ChunkFold]]:
    """A core whose chunk 0 is cold and has the ids f0..f99 of 11:59, and the store that has them."""
    core = make_core()
    _ingest(core, [make_event(f"f{n}") for n in range(100)])
    fold = _fold(core.flush().blob)
    core.begin_chunk(7)
    _chill(core, fold, 0)
    return core, {0: fold}


def test_a_late_resend_is_held_and_found_to_be_a_duplicate(
    cold: tuple[Core, dict[int, ChunkFold]], make_event: MakeEvent
) -> None:
    core, store = cold
    stats = core.stats()
    assert (stats["chunks"], stats["foreign_ids"], stats["filtered_ids"], stats["hourly_ids"]) == (2, 0, 100, 0)
    late = make_event("f5", envelope={"time": "2026-03-01T11:30:00Z"})
    answer = _ingest(core, [late, make_event("new"), late], 1000)
    assert (_counts(answer), answer.events_in, core.pending_events) == ((1, 1, 0), 2, 2)
    assert (core.held_events, core.stats()["held_events"]) == (1, 1)
    assert answer.max_event_time_us == APPEND_US - 30_000_000
    assert _counts(_ingest(core, [late], 1003)) == (0, 1, 0), (
        "a second one is a duplicate, whatever becomes of the first"
    )
    with pytest.raises(RuntimeError, match="1 events are held"):
        core.flush()
    with pytest.raises(RuntimeError, match="held"):
        core.begin_chunk(9)
    answer = _look_up(core, store)
    assert (_counts(answer), answer.events_in, core.held_events) == ((0, 1, 0), 1, 0)
    flush = core.flush()
    assert (flush.events_in, flush.accepted, flush.duplicates) == (4, 1, 3)
    assert fleetmeter_native.blob_stats(flush.blob)["foreign_ids"] == 1


def test_a_found_id_is_not_asked_for_again_and_is_no_new_identity(
    cold: tuple[Core, dict[int, ChunkFold]], make_core: MakeCore, make_event: MakeEvent
) -> None:
    core, store = cold
    storm = [make_event(f"f{n}") for n in range(100)]
    assert _counts(_ingest(core, storm)) == (0, 0, 0)
    assert _counts(_look_up(core, store)) == (0, 100, 0)
    for _ in range(3):
        assert _counts(_ingest(core, storm)) == (0, 100, 0)
        assert core.take_lookups() == []
    flush = core.flush()
    assert (flush.blob, flush.duplicates, core.stats()["foreign_ids"]) == (b"", 400, 0)
    assert core.snapshot() == make_core().snapshot()
    core.begin_chunk(8)
    assert _counts(_ingest(core, storm)) == (0, 100, 0), "a new chunk changes nothing"
    core.forget_chunk(0)
    assert _counts(_ingest(core, storm)) == (100, 0, 0), "a forgotten chunk's ids are free, recalled or not"


def test_by_hour_only_the_counted_time_is_a_maybe(make_core: MakeCore, make_event: MakeEvent) -> None:
    core = make_core()
    _ingest(core, [make_event("x"), make_event("y", envelope={"time": "2026-03-01T11:00:00Z"})])
    store = {0: _fold(core.flush().blob)}
    core.begin_chunk(1)
    _chill(core, store[0], 0, by_hour=True)
    assert core.stats()["hourly_ids"] == 2
    assert _counts(_ingest(core, [make_event("x"), make_event("z"), make_event("late", envelope=_at("12:00:01"))])) == (
        1,
        0,
        0,
    )
    assert _counts(_look_up(core, store)) == (1, 1, 0)
    _chill(core, store[0], 0)
    assert core.stats()["hourly_ids"] == 0
    assert _counts(_ingest(core, [make_event("y", envelope=_at("11:59:59"))])) == (0, 0, 0), "a filter knows any time"
    assert _counts(_look_up(core, store)) == (0, 1, 0)


def _at(clock: str) -> Event:
    return {"time": f"2026-03-01T{clock}Z"}


def _everything_is_a_maybe(core: Core) -> Core:
    """Puts a chunk by hour beside it, of every hour that an event of these tests has."""
    hours = b"".join((APPEND_US // 3_600_000_000 + at).to_bytes(4, "little") for at in (-2, -1, 0))
    core.begin_chunk(1)
    core.set_chunk(0, ids=5, hours=hours, filter=None)
    return core


def _take_out(core: Core) -> tuple[Any, ...]:
    flush = core.flush()
    rows = [pa.record_batch(batch).to_pylist() for batch in (flush.usage, flush.subjects)]
    counts = (flush.events_in, flush.accepted, flush.duplicates, flush.rejected, flush.unknown_fields)
    return (*([sorted(some, key=str) for some in rows]), counts, flush.max_event_time_us)


def _mixed_events(rng: random.Random, make_event: MakeEvent, count: int) -> list[Event]:
    """Of all kinds: sequenced, foreign, facts, malformed; with subjects and more label sets than are allowed."""

    def event() -> Event:
        id_ = f"{ULID}-{rng.randrange(20)}" if rng.random() < 0.3 else f"f{rng.randrange(60)}"
        when = _at(f"11:{rng.randrange(15, 60)}:{rng.randrange(10, 60)}")
        if rng.random() < 0.25:
            fact = {"type": "test.fact.v1", "data": {"amount": rng.randrange(60), "user": f"u{rng.randrange(9)}"}}
            return {**make_event(id_), **when, **fact}
        labels = {"team": f"t{rng.randrange(4)}"} if rng.random() < 0.7 else {}
        data = {"tokens": rng.randrange(1100), "user": f"u{rng.randrange(9)}", "labels": labels, "unknown": 1}
        return make_event(id_, envelope=when, **data)

    return [event() for _ in range(count)]


@pytest.mark.parametrize("seed", range(8))
def test_events_that_the_store_does_not_know_count_like_any_other(
    make_core: MakeCore, make_event: MakeEvent, seed: int
) -> None:
    # As many label sets as there are: which ones go under the catch-all would depend on the order.
    rng, enough = random.Random(seed), {"label_sets_per_account_hour": 1000}
    core, plain = _everything_is_a_maybe(make_core(**enough)), make_core(**enough)
    facts: tuple[list[Any], list[Any]] = ([], [])
    for offset in range(0, 600, 100):
        events = _mixed_events(rng, make_event, rng.randrange(1, 90))
        held, at_once = _ingest(core, events, offset), _ingest(plain, events, offset)
        core.take_lookups()
        resolved = core.resolve(b"")
        assert held.events_in + resolved.events_in == at_once.events_in == len(events)
        assert held.max_event_time_us == at_once.max_event_time_us
        facts[0].extend((offset + at, index, event) for at, index, event in held.facts)
        facts[0].extend(resolved.facts)
        facts[1].extend((offset + at, index, event) for at, index, event in at_once.facts)
    assert sorted(facts[0]) == sorted(facts[1])
    assert facts[1]
    assert _take_out(core) == _take_out(plain)


def test_held_events_meet_the_bound_on_labels_in_the_order_of_arrival(
    make_core: MakeCore, make_event: MakeEvent
) -> None:
    core = _everything_is_a_maybe(make_core(label_sets_per_account_hour=2))
    _ingest(core, [make_event(f"f{team}", labels={"team": team}) for team in "abc"])
    core.take_lookups()
    assert core.resolve(b"").overflowed_labels == 1
    rows = pa.record_batch(core.flush().usage).to_pylist()
    assert sorted(row["labels"] for row in rows) == ["__other__", '{"team":"a"}', '{"team":"b"}']


@pytest.mark.parametrize("seed", range(8))
def test_every_event_is_counted_once_whatever_is_cold_or_held(
    make_core: MakeCore, make_event: MakeEvent, seed: int
) -> None:
    """Chunks are cut, sealed, lose their filters; lookups are answered late: accepted is the number of distinct ids."""
    rng = random.Random(seed)
    core, store, seen, blobs = make_core(), dict[int, ChunkFold](), set[str](), list[bytes]()
    counted, chunk, open_blobs, everything = [0, 0, 0], 0, list[bytes](), list[bytes]()
    for _ in range(60):
        events = [make_event(f"f{rng.randrange(400)}") for _ in range(rng.randrange(20))]
        events += [make_event(f"{ULID}-{rng.randrange(80)}") for _ in range(rng.randrange(4))]
        answer = _ingest(core, events)
        counted = [a + b for a, b in zip(counted, _counts(answer), strict=True)]
        seen.update(event["id"] for event in events)
        if rng.random() < 0.6:
            counted = [a + b for a, b in zip(counted, _counts(_look_up(core, store)), strict=True)]
        if rng.random() < 0.4:
            counted = [a + b for a, b in zip(counted, _counts(_look_up(core, store)), strict=True)]
            blobs.append(core.flush().blob)
            open_blobs.append(blobs[-1])
            everything.append(blobs[-1])
            if rng.random() < 0.5 and core.stats()["foreign_ids"]:
                store[chunk] = _fold(*open_blobs)
                sealed, chunk, open_blobs = chunk, chunk + 1, []
                core.begin_chunk(chunk)
                _chill(core, store[sealed], sealed, by_hour=rng.random() < 0.3)
    counted = [a + b for a, b in zip(counted, _counts(_look_up(core, store)), strict=True)]
    everything.append(core.flush().blob)
    assert counted[0] == len(seen)
    assert len(store) > 2
    of_blobs = [fleetmeter_native.blob_stats(blob) for blob in everything]
    assert sum(one["foreign_ids"] + one["sequenced_events"] for one in of_blobs) == len(seen)
    assert _fold(*everything).foreign_ids == sum(not id_.startswith(ULID) for id_ in seen)


def test_an_answer_is_checked_and_decides_only_what_was_asked(
    cold: tuple[Core, dict[int, ChunkFold]], make_event: MakeEvent
) -> None:
    core, store = cold
    _ingest(core, [make_event("f1")])
    asked = core.take_lookups()
    assert [chunk for chunk, _ in asked] == [0]
    _ingest(core, [make_event("f2")])
    with pytest.raises(ValueError, match="16 bytes"):
        core.resolve(asked[0][1][:15])
    with pytest.raises(ValueError, match="asked for"):
        core.resolve(_stored(store[0])[0] * 2 if _stored(store[0])[0] != asked[0][1] else _stored(store[0])[1])
    assert core.held_events == 2
    assert _counts(core.resolve(asked[0][1])) == (0, 1, 0)
    assert core.held_events == 1
    assert _counts(core.resolve(b"")) == (0, 0, 0), "nothing else was asked"
    assert _counts(_look_up(core, store)) == (0, 1, 0)


def test_an_overflow_while_resolving_counts_nothing(make_core: MakeCore, make_event: MakeEvent) -> None:
    core = _everything_is_a_maybe(make_core())
    _ingest(core, [make_event(f"{ULID}-1", huge=2**63 - 1)])
    _ingest(core, [make_event("a", huge=1), make_event("b", huge=2**63 - 1), make_event("c", huge=5)])
    assert len(core.take_lookups()) == 1
    before = (core.snapshot(), core.pending_events, core.pending_groups, core.held_events)
    for _ in range(2):
        with pytest.raises(OverflowError, match="huge"):
            core.resolve(b"")
        assert (core.snapshot(), core.pending_events, core.pending_groups, core.held_events) == before


def test_an_overflow_while_ingesting_takes_held_events_back(make_core: MakeCore, make_event: MakeEvent) -> None:
    core = _everything_is_a_maybe(make_core())
    _ingest(core, [make_event(f"{ULID}-{n}", huge=2**63 - 1) for n in range(2)])
    with pytest.raises(OverflowError, match="huge"):
        _ingest(core, [make_event("a"), make_event(f"{ULID}-2", huge=2)])
    assert (core.held_events, core.take_lookups()) == (0, [])
    assert core.flush().accepted == 2


def test_a_core_restored_from_chunks_knows_what_the_first_one_knew(make_core: MakeCore, make_event: MakeEvent) -> None:
    first = make_core()
    flushes = []
    for part in range(4):
        _ingest(first, [make_event(f"f{part}-{n}") for n in range(50)])
        _ingest(first, [make_event(f"{ULID}-{part * 10 + n}") for n in range(10)])
        flushes.append(first.flush().blob)
    chunks = [_fold(flushes[0]), _fold(flushes[1])]
    state = _fold(*flushes[:2]).sequenced(APPEND_DAY)
    core = make_core()
    core.begin_chunk(2)
    for number, fold in enumerate(chunks):
        _chill(core, fold, number)
    for blob in (state, *flushes[2:]):
        core.restore(blob)
    stats = core.stats()
    assert (stats["sequenced_events"], stats["foreign_ids"], stats["filtered_ids"]) == (40, 100, 100)
    again = [make_event(f"f{part}-{n}") for part in range(4) for n in range(50)]
    again += [make_event(f"{ULID}-{n}") for n in range(40)]
    assert _counts(_ingest(core, again)) == (0, 140, 0)
    assert _counts(_look_up(core, dict(enumerate(chunks)))) == (0, 100, 0)
    assert core.flush().blob == b""


def test_forgotten_sequences_are_new_again_unless_the_floor_is_above_them(
    make_core: MakeCore, make_event: MakeEvent
) -> None:
    core = make_core()
    _ingest(core, [make_event(f"{ULID}-{n}") for n in range(30)])
    core.flush()
    assert core.forget_sequenced(APPEND_DAY) == 0
    assert core.forget_sequenced(APPEND_DAY + 1) == 30
    assert core.stats()["sequenced_incarnations"] == 0
    assert _counts(_ingest(core, [make_event(f"{ULID}-1")])) == (1, 0, 0)
    assert core.floor_us == 0
    core.floor_us = APPEND_US
    answer = _ingest(core, [make_event(f"{ULID}-2"), make_event("f", envelope=_at("12:00:00"))])
    assert (_counts(answer), fleetmeter_native.REASONS[answer.rejections[0][2]]) == ((1, 0, 1), "too_old")


def test_what_a_chunk_is_made_of_is_checked(cold: tuple[Core, dict[int, ChunkFold]], make_event: MakeEvent) -> None:
    core, store = cold
    hours, filter_ = store[0].hours(), store[0].filter()
    for ids, some_hours, some_filter, said in (
        (99, hours, filter_, "made of 100"),
        (100, b"", filter_, "0 event hours"),
        (100, hours[1:], filter_, "hours are damaged"),
        (100, hours, filter_[:-1], "checksum"),
        (0, b"", ChunkFold(b"z" * 16).filter(), "another hash key"),
    ):
        with pytest.raises(ValueError, match=said):
            core.set_chunk(3, ids=ids, hours=some_hours, filter=some_filter)
    with pytest.raises(ValueError, match="begin another chunk first"):
        core.set_chunk(7, ids=100, hours=hours, filter=filter_)
    with pytest.raises(ValueError, match="begun before"):
        core.begin_chunk(0)
    with pytest.raises(ValueError, match="no chunk 3"):
        core.forget_chunk(3)
    _ingest(core, [make_event("pending")])
    with pytest.raises(RuntimeError, match="pending"):
        core.begin_chunk(8)
    assert core.stats()["chunks"] == 2
    with pytest.raises(ValueError, match="16 bytes"):
        ChunkFold(b"short")
    with pytest.raises(ValueError, match="without their event hours"):
        ChunkFold(KEY).add(core.snapshot())


def test_a_fold_gives_sorted_fingerprints_and_small_filters(make_core: MakeCore, make_event: MakeEvent) -> None:
    core = make_core()
    _ingest(core, [make_event(f"f{n}") for n in range(3000)])
    blob = core.flush().blob
    stats = fleetmeter_native.blob_stats(blob)
    assert stats == {"sequenced_events": 0, "foreign_ids": 3000, "append_day": APPEND_DAY, "hours": 1}
    fold = _fold(blob, blob)
    rows = _stored(fold)
    assert (fold.foreign_ids, fold.sequenced_events, len(rows)) == (3000, 0, 3000)
    assert rows == sorted(set(rows))
    assert fold.hours() == (APPEND_US // 3_600_000_000 - 1).to_bytes(4, "little")
    assert len(fold.filter()) <= 3 * 3000
    assert (fold.sequenced(0), ChunkFold(KEY).hours()) == (b"", b"")
    assert fleetmeter_native.blob_stats(b"")["foreign_ids"] == 0
    with pytest.raises(ValueError, match="blob"):
        fleetmeter_native.blob_stats(blob[:-1])
