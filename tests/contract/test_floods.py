"""Records of which so much is refused that it is not told one by one, and what stands behind the end of a stream."""

from __future__ import annotations

import pyarrow as pa
import pytest
from contract_vectors.arrow import stream
from contract_vectors.vector import APPEND_TIME_US, generation
from fleetmeter_reference.aggregator import MOST_REFUSED, Ingested, Limits, Reference, Rejection
from native_aggregator import NativeAggregator

GOOD = generation("e-1").encode()
MANY = [b"0"] * (MOST_REFUSED + 3)


def answers(*records: bytes) -> list[Ingested]:
    """What the reference and the core say."""
    return [one.ingest(list(records), 0, APPEND_TIME_US) for one in (Reference(), NativeAggregator())]


@pytest.mark.parametrize("record", [b"[" + b",".join([*MANY, GOOD]) + b"]", b"\n".join([b"{", *MANY, b"{", GOOD])])
def test_the_first_refused_are_told_and_then_the_record(record: bytes) -> None:
    for answer in answers(record, b"[0, 1]"):
        *told, rest, first, second = answer.rejections
        assert [it.event for it in told] == list(range(MOST_REFUSED))
        assert {it.code for it in told[1:]} <= {"not_an_object"}
        assert rest == Rejection(0, MOST_REFUSED, "too_large", "", record)
        assert [(it.record, it.event, it.payload) for it in (first, second)] == [(1, 0, b"0"), (1, 1, b"1")]
        assert (answer.counters.accepted, answer.counters.rejected) == (1, MOST_REFUSED + 3)
        assert answer.counters.events_in == MOST_REFUSED + 4


def test_so_many_are_still_told_one_by_one() -> None:
    for answer in answers(b"[" + b",".join(MANY[:MOST_REFUSED]) + b"]"):
        assert {it.code for it in answer.rejections} == {"not_an_object"}
        assert answer.counters.events_in == answer.counters.rejected == MOST_REFUSED


def test_rows_of_a_stream_too() -> None:
    rows = MOST_REFUSED + 5
    record = stream({"id": pa.array([None] * (rows - 1) + ["e-1"], pa.string())}, rows)
    for answer in answers(record):
        assert answer.rejections[-1] == Rejection(0, MOST_REFUSED, "too_large", "", record)
        assert (answer.counters.accepted, answer.counters.rejected) == (1, MOST_REFUSED + 1)


def test_an_array_that_is_no_json_is_one_refusal() -> None:
    record = b"[" + b",".join([*MANY, b"{"]) + b"]"
    for answer in answers(record):
        assert answer.rejections == [Rejection(0, 0, "not_json", "", record)]


@pytest.mark.parametrize("behind", [stream({"id": ["e-2"]}), GOOD, b"\x00\x00\x00\x01"])
def test_nothing_behind_a_stream_is_lost_without_a_word(behind: bytes) -> None:
    record = stream({}) + behind
    for answer in answers(record):
        assert answer.rejections == [Rejection(0, 0, "bad_arrow", "", record)]
        assert answer.counters.accepted == 0


@pytest.mark.parametrize("end", [b"", b"\x00" * 16])
def test_a_stream_may_be_padded(end: bytes) -> None:
    for answer in answers(stream({}) + end):
        assert (answer.counters.accepted, answer.rejections) == (1, [])


def test_batches_with_a_dictionary_larger_than_they_are() -> None:
    models = pa.DictionaryArray.from_arrays(pa.array([2, 0, 2], pa.int8()), pa.array(["a", "b", "c", "d", "e"]))
    record = stream({"model": models, "id": ["x", "y", "z"]}, 3, batches=2)
    found = []
    for one in (Reference(), NativeAggregator()):
        assert one.ingest([record], 0, APPEND_TIME_US).counters.accepted == 3
        found.append({key: group.sums["requests"] for key, group in one.flush().usage.items()})
    assert found[0] == found[1]
    assert sorted(found[0].values()) == [1, 2]


@pytest.mark.parametrize(("additions", "refused"), [(0, []), (2, []), (5, ["too_large"])])
def test_additions_to_a_dictionary_copy_it_only_so_often(additions: int, refused: list[str]) -> None:
    values = [""] * 20_000
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd", emit_dictionary_deltas=True)
    plain = pa.ipc.open_stream(stream({})).read_all()
    schema = plain.schema.append(pa.field("colour", pa.dictionary(pa.int32(), pa.string())))
    with pa.ipc.new_stream(sink, schema, options=options) as writer:
        for number in range(additions + 1):
            known = pa.array([*values, *map(str, range(number))])
            colours = pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()), known)
            writer.write_table(plain.append_column(schema.field("colour"), colours).cast(schema))
    answer = NativeAggregator(Limits(record_limit_bytes=20_000)).ingest(
        [sink.getvalue().to_pybytes()], 0, APPEND_TIME_US
    )
    assert [it.code for it in answer.rejections] == refused
    assert answer.counters.accepted == (0 if refused else 1)
    assert answer.counters.duplicates == (0 if refused else additions)
