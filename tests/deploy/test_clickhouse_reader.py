"""A read-only user against the real engine: every way to change something or to leave the database is tried."""

from __future__ import annotations

import http.client
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from fleetmeter_local import ClickHouseUser, RunningClickHouse, start_clickhouse

pytestmark = pytest.mark.clickhouse

USERS = (
    ClickHouseUser("default"),
    ClickHouseUser("writer", "secret"),
    ClickHouseUser("reader", "s p:e?c&i=al'", readonly=True),
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningClickHouse]:
    with start_clickhouse(tmp_path_factory.mktemp("readers"), users=USERS, source="local") as running:
        with _client(running, "writer", "secret") as writer:
            writer.command("CREATE TABLE t (a UInt64) ENGINE MergeTree ORDER BY a")
            writer.command("INSERT INTO t VALUES (1), (2)")
        yield running


@pytest.fixture
def reader(engine: RunningClickHouse) -> Iterator[Client]:
    with _client(engine, "reader", USERS[2].password) as client:
        yield client


def _client(running: RunningClickHouse, user: str, password: str) -> Client:
    return clickhouse_connect.get_client(host=running.host, port=running.port, username=user, password=password)


def test_a_reader_reads(reader: Client) -> None:
    assert reader.query("SELECT sum(a) FROM t").result_rows == [(3,)]
    assert reader.query("SELECT a FROM t WHERE a = {a:UInt64}", parameters={"a": 2}).result_rows == [(2,)]
    assert reader.query_arrow("SELECT a FROM t ORDER BY a").column("a").to_pylist() == [1, 2]
    assert reader.command("SHOW TABLES") == "t"
    assert reader.query("SELECT count() FROM numbers(3)").result_rows == [(3,)]
    assert len(reader.query("DESCRIBE TABLE t").result_rows) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO t VALUES (3)",
        "INSERT INTO t SELECT 3",
        "WITH 3 AS x INSERT INTO t SELECT x",
        "INSERT INTO FUNCTION file('{tmp}/written', 'CSV', 'a Int8') VALUES (1)",
        "CREATE TABLE u (a Int8) ENGINE = Memory",
        "CREATE TEMPORARY TABLE u (a Int8)",
        "CREATE VIEW v AS SELECT 1",
        "CREATE DATABASE d",
        "CREATE FUNCTION f AS (x) -> x",
        "ALTER TABLE t DELETE WHERE 1",
        "ALTER TABLE t ADD COLUMN z Int8",
        "DELETE FROM t WHERE 1",
        "UPDATE t SET a = 1 WHERE 1",
        "TRUNCATE TABLE t",
        "DROP TABLE t",
        "RENAME TABLE t TO u",
        "DETACH TABLE t",
        "OPTIMIZE TABLE t FINAL",
        "SYSTEM STOP MERGES",
        "SYSTEM FLUSH LOGS",
        "KILL QUERY WHERE 1",
        "BACKUP TABLE t TO File('{tmp}/written')",
        "CHECK TABLE t",
        "SET readonly = 0",
        "SELECT 1 SETTINGS readonly = 0",
        "SELECT 1; DROP TABLE t",
        "SELECT 1 INTO OUTFILE '{tmp}/written'",
        "SELECT * FROM file('{tmp}/secret', 'LineAsString')",
        "DESCRIBE TABLE file('{tmp}/secret', 'CSV')",
        "SELECT file('{tmp}/secret')",
        "SELECT arrayMap(file, ['{tmp}/secret'])",
        "SELECT * APPLY (`file`) FROM (SELECT '{tmp}/secret')",
        "SELECT * FROM url('{url}/?query=SELECT+1', 'CSV', 'a Int8')",
        "DESCRIBE TABLE url('{url}/?query=SELECT+1')",
        "SELECT * FROM remote('127.0.0.1', 'default', 't')",
        "SELECT * FROM eval('SELECT 1')",
        "SELECT * FROM python('os')",
        "SELECT * FROM executable('x', 'TSV', 'a String')",
        "SELECT * FROM sqlite('{tmp}/secret', 't')",
        "EXPLAIN SELECT * FROM file('{tmp}/secret', 'LineAsString')",
    ],
)
def test_a_reader_changes_nothing_and_reaches_nothing_else(
    engine: RunningClickHouse, reader: Client, tmp_path: Path, statement: str
) -> None:
    (tmp_path / "secret").write_text("top secret\n")
    with pytest.raises(DatabaseError) as caught:
        reader.command(statement.format(tmp=tmp_path, url=engine.url))
    assert "READONLY" in str(caught.value) or "NOT_IMPLEMENTED" in str(caught.value) or "SYNTAX" in str(caught.value)
    assert "top secret" not in str(caught.value)
    assert not (tmp_path / "written").exists()
    with _client(engine, "default", "") as witness:
        assert witness.query("SELECT sum(a), count() FROM t").result_rows == [(3, 2)]
        assert witness.query("SELECT groupArray(name) FROM system.tables WHERE database = 'default'").result_rows == [
            (["t"],)
        ]


def test_the_tries_would_work_for_another_user(engine: RunningClickHouse, tmp_path: Path) -> None:
    """The counter-proof: it is the user that is refused, not the statement."""
    (tmp_path / "secret").write_text("open\n")
    with _client(engine, "writer", "secret") as writer:
        assert writer.command(f"SELECT file('{tmp_path}/secret')") == "open\\n"
        writer.command("CREATE TABLE u (a Int8) ENGINE = Memory")
        writer.command("INSERT INTO u VALUES (1)")
        assert writer.command("SELECT count() FROM u") == 1
        writer.command("DROP TABLE u SYNC")


@pytest.mark.parametrize(("setting", "status"), [("max_threads=1", 200), ("readonly=2", 200), ("readonly=0", 500)])
def test_a_reader_sets_limits_in_the_url_but_does_not_lift_readonly(
    engine: RunningClickHouse, setting: str, status: int
) -> None:
    connection = http.client.HTTPConnection(engine.host, engine.port)
    headers = {"X-ClickHouse-User": "reader", "X-ClickHouse-Key": USERS[2].password}
    connection.request("POST", f"/?{setting}", body="SELECT getSetting('readonly')", headers=headers)
    response = connection.getresponse()
    assert (response.status, response.read()[:2]) == (status, b"1\n" if status == 200 else b"Co")
    connection.close()


@pytest.mark.parametrize(
    ("setting", "statement"),
    [
        ({"additional_result_filter": "throwIf(1, file('{tmp}/secret'))"}, "SELECT 1"),
        ({"additional_table_filters": "{{'default.t': 'throwIf(1, file(''{tmp}/secret''))'}}"}, "SELECT a FROM t"),
        ({"format_template_row": "{tmp}/secret"}, "SELECT 1 FORMAT Template"),
        ({"format_template_resultset": "{tmp}/secret"}, "SELECT 1 FORMAT Template"),
        ({"format_schema_source": "query", "format_schema": "SELECT file('{tmp}/secret')"}, "SELECT 1 FORMAT Protobuf"),
        ({"dialect": "kusto", "allow_experimental_kusto_dialect": "1"}, "t"),
    ],
)
def test_a_reader_leaves_the_database_by_no_setting(
    engine: RunningClickHouse, setting: dict[str, str], statement: str, tmp_path: Path
) -> None:
    """An error with the file's content is an answer, too."""
    (tmp_path / "secret").write_text("top secret\n")
    given = urllib.parse.urlencode({name: value.format(tmp=tmp_path) for name, value in setting.items()})
    answers = {}
    for user, password in (("reader", USERS[2].password), ("writer", "secret")):
        connection = http.client.HTTPConnection(engine.host, engine.port)
        headers = {"X-ClickHouse-User": user, "X-ClickHouse-Key": password}
        connection.request("POST", f"/?{given}", body=statement, headers=headers)
        answers[user] = connection.getresponse().read().decode()
        connection.close()
    assert "READONLY" in answers["reader"]
    assert "top secret" not in answers["reader"]
    assert "READONLY" not in answers["writer"]


@pytest.mark.parametrize(("user", "password"), [("reader", ""), ("writer", "wrong"), ("nobody", "")])
def test_wrong_passwords_are_refused(engine: RunningClickHouse, user: str, password: str) -> None:
    with pytest.raises(DatabaseError, match="AUTHENTICATION_FAILED"):
        _client(engine, user, password)
