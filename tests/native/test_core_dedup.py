"""Ids: told apart exactly, carried in blobs, cheap to keep."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import fleetmeter_native
import pytest

APPEND_US = 1_772_366_400_000_000
ULID = "01JD8Z5W8Q3K6V9XKQ2N4T7RYB"
MakeCore = Callable[..., fleetmeter_native.Core]
MakeEvent = Callable[..., dict[str, Any]]


def _ingest(core: fleetmeter_native.Core, events: list[dict[str, Any]]) -> tuple[int, int]:
    answer = core.ingest([json.dumps(event).encode() for event in events], 0, APPEND_US)
    assert answer.rejected == 0
    return answer.accepted, answer.duplicates


def test_an_event_is_its_source_and_id(core: fleetmeter_native.Core, make_event: MakeEvent) -> None:
    assert _ingest(core, [make_event("x", tokens=1)]) == (1, 0)
    assert _ingest(core, [make_event("x", tokens=2, envelope={"time": "2026-03-01T11:58:00Z"})]) == (0, 1)
    assert _ingest(core, [make_event("x", envelope={"source": "node-2"})]) == (1, 0)
    assert _ingest(core, [make_event("X"), make_event("x ")]) == (2, 0)
    assert _ingest(core, [make_event("-1x", envelope={"source": "node"})]) == (1, 0)


def test_a_core_that_only_measures_takes_everything_as_new(make_core: MakeCore, make_event: MakeEvent) -> None:
    core = make_core(deduplicate=False)
    events = [make_event("x"), make_event("x"), make_event(f"{ULID}-0"), make_event(f"{ULID}-0")]
    assert _ingest(core, events) == (4, 0)
    assert (core.stats()["foreign_ids"], core.stats()["sequenced_events"], core.flush().blob) == (0, 0, b"")


def test_sequenced_ids_are_ranges_by_source_and_ulid(core: fleetmeter_native.Core, make_event: MakeEvent) -> None:
    sequence = list(range(500))
    random.Random(5).shuffle(sequence)
    assert _ingest(core, [make_event(f"{ULID}-{n}") for n in sequence]) == (500, 0)
    stats = core.stats()
    assert (stats["sequenced_incarnations"], stats["sequenced_ranges"], stats["sequenced_events"]) == (1, 1, 500)
    assert _ingest(core, [make_event(f"{ULID}-{n}") for n in (0, 499, 500, 700)]) == (2, 2)
    assert _ingest(core, [make_event(f"{ULID}-1", envelope={"source": "node-2"})]) == (1, 0)
    stats = core.stats()
    assert (stats["sequenced_incarnations"], stats["sequenced_ranges"], stats["sequenced_events"]) == (2, 3, 503)
    assert stats["foreign_ids"] == 0


@pytest.mark.parametrize(
    "id_", [f"{ULID}-01", f"{ULID}-", f"{ULID.lower()}-1", f"{ULID}1-1", f"8{ULID[1:]}-1", f"{ULID}-" + "9" * 13]
)
def test_everything_else_is_foreign(core: fleetmeter_native.Core, make_event: MakeEvent, id_: str) -> None:
    assert _ingest(core, [make_event(id_), make_event(id_)]) == (1, 1)
    is_sequenced = id_.endswith("9" * 13)
    assert core.stats()["foreign_ids"] == (0 if is_sequenced else 1)


def _ids(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    sequenced = [f"{ULID[:-1]}{rng.randrange(4)}-{rng.randrange(60)}" for _ in range(count)]
    return [id_ if rng.random() < 0.6 else f"f{rng.randrange(60)}" for id_ in sequenced]


@pytest.mark.parametrize("seed", range(5))
def test_blobs_of_all_flushes_make_the_same_state(make_core: MakeCore, make_event: MakeEvent, seed: int) -> None:
    core, rebuilt, known = make_core(), make_core(), set[str]()
    blobs = []
    for step in range(10):
        ids = _ids(seed * 100 + step, 30)
        new = len(set(ids) - known)
        known.update(ids)
        assert _ingest(core, [make_event(id_) for id_ in ids]) == (new, len(ids) - new)
        blobs.append(core.flush().blob)
    for blob in [*reversed(blobs), *blobs]:
        rebuilt.restore(blob)
    assert rebuilt.snapshot() == core.snapshot()
    assert rebuilt.flush().blob == b"", "what was restored is committed already"
    assert _ingest(rebuilt, [make_event(id_) for id_ in sorted(known)]) == (0, len(known))
    copy = make_core()
    copy.restore(core.snapshot())
    assert {**copy.stats(), "memory_bytes": 0} == {**core.stats(), "memory_bytes": 0}


def test_a_damaged_blob_is_refused_and_changes_nothing(make_core: MakeCore, make_event: MakeEvent) -> None:
    core = make_core()
    _ingest(core, [make_event(id_) for id_ in _ids(1, 50)])
    blob = core.flush().blob
    target = make_core()
    nothing = target.snapshot()
    for damaged in (blob[:-1], blob + b"x", blob[:20] + b"?" + blob[21:], b"x", b"FMD\x01" + blob[4:]):
        with pytest.raises(ValueError, match="blob"):
            target.restore(damaged)
    with pytest.raises(ValueError, match="another hash key"):
        make_core(hash_key=b"z" * 16).restore(blob)
    assert target.snapshot() == nothing
    target.restore(b"")
    target.restore(blob)
    assert target.snapshot() == core.snapshot()


def test_blobs_are_small(make_core: MakeCore, make_event: MakeEvent) -> None:
    core = make_core()
    _ingest(core, [make_event(f"foreign-{n}") for n in range(2000)])
    assert len(core.flush().blob) <= 20 * 2000
    _ingest(core, [make_event(f"{ULID}-{n}") for n in range(2000)])
    assert len(core.flush().blob) < 60
