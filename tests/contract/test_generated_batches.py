"""The native core and the reference agree on everything, for generated batches of every wire format."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from random import Random

import pytest
from contract_vectors.vector import APPEND_TIME_US
from fleetmeter_reference.aggregator import Fact, Flush, Ingested, Limits, Reference, Rejection
from fleetmeter_schemas.reasons import Reason
from generated_records import records
from hypothesis import example, given, settings
from hypothesis import strategies as st
from native_aggregator import NativeAggregator

# What runs here is the reference and the native core; the tests of the schemas show what of them is covered.
pytestmark = pytest.mark.no_cover

LIMITS = Limits(record_limit_bytes=60_000, event_limit_bytes=1_500, label_sets_per_account_hour=5)


@settings(max_examples=60, deadline=None)
@example(seed=0)
@given(seed=st.integers(0, 2**64 - 1))
def test_batches(seed: int) -> None:
    """Some calls, some flushes, and now and then a restart from the blobs or from a snapshot."""
    random = Random(seed)
    reference, native = Reference(LIMITS), NativeAggregator(LIMITS)
    offset = random.randrange(2**40)
    for _ in range(random.randrange(1, 6)):
        values = records(random, random.choice([0, 1, 7, 40]))
        append_time_us = APPEND_TIME_US + random.randrange(-60_000_000, 60_000_000)
        assert_same_answer(
            values,
            reference.ingest(values, offset, append_time_us),
            native.ingest(values, offset, append_time_us),
        )
        offset += len(values)
        if random.random() < 0.5:
            assert_same_flush(reference.flush(), native.flush())
            if random.random() < 0.5:
                reference, native = restarted(random, reference, native)
    assert_same_flush(reference.flush(), native.flush())


def restarted(random: Random, reference: Reference, native: NativeAggregator) -> tuple[Reference, NativeAggregator]:
    """Both anew, knowing the identities of what was flushed."""
    known, again = Reference(LIMITS), NativeAggregator(LIMITS)
    known.restore(reference.snapshot())
    if random.random() < 0.5:
        blobs = [native.core.snapshot()]
    else:
        blobs = list(native.blobs)
        random.shuffle(blobs)  # commits are found in any order
    again.restore(blobs)
    again.blobs = blobs
    return known, again


def assert_same_answer(values: list[bytes | None], expected: Ingested, actual: Ingested) -> None:
    """Equal answers; the first record that is answered differently is shown."""
    all_wanted, all_got = _by_record(expected), _by_record(actual)
    assert all_wanted.keys() | all_got.keys() <= set(range(len(values)))
    for record, value in enumerate(values):
        wanted, got = all_wanted[record], all_got[record]
        missed, added = [it for it in wanted if it not in got], [it for it in got if it not in wanted]
        assert (missed, added) == ([], []), f"record {record}: {value!r}"
    assert actual.counters == expected.counters


def _by_record(answer: Ingested) -> defaultdict[int, list[Rejection | Fact]]:
    """What an answer says of each record. An Arrow row as JSON is the core's to spell, and lacks unknown columns."""
    said: defaultdict[int, list[Rejection | Fact]] = defaultdict(list)
    for rejection in answer.rejections:
        spelled = rejection.payload[:1] in (b"", b"{")
        said[rejection.record].append(replace(rejection, payload=b"") if spelled else rejection)
    for fact in answer.facts:
        said[fact.record].append(replace(fact, read=replace(fact.read, unknown=0)))
    return said


def assert_same_flush(expected: Flush, actual: Flush) -> None:
    """Equal deltas; sums that are 0 may be left out."""
    assert actual.counters == expected.counters
    assert actual.subjects == expected.subjects
    assert actual.usage.keys() == expected.usage.keys()
    for key, group in expected.usage.items():
        assert (actual.usage[key].first_offset, actual.usage[key].next_offset) == (
            group.first_offset,
            group.next_offset,
        )
        assert _without_zeros(actual.usage[key].sums) == _without_zeros(group.sums), key


def _without_zeros(sums: dict[str, int]) -> dict[str, int]:
    return {name: amount for name, amount in sums.items() if amount}


def test_the_generator_is_worth_its_name() -> None:
    """Most events are valid, duplicates are common, and every reason that needs no special set-up occurs."""
    answer = Reference(LIMITS).ingest(records(Random(1), 2_500), 0, APPEND_TIME_US)
    counters = answer.counters
    assert counters.accepted > counters.events_in * 0.08
    assert counters.duplicates > counters.events_in * 0.3
    assert counters.unknown_fields > 0
    assert counters.overflowed_labels > 0
    assert len(answer.facts) > 100
    codes = {rejection.code for rejection in answer.rejections}
    assert codes == {reason.code for reason in Reason} - {"too_deep"}
