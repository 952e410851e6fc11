"""What people read when ClickHouse is away or says no."""

from __future__ import annotations

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from fleetmeter_sql.refusals import explain_refusal, reason_of
from urllib3.exceptions import ProtocolError, ReadTimeoutError


def refused(code: int, text: str) -> DatabaseError:
    """As clickhouse_connect puts it."""
    said = f"Received ClickHouse exception, code: {code}, server response: Code: {code}. DB::Exception: {text}"
    return DatabaseError(f"{said} (version 25.12.1.1 (official build)) (for url http://store:8123)", code=code)


@pytest.mark.parametrize(
    ("host", "reason"), [("127.0.0.1", "connection refused"), ("no-host.invalid", "name or service not known")]
)
def test_a_store_that_is_away_is_told_by_the_networks_own_word(host: str, reason: str) -> None:
    with pytest.raises(OperationalError) as raised:
        clickhouse_connect.get_client(host=host, port=1)
    assert explain_refusal(raised.value) == (
        f"ClickHouse at http://{host}:1 does not answer: {reason}. "
        "Start one with `fleetmeter up`, or set FLEETMETER_CLICKHOUSE_URL."
    )
    assert reason_of(raised.value) == reason


@pytest.mark.parametrize(
    ("code", "text", "told"),
    [
        (
            60,
            "Table f.t does not exist. (UNKNOWN_TABLE)",
            "Table f.t does not exist (UNKNOWN_TABLE). The tables are not",
        ),
        (47, "Unknown expression identifier `x`. (UNKNOWN_IDENTIFIER)", "run `fleetmeter migrate`."),
        (497, "ana: Not enough privileges. (ACCESS_DENIED)", "sql/worker_grants.sql"),
        (164, "ana: Cannot execute query in readonly mode. (READONLY)", "FLEETMETER_CLICKHOUSE_USER"),
        (243, "Not enough space. (NOT_ENOUGH_SPACE)", "Not enough space (NOT_ENOUGH_SPACE). Free space"),
        (
            395,
            "Two\n  lines. (FUNCTION_THROW_IF_VALUE_IS_NON_ZERO)",
            "Two lines (FUNCTION_THROW_IF_VALUE_IS_NON_ZERO).",
        ),
    ],
)
def test_a_refusal_is_clickhouses_sentence_and_what_to_do(code: int, text: str, told: str) -> None:
    said = explain_refusal(refused(code, text))
    assert said.startswith("ClickHouse at http://store:8123 refuses: ")
    assert told in said
    assert "version 25" not in said


def test_somebody_else_at_the_address_is_noticed() -> None:
    error = DatabaseError("HTTP driver received HTTP status 404, server response: 404 (for url http://store:1)")
    assert explain_refusal(error) == ("ClickHouse at http://store:1 refuses: HTTP 404; is that ClickHouse's address?")


@pytest.mark.parametrize(
    ("behind", "reason"),
    [
        (ProtocolError("Connection broken"), "the connection broke"),
        (ReadTimeoutError(None, "/", "Read timed out."), "it took too long"),  # type: ignore[arg-type]
        (TimeoutError(), "timed out"),
        (ConnectionResetError(104, "Connection reset by peer"), "connection reset by peer"),
    ],
)
def test_what_breaks_off_in_an_answer_is_told(behind: Exception, reason: str) -> None:
    error = OperationalError("Unexpected error")
    error.__cause__ = behind
    assert explain_refusal(error, "http://store:8123").startswith(
        f"ClickHouse at http://store:8123 does not answer: {reason}."
    )
