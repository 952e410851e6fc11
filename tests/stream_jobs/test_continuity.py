"""Whatever Kafka delivers, offsets are taken once and without holes, or not at all."""

from __future__ import annotations

import pytest
from fleetmeter_jobs.continuity import continue_from
from fleetmeter_jobs.errors import OffsetGapError
from fleetmeter_jobs.record_batch import RecordBatch
from hypothesis import given
from hypothesis import strategies as st


def _records(base: int, count: int) -> RecordBatch:
    return RecordBatch(base, base + count, 0, 0, 0, [b"%d" % (base + i) for i in range(count)])


def test_what_was_counted_is_trimmed() -> None:
    (batch,) = continue_from(12, [_records(5, 3), _records(8, 2), _records(10, 5)])
    assert (batch.base_offset, batch.next_offset, batch.values) == (12, 15, [b"12", b"13", b"14"])


@pytest.mark.parametrize("kind", ["control", "aborted"])
def test_offsets_without_values_are_trimmed_too(kind: str) -> None:
    batch = RecordBatch(0, 3, 0, 0, 0, [], **{kind: 3})
    (rest,) = continue_from(1, [batch])
    assert (rest.base_offset, getattr(rest, kind), rest.missing) == (1, 2, 0)


def test_a_gap_takes_nothing() -> None:
    with pytest.raises(OffsetGapError, match="offset 5 follows 3: 2 are missing"):
        continue_from(0, [_records(0, 3), _records(5, 1)])


def test_a_compacted_batch_takes_nothing() -> None:
    with pytest.raises(OffsetGapError, match=r"0\.\.3 has only 2 of 3 records: the log was compacted"):
        continue_from(0, [RecordBatch(0, 3, 0, 0, 0, [b"0", b"2"])])


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 2)), min_size=1, max_size=8),
    st.data(),
)
def test_any_overlap_and_repetition_gives_each_offset_once(shape: list[tuple[int, int]], data: st.DataObject) -> None:
    batches, offset = [], 0
    for count, repeats in shape:
        batches += [_records(offset, count)] * (1 + repeats)
        offset += count
    position = data.draw(st.integers(0, offset))
    taken = [value for batch in continue_from(position, batches) for value in batch.values]
    assert taken == [b"%d" % i for i in range(position, offset)]
