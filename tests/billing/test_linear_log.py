"""A log's compare-and-swap: whatever befalls inserts, one row has each number, and everybody learns which."""

from __future__ import annotations

import itertools

import pytest
from fleetmeter_billing.errors import LogDamagedError, OutcomeUnknownError
from fleetmeter_billing.linear_log import LinearLog, Patience
from fleetmeter_doubles.log_table import Fate, LogTable
from hypothesis import given, settings
from hypothesis import strategies as st

LOG = LinearLog("closes")
HASTY = Patience(sleep=lambda _seconds: None)


def append(table: LogTable, number: int, name: str) -> str:
    return LOG.append(table, number, {"close_id": ("String", name)}, patience=HASTY)


def test_the_first_row_and_the_next() -> None:
    table = LogTable()
    assert LOG.newest(table) == (0, "")
    assert append(table, 1, "a") == "a"
    assert append(table, 2, "b") == "b"
    assert LOG.newest(table) == (2, "b")


def test_who_comes_second_learns_who_won() -> None:
    table = LogTable(rows=[(1, "rival")])
    assert append(table, 1, "a") == "rival"
    assert table.rows == [(1, "rival")]


def test_no_answer_is_tried_again_under_the_same_token() -> None:
    for fate in ("lost", "landed"):
        table = LogTable(fates=iter((fate,)))
        assert append(table, 1, "a") == "a"
        assert set(table.inserts) == {"closes/@1#0"}
        assert table.rows == [(1, "a")]


def test_a_ghost_raises_the_attempt() -> None:
    table = LogTable(fates=iter(("ghost", "ghost")))
    assert append(table, 1, "a") == "a"
    assert table.inserts == ["closes/@1#0", "closes/@1#1", "closes/@1#2"]


@pytest.mark.parametrize("engine", ["ReplicatedMergeTree", "SharedMergeTree"])
def test_replicas_have_no_ghosts_so_one_that_lags_is_waited_for_under_the_same_token(engine: str) -> None:
    table = LogTable(engine=engine, lagging=3)
    assert append(table, 1, "a") == "a"
    assert table.inserts == ["closes/@1#0"] * 4
    assert table.rows == [(1, "a")]


def test_a_replica_that_lags_for_long_leaves_it_open() -> None:
    table = LogTable(engine="ReplicatedMergeTree", lagging=1_000)
    with pytest.raises(OutcomeUnknownError, match=r"does not have row 1 of closes yet.*Run it again"):
        append(table, 1, "a")
    assert set(table.inserts) == {"closes/@1#0"}
    table.lagging = 0
    assert append(table, 1, "b") == "a", "whoever runs it again finds out"


def test_an_insert_that_lands_late_counts_once() -> None:
    table = LogTable(fates=iter(("late",)))
    assert append(table, 1, "a") == "a"
    table.land()
    assert table.rows == [(1, "a")]


def test_who_gets_no_answer_for_long_does_not_guess() -> None:
    table = LogTable(fates=itertools.repeat("lost"))
    with pytest.raises(OutcomeUnknownError, match="Run it again"):
        append(table, 1, "a")
    assert len(table.inserts) == HASTY.failures


def test_two_rows_with_one_number_are_an_error() -> None:
    table = LogTable(rows=[(1, "a"), (1, "b")])
    with pytest.raises(LogDamagedError):
        LOG.newest(table)
    with pytest.raises(LogDamagedError):
        append(table, 1, "c")


def test_a_row_that_can_never_follow_is_not_tried_for_ever() -> None:
    table = LogTable(rows=[(1, "a")])

    def count() -> None:
        assert len(table.inserts) < 20

    table.before_insert = count
    with pytest.raises(LogDamagedError, match=r"closes ends at seq 1, so that row 3 can't follow"):
        append(table, 3, "c")


FATES = st.sampled_from(["", "ghost", "lost", "landed", "late"])


@settings(max_examples=60)
@given(st.lists(FATES, max_size=7), st.lists(st.integers(0, 6), max_size=3))
def test_rivals_that_meet_anywhere_leave_one_row(fates: list[Fate], meetings: list[int]) -> None:
    """A rival for the same number acts within the inserts of another, and what is late lands at the worst moment."""
    table = LogTable(fates=iter(fates))
    told: list[str] = []
    inserts = itertools.count()
    rivals = iter(("b", "c", "d"))

    def interrupt() -> None:
        if next(inserts) in meetings and (rival := next(rivals, None)) is not None:
            told.append(append(table, 1, rival))
            table.land()

    table.before_insert = interrupt
    told.append(append(table, 1, "a"))
    table.land()
    assert len(table.rows) == 1
    assert set(told) == {table.rows[0][1]}
