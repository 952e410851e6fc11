"""Where chunks are cut: by ids, bytes and days, and the same whether one starts at the beginning or at any cut."""

from __future__ import annotations

import pytest
from fleetmeter_jobs.ledger.dedup.chunks import BlobStats, Chunk, CutRule, Cutter
from fleetmeter_jobs.ledger.position import PartitionId
from hypothesis import given
from hypothesis import strategies as st

PARTITION = PartitionId("usage", 0, 0)
RULE = CutRule(ids=10, blob_bytes=1000)
Commits = list[tuple[int, BlobStats, int]]


def cut(commits: Commits, start: int = 0) -> tuple[list[Chunk], Chunk]:
    cutter = Cutter(RULE, PARTITION, start)
    closed = [chunk for commit in commits if (chunk := cutter.add(*commit)) is not None]
    return closed, cutter.open


def commit(
    next_offset: int, foreign: int = 0, sequenced: int = 0, day: int = 5, size: int = 10
) -> tuple[int, BlobStats, int]:
    return next_offset, BlobStats(sequenced, foreign, day), size


@pytest.mark.parametrize(
    ("commits", "ends"),
    [
        ([commit(3, 9), commit(5, 0, 100), commit(8, 1), commit(9, 1)], [8]),
        ([commit(3, 25), commit(5, 10), commit(6, 9)], [3, 5]),
        ([commit(3, size=999), commit(4, size=1), commit(5, size=2000)], [4, 5]),
        (
            [commit(3, 1, day=5), commit(4, 1, day=5), commit(7, 1, day=6), commit(9, 1, day=6), commit(10, day=8)],
            [7, 10],
        ),
        ([commit(3, 1, day=6), commit(4, 1, day=5)], []),
    ],
    ids=["ids", "a_large_commit", "bytes", "days", "a_clock_that_goes_back"],
)
def test_a_chunk_ends_with_the_commit_that_makes_it_enough(commits: Commits, ends: list[int]) -> None:
    closed, rest = cut(commits)
    assert [chunk.next_offset for chunk in closed] == ends
    assert [chunk.first_offset for chunk in [*closed, rest]] == [0, *ends]
    assert rest.next_offset == commits[-1][0]


def test_a_chunk_adds_up_its_commits() -> None:
    (chunk,), _ = cut([commit(3, 4, 7, day=5, size=100), commit(9, 6, 1, day=5, size=50)])
    assert chunk == Chunk(
        PARTITION, 0, 9, foreign_ids=10, identities=18, blobs=2, blob_bytes=150, first_day=5, append_day=5
    )


def test_the_end_of_a_log_closes_what_is_open() -> None:
    cutter = Cutter(RULE, PARTITION, 4)
    assert cutter.close() is None
    cutter.add(*commit(6, 1))
    assert cutter.close() == Chunk(PARTITION, 4, 6, 1, 1, 1, 10, 5, 5)
    assert cutter.open == Chunk(PARTITION, 6, 6)


made_commits = st.lists(
    st.tuples(st.integers(1, 5), st.integers(0, 12), st.integers(0, 5), st.integers(0, 2), st.integers(1, 600)),
    max_size=40,
)


@given(made_commits)
def test_whoever_starts_at_a_cut_cuts_on_alike(steps: list[tuple[int, int, int, int, int]]) -> None:
    commits: Commits = []
    offset, day = 0, 1
    for span, foreign, sequenced, days, size in steps:
        offset, day = offset + span, day + (days == 2)
        commits.append(commit(offset, foreign, sequenced, day, size))
    closed, rest = cut(commits)
    for number, chunk in enumerate(closed):
        later = [one for one in commits if one[0] > chunk.next_offset]
        assert cut(later, chunk.next_offset) == (closed[number + 1 :], rest)
    assert sum(chunk.identities for chunk in [*closed, rest]) == sum(stats.identities for _, stats, _ in commits)
    assert sum(chunk.blobs for chunk in [*closed, rest]) == len(commits)
