"""Sources on several partitions are found, with the events that were counted more than once; others are not."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator

import pyarrow as pa
import pytest
from fleetmeter_jobs.audit.sources import Record, find_scattered_sources, identities_in
from hypothesis import given
from hypothesis import strategies as st


def event(source: str, event_id: str) -> dict[str, str]:
    return {"specversion": "1.0", "source": source, "id": event_id}


def as_json(*pairs: tuple[str, str]) -> bytes:
    return json.dumps([event(*pair) for pair in pairs]).encode()


def as_arrow(*pairs: tuple[str | None, str]) -> bytes:
    sink = pa.BufferOutputStream()
    batch = pa.record_batch({"id": [pair[1] for pair in pairs], "source": [pair[0] for pair in pairs]})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


_BEYOND = pa.py_buffer(struct.pack("<iiii", 0, 5, 1_000_000_000, 3))
"""Offsets of three strings, two of which end where no text is."""


def arrow_of(source: pa.Array) -> bytes:
    """A stream whose sources are this array, whatever is in it."""
    sink = pa.BufferOutputStream()
    batch = pa.record_batch({"id": [str(number) for number in range(len(source))], "source": source})
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (json.dumps(event("s", "1")).encode(), [("s", "1")]),
        (as_json(("s", "1"), ("t", "2")), [("s", "1"), ("t", "2")]),
        (b"\n".join(json.dumps(event("s", str(n))).encode() for n in range(3)), [("s", "0"), ("s", "1"), ("s", "2")]),
        (b'{"source":"s","id":"1"}\nnot json\n{"source":"s","id":"2"}', [("s", "1"), ("s", "2")]),
        (as_arrow(("s", "1"), (None, "2"), ("t", "3")), [("s", "1"), ("t", "3")]),
        (b"\xff\xff\xff\xffbroken", []),
        (as_arrow(("s", "1"))[:-40], []),
        (arrow_of(pa.array([b"s", b"\xff"]).view(pa.string())), []),
        (arrow_of(pa.Array.from_buffers(pa.string(), 3, [None, _BEYOND, pa.py_buffer(b"abc")])), []),
        (arrow_of(pa.array([7, 8])), []),
        (arrow_of(pa.array([["s"], ["t"]])), []),
        (b'{"source":7,"id":"1"}', []),
        (b"[1,null]", []),
        (b"garbage", []),
        (b"", []),
        (None, []),
    ],
)
def test_identities_of_every_wire_format(value: bytes | None, found: list[tuple[str, str]]) -> None:
    assert list(identities_in(value)) == found


def test_who_scatters_and_what_was_counted_twice() -> None:
    records = [
        Record(0, 10, as_json(("steady", "a"), ("wanders", "a"))),
        Record(0, 11, as_json(("wanders", "b"))),
        Record(1, 20, as_json(("wanders", "c"))),
        Record(1, 21, b"garbage"),
        Record(2, 30, as_json(("wanders", "a"), ("other", "a"))),
        Record(2, 31, as_json(("wanders", "a"))),
        Record(1, 22, as_json(("wanders", "a"))),
    ]
    passes = 0

    def read() -> Iterator[Record]:
        nonlocal passes
        passes += 1
        return iter(records)

    report = find_scattered_sources(read)
    assert (report.records, report.events, report.sources, report.unreadable) == (7, 8, 3, 1)
    assert set(report.scattered) == {"wanders"}
    seen = report.scattered["wanders"]
    assert seen.events == {0: 2, 1: 2, 2: 2}
    assert seen.first_offsets == {0: 10, 1: 20, 2: 30}
    assert seen.repeated == {"a": {0: 10, 2: 30, 1: 22}}
    assert report.counted_again == 2, "once in each of three partitions; the resend within one is a duplicate"
    assert passes == 2


def test_one_pass_is_enough_where_nobody_scatters() -> None:
    reads: list[int] = []

    def read() -> list[Record]:
        reads.append(1)
        return [Record(n % 2, n, as_json((f"source-{n % 2}", str(n)))) for n in range(9)]

    report = find_scattered_sources(read)
    assert report.scattered == {}
    assert len(reads) == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("stu"), st.sampled_from("123"))))
def test_each_event_is_counted_once_for_each_partition_that_has_it(sent: list[tuple[int, str, str]]) -> None:
    records = [Record(partition, n, as_json((source, name))) for n, (partition, source, name) in enumerate(sent)]
    report = find_scattered_sources(lambda: records)
    assert report.counted_again == len(set(sent)) - len({(source, name) for _, source, name in sent})
