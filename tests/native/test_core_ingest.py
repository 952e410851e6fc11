"""What a call counts, refuses and gives back; the judgement itself is held against the reference in tests/contract."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import fleetmeter_native
import pyarrow as pa
import pytest

APPEND_US = 1_772_366_400_000_000
ULID = "01JD8Z5W8Q3K6V9XKQ2N4T7RYB"

MakeEvent = Callable[..., dict[str, Any]]


def dumps(event: object) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode()


def reasons(answer: fleetmeter_native.Ingested) -> list[tuple[int, int, str, str]]:
    return [(r, e, fleetmeter_native.REASONS[code], field) for r, e, code, field, _ in answer.rejections]


def usage(flush: fleetmeter_native.Flush) -> list[dict[str, Any]]:
    return list(pa.record_batch(flush.usage).to_pylist())


def test_counts_sums_and_provenance(core: fleetmeter_native.Core, make_event: MakeEvent) -> None:
    values: list[bytes | None] = [
        dumps(make_event("a", tokens=10, steps=0, mode="slow")),
        dumps(make_event("b", tokens=11, mode="slow")),
        dumps(make_event("c", tokens=11, mode="slow", steps=7)),
        dumps(make_event("c", tokens=999)),
        None,
    ]
    answer = core.ingest(values, 100, APPEND_US)
    assert (answer.events_in, answer.accepted, answer.duplicates, answer.rejected) == (5, 3, 1, 1)
    assert answer.max_event_time_us == APPEND_US - 30_000_000
    assert (core.pending_events, core.pending_groups) == (5, 2)
    flush = core.flush()
    assert (flush.events_in, flush.accepted, flush.duplicates, flush.rejected) == (5, 3, 1, 1)
    rows = {row["size"]: row for row in usage(flush)}
    minute = (APPEND_US // 60_000_000 - 1) * 60
    shared = {"event_type": "work", "account_id": "acme", "minute": minute, "model": "llada", "mode": "slow"}
    empty = {"labels": "", "cached": 0, "huge": 0}
    assert rows == {
        "small": {**shared, **empty, "size": "small", "works": 1, "tokens": 10, "steps": 0, "steps_samples": 1}
        | {"first_offset": 100, "next_offset": 101},
        "middle": {**shared, **empty, "size": "middle", "works": 2, "tokens": 22, "steps": 7, "steps_samples": 1}
        | {"first_offset": 101, "next_offset": 103},
    }
    assert (core.pending_events, core.pending_groups) == (0, 0)
    again = core.flush()
    assert (again.events_in, again.blob, usage(again), again.max_event_time_us) == (0, b"", [], 0)


def test_usage_has_the_declared_columns(core: fleetmeter_native.Core, spec: dict[str, Any]) -> None:
    schema = pa.record_batch(core.flush().usage).schema
    text = pa.dictionary(pa.int32(), pa.string())
    expected = [("event_type", text), ("account_id", text), ("minute", pa.uint32())]
    expected += [(name, text) for name in spec["ledger"]["dimensions"]]
    expected += [(name, pa.uint64()) for name in [*spec["ledger"]["measures"], "first_offset", "next_offset"]]
    assert [(field.name, field.type) for field in schema] == expected


def test_an_arrow_batch_can_be_taken_twice(core: fleetmeter_native.Core, make_event: MakeEvent) -> None:
    core.ingest([dumps(make_event())], 0, APPEND_US)
    flush = core.flush()
    first, second = pa.record_batch(flush.usage), pa.record_batch(flush.usage)
    del flush
    assert first.equals(second)
    assert first.num_rows == 1


def test_subjects_are_distinct_with_first_and_last_sight(core: fleetmeter_native.Core, make_event: MakeEvent) -> None:
    at = ["11:59:30", "11:59:10", "11:59:50"]
    events = [make_event(f"e{i}", user="u1", envelope={"time": f"2026-03-01T{t}Z"}) for i, t in enumerate(at)]
    fact = make_event("f", envelope={"type": "test.fact.v1", "data": {"amount": 1, "user": "u2"}})
    core.ingest([dumps([*events, events[0], fact])], 0, APPEND_US)
    rows = pa.record_batch(core.flush().subjects).to_pylist()
    common = {"account_id": "acme", "day": APPEND_US // 86_400_000_000, "subject_kind": "user"}
    half = APPEND_US - 30_000_000
    assert rows == [
        {**common, "subject": "u1", "first_seen_us": half - 20_000_000, "last_seen_us": half + 20_000_000},
        {**common, "subject": "u2", "first_seen_us": half, "last_seen_us": half},
    ]


def test_facts_come_back_once_as_they_were_sent(core: fleetmeter_native.Core, make_event: MakeEvent) -> None:
    fact = dumps(make_event("f", envelope={"type": "test.fact.v1", "data": {"amount": -50}}))
    answer = core.ingest([fact, b" " + fact, b'[{"id":1}, %s ]' % fact.replace(b'"f"', b'"g"')], 0, APPEND_US)
    assert answer.facts == [(0, 0, fact), (2, 1, fact.replace(b'"f"', b'"g"'))]
    assert (answer.accepted, answer.duplicates, answer.rejected) == (2, 1, 1)
    assert usage(core.flush()) == []


def test_payloads_are_the_events_own_bytes(core: fleetmeter_native.Core, make_event: MakeEvent) -> None:
    bad = dumps(make_event(tokens=-1))
    record = b"\n".join([dumps(make_event()), b"", bad + b" \r", b"  not json "])
    values: list[bytes | None] = [b" " + bad, b"[1, %s]" % bad, record, b"{", None]
    answer = core.ingest(values, 0, APPEND_US)
    assert [(r, e, payload) for r, e, _, _, payload in answer.rejections] == [
        (0, 0, bad),
        (1, 0, b"1"),
        (1, 1, bad),
        (2, 1, bad),
        (2, 2, b"not json"),
        (3, 0, b"{"),
        (4, 0, b""),
    ]


@pytest.mark.parametrize("broken", [b"[%s,]", b"[%s", b"[%s] x", b"[%s, nul]", b'[%s,"\\ud800"]', b"[%s, [}]"])
def test_a_broken_array_counts_nothing_of_it(
    core: fleetmeter_native.Core, make_event: MakeEvent, broken: bytes
) -> None:
    events = b",".join(dumps(make_event(f"e{i}")) for i in range(100))
    answer = core.ingest([broken % (events + b"," + dumps(make_event("x", tokens=-1)))], 0, APPEND_US)
    assert reasons(answer) == [(0, 0, "not_json", "")]
    assert (answer.events_in, answer.accepted) == (1, 0)
    assert (core.flush().blob, core.stats()["foreign_ids"]) == (b"", 0)


def test_limits_of_bytes(make_core: Callable[..., fleetmeter_native.Core], make_event: MakeEvent) -> None:
    event = dumps(make_event())
    core = make_core(event_limit_bytes=len(event), record_limit_bytes=3 * len(event))
    longer = dumps(make_event("bb"))
    values: list[bytes | None] = [event, longer, b"[%s,%s]" % (event, longer), b"%s\n%s" % (event, longer)]
    answer = core.ingest([*values, b" " * (3 * len(event)) + b"5"], 0, APPEND_US)
    too_large = [(1, 0), (2, 1), (3, 1), (4, 0)]
    assert reasons(answer) == [(record, event, "too_large", "") for record, event in too_large]


def test_unknown_fields_count_for_accepted_events_only(core: fleetmeter_native.Core, make_event: MakeEvent) -> None:
    extra = make_event("a", colour="red", labels={"team": "x", "zone": "y"}, envelope={"extra": 1, "dataschema": "z"})
    answer = core.ingest([dumps(extra), dumps(extra), dumps({**extra, "id": ""})], 0, APPEND_US)
    assert (answer.accepted, answer.duplicates, answer.rejected, answer.unknown_fields) == (1, 1, 1, 3)


def test_label_sets_are_bounded_and_no_count_is_lost(core: fleetmeter_native.Core, make_event: MakeEvent) -> None:
    events = [make_event(f"e{i}", tokens=1, labels={"team": f"t{i % 4}"}) for i in range(8)]
    answer = core.ingest([dumps(events)], 0, APPEND_US)
    assert (answer.accepted, answer.overflowed_labels) == (8, 4)
    tokens = {row["labels"]: row["tokens"] for row in usage(core.flush())}
    assert tokens == {'{"team":"t0"}': 2, '{"team":"t1"}': 2, "__other__": 4}
    core.ingest([dumps(make_event("late", tokens=1, labels={"team": "t9"}))], 9, APPEND_US)
    assert [row["labels"] for row in usage(core.flush())] == ["__other__"], "the bound holds over flushes"


def test_arrow_in_all_compressions_and_dictionaries(
    make_core: Callable[..., fleetmeter_native.Core], arrow_stream: Callable[..., bytes]
) -> None:
    rows = 300
    tokens = pa.array([None if i % 3 == 0 else i for i in range(rows)], pa.uint16())
    for compression in (None, "lz4", "zstd"):
        for model in (["m1", "m2", "m3"] * 100, pa.array(["m1", "m2", "m3"] * 100).dictionary_encode()):
            core = make_core()
            record = arrow_stream(rows, compression=compression, model=model, tokens=tokens)
            answer = core.ingest([record], 7, APPEND_US)
            assert (answer.accepted, answer.rejected) == (rows, 0)
            sums: dict[str, int] = {}
            for row in usage(core.flush()):
                sums[row["model"]] = sums.get(row["model"], 0) + row["tokens"]
            assert sums == {"m1": 0, "m2": sum(range(1, rows, 3)), "m3": sum(range(2, rows, 3))}


def test_a_refused_arrow_row_comes_back_as_an_event_that_can_be_sent(
    core: fleetmeter_native.Core, arrow_stream: Callable[..., bytes]
) -> None:
    record = arrow_stream(
        2, tokens=pa.array([1, 2000], pa.int64()), labels=[None, '{"team":"ä\\""}'], user=["u", None], zone=["x", "y"]
    )
    answer = core.ingest([record], 0, APPEND_US)
    assert reasons(answer) == [(0, 1, "overflow", "data.tokens")]
    assert answer.unknown_fields == 1
    payload = answer.rejections[0][4]
    event = json.loads(payload)
    assert event == {
        "specversion": "1.0",
        "type": "test.work.v1",
        "id": f"{ULID}-1",
        "source": "node-1",
        "subject": "acme",
        "time": "2026-03-01T11:59:30.000000Z",
        "data": {"model": "llada", "labels": {"team": 'ä"'}, "tokens": 2000},
    }
    repaired = payload.replace(b"2000", b"200")
    assert core.ingest([repaired, repaired], 1, APPEND_US).accepted == 1


def test_a_small_arrow_record_cannot_ask_for_all_memory(
    make_core: Callable[..., fleetmeter_native.Core], arrow_stream: Callable[..., bytes]
) -> None:
    core = make_core(record_limit_bytes=20_000)
    bomb = arrow_stream(1000, compression="zstd", note=["x" * 4000] * 1000)
    assert len(bomb) < 20_000
    answer = core.ingest([bomb], 0, APPEND_US)
    assert reasons(answer) == [(0, 0, "too_large", "")]
