"""Errors in a server's words and with a server's status."""

from __future__ import annotations

import pytest
from fleetmeter_local.clickhouse.answers import ClickHouseError, engine_error

READONLY = "Code: 164. DB::Exception: Cannot modify 'x' setting in readonly mode. (READONLY)"


def test_an_engine_error_keeps_its_text_code_and_name() -> None:
    error = engine_error("Code: 60. DB::Exception: Table default.x does not exist. (UNKNOWN_TABLE)")
    assert (error.code, error.name, error.status) == (60, "UNKNOWN_TABLE", 404)
    assert error.text == "Code: 60. DB::Exception: Table default.x does not exist. (UNKNOWN_TABLE)"


@pytest.mark.parametrize(
    "text",
    [
        # As chDB gives it for a setting in a query of a read-only session.
        f"Code: 164. DB::Exception: {READONLY} (version 26.9.2.1). (READONLY)",
        f"Failed: {READONLY} (version 26.9.2.1)",
        f"{READONLY} (version 26.9.2.1 (official build))",
    ],
)
def test_repeated_heads_prefixes_and_versions_go(text: str) -> None:
    error = engine_error(text)
    assert error.text == READONLY
    assert (error.code, error.status) == (164, 500)


def test_an_error_without_a_code_is_an_unknown_exception() -> None:
    error = engine_error("something odd")
    assert (error.code, error.name, error.status) == (1002, "UNKNOWN_EXCEPTION", 500)
    assert "something odd" in error.text


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("SYNTAX_ERROR", 400),
        ("CANNOT_PARSE_DATETIME", 400),
        ("UNKNOWN_SETTING", 404),
        ("UNKNOWN_DATABASE", 404),
        ("AUTHENTICATION_FAILED", 403),
        ("REQUIRED_PASSWORD", 401),
        ("TIMEOUT_EXCEEDED", 408),
        ("QUERY_IS_TOO_LARGE", 413),
        ("NOT_IMPLEMENTED", 501),
        ("CANNOT_OPEN_FILE", 503),
        ("MEMORY_LIMIT_EXCEEDED", 500),
    ],
)
def test_statuses_are_those_of_a_server(name: str, status: int) -> None:
    assert ClickHouseError(1, name, "x").status == status
