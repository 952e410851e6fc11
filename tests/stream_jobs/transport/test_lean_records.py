"""Raw fetch responses become record batches: offsets, transactions, damage."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from fleetmeter_jobs.errors import DamagedBatchError, TopicRefusedError
from fleetmeter_jobs.pending import Pending
from fleetmeter_jobs.record_batch import RecordBatch
from fleetmeter_jobs.transport.lean_records import LeanRecords
from hypothesis import given
from hypothesis import strategies as st

MakeBatch = Callable[..., bytes]
_NOTHING = SimpleNamespace(rejections=[], facts=[], max_event_time_us=0)


def test_each_batch_keeps_its_place_in_the_log(batch: MakeBatch) -> None:
    raw = batch(10, [b"a", None, b""], leader_epoch=3, append_time_ms=111) + batch(13, [b"d"], leader_epoch=4)
    first, second = LeanRecords(raw, None, 10)
    assert (first.base_offset, first.next_offset, first.values) == (10, 13, [b"a", None, b""])
    assert (first.leader_epoch, first.append_time_ms, first.missing) == (3, 111, 0)
    assert (second.base_offset, second.next_offset, second.leader_epoch) == (13, 14, 4)
    assert first.crc == struct.unpack_from(">I", raw, 17)[0]


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4], ids=["none", "gzip", "snappy", "lz4", "zstd"])
def test_every_codec(batch: MakeBatch, codec: int) -> None:
    values = [b"%d " % i * 50 for i in range(300)]
    (decoded,) = LeanRecords(batch(0, values, codec=codec), None, 0)
    assert decoded.values == values


def test_a_position_inside_a_batch_yields_the_rest_of_it(batch: MakeBatch) -> None:
    records = LeanRecords(batch(10, [b"a", b"b", b"c"]) + batch(13, [b"d"]), None, 12)
    first, second = records
    assert (first.base_offset, first.next_offset, first.values) == (12, 13, [b"c"])
    assert second.values == [b"d"]
    assert records.next_fetch_offset == 14


def test_batches_before_the_position_are_left_out(batch: MakeBatch) -> None:
    assert [b.base_offset for b in LeanRecords(batch(0, [b"a"]) + batch(1, [b"b"]), None, 1)] == [1]


def test_a_cut_off_last_batch_is_left_for_the_next_fetch(batch: MakeBatch) -> None:
    whole = batch(0, [b"a"])
    for cut in (1, 30, 60, len(batch(1, [b"bbbb"])) - 1):
        records = LeanRecords(whole + batch(1, [b"bbbb"])[:cut], None, 0)
        assert [b.values for b in records] == [[b"a"]]
        assert records.next_fetch_offset == 1


def test_aborted_and_control_batches_take_their_offsets_without_values(batch: MakeBatch, marker: MakeBatch) -> None:
    raw = (
        batch(0, [b"plain"])
        + batch(1, [b"x", b"y"], producer_id=5, transactional=True)
        + batch(3, [b"other"], producer_id=6, transactional=True)
        + marker(4, 5, commit=False)
        + batch(5, [b"kept"], producer_id=5, transactional=True)
        + marker(6, 5, commit=True)
        + marker(7, 6, commit=True)
    )
    batches = list(LeanRecords(raw, [(5, 1)], 0))
    assert [(b.values, b.control, b.aborted) for b in batches] == [
        ([b"plain"], 0, 0),
        ([], 0, 2),
        ([b"other"], 0, 0),
        ([], 1, 0),
        ([b"kept"], 0, 0),
        ([], 1, 0),
        ([], 1, 0),
    ]
    assert not any(b.missing for b in batches)


def test_a_position_inside_an_aborted_batch_counts_the_rest(batch: MakeBatch) -> None:
    raw = batch(0, [b"a", b"b", b"c"], producer_id=5, transactional=True)
    assert list(LeanRecords(raw, [(5, 0)], 1)) == [
        RecordBatch(1, 3, 1_700_000_000_123, 7, struct.unpack_from(">I", raw, 17)[0], [], aborted=2)
    ]


@pytest.mark.parametrize("clock_ms", [-1, 253_402_300_800_000], ids=["none", "the year 10000"])
def test_a_producer_s_clock_in_an_aborted_batch_is_not_taken_for_the_broker_s(batch: MakeBatch, clock_ms: int) -> None:
    """From when the topic had CreateTime. It would decide what is forgotten, and into which month a commit goes."""
    aborted = batch(1, [b"x"], producer_id=5, transactional=True, log_append_time=False, append_time_ms=clock_ms)
    pending = Pending(0, 0)
    pending.ingest(
        SimpleNamespace(ingest=lambda *_: _NOTHING), list(LeanRecords(batch(0, [b"a"]) + aborted, [(5, 1)], 0))
    )
    assert (pending.next_offset, pending.aborted, pending.append_time_ms) == (2, 1, 1_700_000_000_123)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([-1, 1, 2]),
            st.sampled_from(["data", "commit", "abort"]),
            st.integers(1, 3),
        ),
        min_size=1,
        max_size=12,
    ),
    st.data(),
)
def test_the_same_records_survive_as_with_aiokafka(
    batch: MakeBatch, marker: MakeBatch, steps: list[tuple[int, str, int]], data: st.DataObject
) -> None:
    """Whatever transactions run and fail side by side: values and next position are those of aiokafka's own code."""
    raw, offset, first_end = b"", 0, 0
    open_since: dict[int, int] = {}
    aborted: list[tuple[int, int]] = []
    for producer, kind, count in steps:
        if kind == "data" or producer == -1:
            values = [b"%d" % (offset + i) for i in range(count)]
            raw += batch(offset, values, producer_id=producer, transactional=producer != -1)
            if producer != -1:
                open_since.setdefault(producer, offset)
            offset += count
        else:
            raw += marker(offset, producer, commit=kind == "commit")
            if kind == "abort" and producer in open_since:
                aborted.append((producer, open_since[producer]))
            open_since.pop(producer, None)
            offset += 1
        first_end = first_end or offset
    start = data.draw(st.integers(0, first_end - 1))  # a response begins with the batch that holds the position
    upstream = PartitionRecords(
        TopicPartition("t", 0), MemoryRecords(raw), list(aborted), start, None, None, True, READ_COMMITTED
    )
    expected = [record.value for record in upstream]
    lean = LeanRecords(raw, list(aborted), start)
    batches = list(lean)
    assert [value for b in batches for value in b.values] == expected
    assert lean.next_fetch_offset == upstream.next_fetch_offset
    assert not any(b.missing for b in batches)
    if batches:
        assert batches[0].base_offset == start
        assert all(a.next_offset == b.base_offset for a, b in pairwise(batches))


def test_a_compacted_batch_shows_what_is_missing(batch: MakeBatch) -> None:
    (compacted,) = LeanRecords(batch(100, [b"a", b"c"], deltas=[0, 2], last_delta=4), None, 100)
    assert (compacted.base_offset, compacted.next_offset, compacted.missing) == (100, 105, 3)


def test_damage_stops_before_the_bad_batch_and_stays(batch: MakeBatch) -> None:
    bad = bytearray(batch(1, [b"bbbbbbbb"]))
    bad[-3] ^= 1
    records = LeanRecords(batch(0, [b"a"]) + bytes(bad) + batch(2, [b"c"]), None, 0)
    assert next(records).values == [b"a"]
    for _ in range(2):
        with pytest.raises(DamagedBatchError, match="offset 1 fails its CRC"):
            next(records)
    assert records.next_fetch_offset == 1


def test_old_formats_and_impossible_headers_are_named(batch: MakeBatch) -> None:
    old = bytearray(batch(9, [b"a"]))
    old[16] = 1
    with pytest.raises(DamagedBatchError, match="offset 9 has message format v1"):
        next(LeanRecords(bytes(old), None, 9))
    impossible = bytearray(batch(9, [b"a"]))
    struct.pack_into(">i", impossible, 8, 5)
    with pytest.raises(DamagedBatchError, match="impossible header"):
        next(LeanRecords(bytes(impossible), None, 9))


def test_garbage_that_has_a_good_checksum_is_damage(batch: MakeBatch) -> None:
    raw = bytearray(batch(0, [b"x" * 200] * 5, codec=3))
    raw[70:90] = bytes(20)
    struct.pack_into(">I", raw, 17, calc_crc32c(memoryview(bytes(raw))[21:]))
    with pytest.raises(DamagedBatchError, match="can't be decoded"):
        next(LeanRecords(bytes(raw), None, 0))


def test_a_producers_clock_is_refused(batch: MakeBatch) -> None:
    with pytest.raises(TopicRefusedError, match="CreateTime"):
        next(LeanRecords(batch(0, [b"a"], log_append_time=False), None, 0))


def test_records_with_cloudevents_headers_are_rewritten_and_others_are_not(batch: MakeBatch) -> None:
    headers = [[("traceparent", b"00-1")], [("ce_id", b"1"), ("ce_specversion", b"1.0")], []]
    (decoded,) = LeanRecords(batch(0, [b"{}", b'{"a":1}', b"[]"], headers=headers), None, 0)
    assert decoded.values == [
        b"{}",
        b'{"datacontenttype":"application/json","id":"1","specversion":"1.0","data":{"a":1}}',
        b"[]",
    ]
