"""The start-up canary: before a worker trusts a store, the store shows on a scratch table that commits are safe on it.

What a commit relies on can be switched off by a user's profile, a table setting, a version or a proxy, without any
error. So each promise is tried out, and a store that breaks one is refused by name. Every canary has a table of its
own; those of rival workers don't meet.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache
from typing import Protocol

import numpy as np
import pyarrow as pa

from fleetmeter_jobs.ledger.arrow_batch import USAGE_COLUMNS, encode_rows, ledger_schema, marker_row
from fleetmeter_jobs.ledger.errors import LedgerError, StoreRefusedError
from fleetmeter_jobs.ledger.position import Counts, PartitionId, Tail
from fleetmeter_jobs.ledger.store import Guard, LedgerRows, LedgerStore, NoPosition, PositionIs

LEAST_WINDOW = 10_000
"""Tokens that the table must remember at least: partitions x commits per second x longest insert x 10."""
_ROWS = 70_000
"""More than the 65,409 rows of a default block, so that a store that cuts blocks shows it."""
_RIVALS = 4
_ROUNDS = 3
_TABLE_PARTITION = 197_001
_WHO = PartitionId("canary", 0, 0)


class ScratchStore(LedgerStore, Protocol):
    """A store on an empty table of its own, made exactly as the ledger is."""

    def parts_made(self) -> int:
        """Parts that inserts have made so far, merged since or not."""
        ...

    def usage_events(self) -> int:
        """Sum of `requests` over all rows."""
        ...

    def window(self) -> int:
        """How many tokens the table remembers."""
        ...


def prove_store(open_scratch: Callable[[], AbstractContextManager[ScratchStore]]) -> None:
    """Raise StoreRefusedError, naming the check and the fix, unless commits are safe on this store.

    StoreUnavailableError (from the store) means that nothing is known yet: try again.
    """
    with open_scratch() as store:
        window = store.window()
        _expect("window", window >= LEAST_WINDOW, f"the ledger remembers {window} tokens, {LEAST_WINDOW} are needed")
        _check_one_part(store)
        _check_guard(store)
        _check_token(store)
        _check_cut_body(store)
        for round_number in range(_ROUNDS):
            _check_one_winner(store, round_number)


def _check_one_part(store: ScratchStore) -> None:
    store.insert(_first_marker(), NoPosition(_WHO), "canary@init#0")
    _expect_position(store, "one_part", 0)
    before = store.parts_made()
    store.insert(_rows(0, 1, events=_ROWS), PositionIs(_WHO, 0), "canary@0#0")
    _expect_position(store, "one_part", 1)
    parts = store.parts_made() - before
    _expect("one_part", parts == 1, f"one insert of {_ROWS} rows made {parts} parts, so that it could appear in pieces")
    events = store.usage_events()
    _expect("one_part", events == _ROWS, f"of {_ROWS} rows with an event each, {events} events can be read back")


def _check_guard(store: ScratchStore) -> None:
    store.insert(_rows(0, 1), PositionIs(_WHO, 0), "canary@0#guard")
    _expect_position(store, "guard", 1)
    commits = _commits(store)
    _expect("guard", commits == 1, f"an insert for a position long passed was let in ({commits} commits, not 1)")


def _check_token(store: ScratchStore) -> None:
    # The guard holds and only the token stands in the way: it was spent by the first commit.
    store.insert(_rows(1, 2), PositionIs(_WHO, 1), "canary@0#0")
    _expect_position(store, "token", 1)


def _check_cut_body(store: ScratchStore) -> None:
    whole = _rows(1, 2)
    cut = LedgerRows(whole.row_count, whole.body.slice(0, whole.body.size - 64))
    try:
        store.insert(cut, PositionIs(_WHO, 1), "canary@1#cut")
    except LedgerError:
        _expect_position(store, "cut_body", 1)
        return
    _expect("cut_body", False, "a body without its end was taken for a whole one")


def _check_one_winner(store: ScratchStore, round_number: int) -> None:
    here = 1 + round_number
    guard: Guard = PositionIs(_WHO, here)
    commits_before, events_before = _commits(store), store.usage_events()
    with ThreadPoolExecutor(_RIVALS) as pool:
        tries = [pool.submit(store.insert, _rows(here, here + 1), guard, f"canary@{here}#0") for _ in range(_RIVALS)]
        for one in tries:
            one.result()
    _expect_position(store, "one_winner", here + 1)
    won, counted = _commits(store) - commits_before, store.usage_events() - events_before
    _expect("one_winner", won == counted == 1, f"of {_RIVALS} rivals with one token, {won} were let in")


def _expect_position(store: ScratchStore, check: str, offset: int) -> None:
    position = store.position(_WHO)
    there = None if position is None else position.next_offset
    _expect(check, there == offset, f"the position must be {offset} and is {there}")


def _commits(store: ScratchStore) -> int:
    position = store.position(_WHO)
    return 0 if position is None else position.commits


def _expect(check: str, holds: bool, message: str) -> None:
    if not holds:
        raise StoreRefusedError(
            check,
            f"{message}. Use ClickHouse 25.12 or newer, the tables that `fleetmeter migrate` makes, and a user whose "
            "profile neither forbids nor fixes the settings that the ledger pins",
        )


def _first_marker() -> LedgerRows:
    return encode_rows([marker_row(_WHO, 0, 0, _tail(0))])


def _rows(first_offset: int, next_offset: int, *, events: int = 1) -> LedgerRows:
    counts = Counts(records=next_offset - first_offset, events_in=events, accepted=events)
    marker = marker_row(_WHO, _TABLE_PARTITION, first_offset, _tail(next_offset), counts=counts, commits=1)
    return encode_rows([marker], _usage(events), partition=_WHO, table_partition=_TABLE_PARTITION)


def _tail(next_offset: int) -> Tail:
    return Tail(next_offset, secrets.token_hex(16), "canary", 0, 0, _TABLE_PARTITION)


@cache
def _usage(events: int) -> pa.RecordBatch:
    """As many rows with one request each, all of them different."""
    columns = {}
    for name in USAGE_COLUMNS:
        kind = ledger_schema().field(name).type
        if name == "minute":
            columns[name] = pa.array(np.arange(events, dtype=np.uint32) * 60)
        elif pa.types.is_dictionary(kind):
            columns[name] = pa.DictionaryArray.from_arrays(pa.array(np.zeros(events, np.int32)), ["canary"])
        else:
            columns[name] = pa.array(np.full(events, 1 if name == "requests" else 0, kind.to_pandas_dtype()))
    return pa.record_batch(columns)
