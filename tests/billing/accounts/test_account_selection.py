"""Which accounts are asked for by name, and which rows are left out afterwards."""

from __future__ import annotations

import pytest
from fleetmeter_billing.accounts.selection import few, rows_of

ROWS = [("a", 1), ("account-7", 2), ("z", 3)]


@pytest.mark.parametrize("count", [0, 1, 200])
def test_few_accounts_are_asked_for_by_name(count: int) -> None:
    named = tuple(f"account-{number}" for number in range(count))
    assert few(named) == list(named)
    assert rows_of(named, ROWS) == ROWS, "ClickHouse gave just those"


def test_of_many_accounts_all_are_read_and_the_others_left_out() -> None:
    named = tuple(f"account-{number}" for number in range(201))
    assert few(named) == []
    assert rows_of(named, ROWS) == [("account-7", 2)]
