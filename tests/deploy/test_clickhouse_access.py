"""Who may ask the embedded ClickHouse, and what."""

from __future__ import annotations

import base64

import pytest
from fleetmeter_local import ClickHouseUser
from fleetmeter_local.clickhouse.access import Users, refuse_strangers
from fleetmeter_local.clickhouse.answers import ClickHouseError
from fleetmeter_local.clickhouse.statement import parse_statement

USERS = Users(
    [ClickHouseUser("default"), ClickHouseUser("ann", "s:ecret"), ClickHouseUser("reader", readonly=True)],
    ["numbers", "url", "remote", "eval", "view", "file"],
)


def _basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


@pytest.mark.parametrize(
    ("headers", "query", "name"),
    [
        ({}, {}, "default"),
        (_basic("ann:s:ecret"), {}, "ann"),
        (_basic(":"), {}, "default"),
        ({"X-ClickHouse-User": "ann", "X-ClickHouse-Key": "s:ecret"}, {}, "ann"),
        ({"X-ClickHouse-Key": ""}, {}, "default"),
        ({}, {"user": "ann", "password": "s:ecret"}, "ann"),
        ({}, {"user": "reader"}, "reader"),
    ],
)
def test_the_right_credentials_are_let_in(headers: dict[str, str], query: dict[str, str], name: str) -> None:
    assert USERS.authenticate(headers, query).name == name


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        (_basic("ann:wrong"), {}),
        (_basic("ann"), {}),
        (_basic("nobody:"), {}),
        ({"X-ClickHouse-User": "ann"}, {}),
        ({"X-ClickHouse-Key": "s:ecret"}, {}),
        ({}, {"user": "ann"}),
        ({"Authorization": "Bearer x"}, {}),
        ({"Authorization": "Basic !"}, {}),
        ({"Authorization": "Basic " + base64.b64encode(b"\xff:").decode()}, {}),
    ],
)
def test_wrong_credentials_are_refused_as_a_server_does(headers: dict[str, str], query: dict[str, str]) -> None:
    with pytest.raises(ClickHouseError) as caught:
        USERS.authenticate(headers, query)
    assert (caught.value.code, caught.value.status) == (516, 403)


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1",
        b"SELECT * FROM numbers(3)",
        b"SELECT * FROM view(SELECT 1)",
        b"SHOW TABLES",
        b"DESCRIBE TABLE t",
        b"EXPLAIN SELECT 1",
        b"EXISTS t",
        b"SELECT 'file(x)' AS x, 'a$ \\n \xc3\xa9' AS \"\xc3\xa9\" FROM t -- file(",
        b"",
    ],
)
def test_readers_may_read(text: bytes) -> None:
    USERS.refuse_what_readers_may_not(parse_statement(text))


@pytest.mark.parametrize(
    "text",
    [
        b"INSERT INTO t VALUES (1)",
        b"WITH 1 AS x INSERT INTO t SELECT x",
        b"CREATE TABLE t (a Int8) ENGINE = Memory",
        b"SYSTEM STOP MERGES",
        b"KILL QUERY WHERE 1",
        b"SELECT file('/etc/passwd')",
        b"SELECT `file`('/etc/passwd')",
        b"DESCRIBE TABLE url('http://127.0.0.1')",
        b"SELECT * FROM eval('DROP TABLE t')",
        b"SELECT aiGenerate('x', 'y')",
        b"SELECT arrayMap(file, ['/etc/passwd'])",
        b"SELECT * APPLY `file` FROM (SELECT '/etc/passwd')",
        b"SELECT file /* a /* b */ ( */ // (\n # (\n ('/etc/passwd')",
        "SELECT file\u00a0('/etc/passwd')".encode(),
        "SELECT \u2018 ' \u2019, file('/etc/passwd') -- '".encode(),
        b"SELECT $a b$ ' $a b$, file('/etc/passwd') -- '",
        b"SELECT $a$ ' $a$, 1 -- '",
        b"SELECT 1 \\G",
    ],
)
def test_readers_may_do_nothing_else(text: bytes) -> None:
    with pytest.raises(ClickHouseError, match=r"(?i)in readonly mode") as caught:
        USERS.refuse_what_readers_may_not(parse_statement(text))
    assert caught.value.code == 164


def test_readers_may_set_limits_and_formats() -> None:
    USERS.refuse_settings_readers_may_not_give(
        {"max_threads": "1", "session_timezone": "Europe/Berlin", "output_format_csv_crlf_end_of_line": "1"}
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("additional_result_filter", "throwIf(1, file('/etc/passwd'))"),
        ("additional_table_filters", "{'t': 'file(x)'}"),
        ("format_template_resultset", "/etc/passwd"),
        ("format_schema", "/etc/passwd:M"),
        ("format_schema_source", "query"),
        ("dialect", "kusto"),
    ],
)
def test_readers_may_give_no_setting_that_reaches_beyond_the_database(name: str, value: str) -> None:
    with pytest.raises(ClickHouseError, match=name) as caught:
        USERS.refuse_settings_readers_may_not_give({"max_threads": "1", name: value})
    assert caught.value.code == 164


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:8123"},
        {"Host": "127.0.0.1:8123"},
        {"Host": "127.9.9.9"},
        {"Host": "[::1]:8123"},
        {"Host": "clickhouse.localhost"},
        {"Host": "localhost", "Origin": "http://localhost:3000"},
        {"Host": "localhost", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_programs_on_this_machine_are_no_strangers(headers: dict[str, str]) -> None:
    refuse_strangers(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:8123"},  # a page whose name resolves to 127.0.0.1
        {"Host": "10.0.0.1"},
        {"Host": "localhost", "Origin": "https://evil.example"},
        {"Host": "localhost", "Origin": "null"},
        {"Host": "localhost", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_pages_of_other_sites_are_strangers(headers: dict[str, str]) -> None:
    with pytest.raises(ClickHouseError) as caught:
        refuse_strangers(headers)
    assert caught.value.status == 403
