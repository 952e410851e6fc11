"""A chain of markers is whole, has a hole, or overlaps; and what merges make of one stays one."""

from __future__ import annotations

from itertools import pairwise

from fleetmeter_jobs.audit.chain import MarkerRow, find_breaks
from fleetmeter_jobs.ledger.position import PartitionId
from hypothesis import given
from hypothesis import strategies as st

LOG = PartitionId("usage", 3)


def rows(*spans: tuple[int, int], log: PartitionId = LOG) -> list[MarkerRow]:
    return [MarkerRow(log, first, following, following - first) for first, following in spans]


def sentences(found: list[MarkerRow]) -> list[str]:
    return [finding.sentence for finding in find_breaks(found)]


def test_a_hole_and_an_overlap_of_the_same_size_are_both_found() -> None:
    broken = rows((10, 10), (10, 20), (10, 20), (30, 40))
    assert sum(row.offsets for row in broken) == 40 - 10, "the sums hold"
    assert sentences(broken) == [
        "usage-3/0: offsets 10 to 20 were committed twice.",
        "usage-3/0: offsets 20 to 30 are in no commit, those after them are.",
    ]


def test_a_commit_within_another_and_one_that_reaches_beyond() -> None:
    assert sentences(rows((0, 30), (10, 20), (25, 40))) == [
        "usage-3/0: offsets 10 to 20 were committed twice.",
        "usage-3/0: offsets 25 to 30 were committed twice.",
    ]


def test_each_log_has_a_chain_of_its_own() -> None:
    other = PartitionId("usage", 3, 1)
    assert sentences([*rows((5, 9), (9, 12)), *rows((0, 7), log=other)]) == []


def test_a_merged_row_with_a_commit_of_another_month_in_its_middle_is_sound() -> None:
    assert sentences([MarkerRow(LOG, 0, 30, 20), *rows((10, 20))]) == []
    assert sentences([MarkerRow(LOG, 0, 30, 40)]) == [
        "usage-3/0: the marker of offsets 0 to 30 accounts for 40, more than the 30 there are."
    ]


def test_what_an_operator_left_out_of_a_merged_row_hides_nothing_else() -> None:
    merged = MarkerRow(LOG, 0, 30, 20)
    skips = [MarkerRow(LOG, 10, 15, 5, left_out=True), MarkerRow(LOG, 15, 20, 5, left_out=True)]
    assert sentences([merged, *skips]) == []
    assert sentences([merged, *skips, *rows((30, 40), (30, 40), (50, 60))]) == [
        "usage-3/0: offsets 30 to 40 were committed twice.",
        "usage-3/0: offsets 40 to 50 are in no commit, those after them are.",
    ]
    assert sentences([merged, *rows((8, 10)), *skips]) == ["usage-3/0: offsets 8 to 10 were committed twice."]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.data())
def test_any_sound_chain_is_silent_and_any_row_taken_out_or_doubled_is_not(
    lengths: list[int], data: st.DataObject
) -> None:
    ends = [sum(lengths[:count]) for count in range(len(lengths) + 1)]
    sound = rows((0, 0), *pairwise(ends))
    assert sentences(sound) == []
    which = data.draw(st.integers(1, len(sound) - 1))
    doubled = sorted([*sound, sound[which]], key=lambda row: (row.first_offset, row.next_offset))
    assert len(sentences(doubled)) == 1
    without = sound[:which] + sound[which + 1 :]
    assert len(sentences(without)) == (which < len(sound) - 1), "what is cut off at the end is for Kafka's log to tell"
