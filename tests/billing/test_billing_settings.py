"""Whatever a profile of ClickHouse says: an answer is whole or an error, and an empty log has the number 0."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from fleetmeter_billing.clickhouse import READ_SETTINGS

pytestmark = pytest.mark.clickhouse

MANY = "(SELECT number FROM numbers(200000))"


@pytest.mark.parametrize(
    ("limit", "mode", "statement"),
    [
        ("max_rows_in_set", "set", f"SELECT count() FROM numbers(200000) WHERE number NOT IN {MANY}"),
        ("max_rows_in_join", "join", f"SELECT count() FROM {MANY} AS a INNER JOIN {MANY} AS b USING (number)"),
        ("max_rows_to_group_by", "group_by", f"SELECT count() FROM (SELECT number FROM {MANY} GROUP BY number)"),
        ("max_rows_in_distinct", "distinct", f"SELECT count() FROM (SELECT DISTINCT number FROM {MANY})"),
        ("max_rows_to_sort", "sort", f"SELECT number FROM {MANY} ORDER BY number % 7"),
        ("max_rows_to_read", "read", f"SELECT count() FROM {MANY}"),
        ("max_result_rows", "result", f"SELECT * FROM {MANY}"),
    ],
)
def test_a_limit_that_would_cut_an_answer_is_an_error(
    clickhouse_client: Client, limit: str, mode: str, statement: str
) -> None:
    profile = {limit: 1_000, f"{mode}_overflow_mode": "break"}
    with pytest.raises(DatabaseError, match=r"\(TOO_MANY_ROWS|SET_SIZE_LIMIT_EXCEEDED"):
        clickhouse_client.query(statement, settings={**profile, **READ_SETTINGS})


def test_an_empty_log_has_the_number_0(clickhouse_client: Client) -> None:
    profile = {"aggregate_functions_null_for_empty": 1}
    answer = clickhouse_client.query("SELECT max(number) FROM numbers(0)", settings={**profile, **READ_SETTINGS})
    assert answer.result_rows == [(0,)]
