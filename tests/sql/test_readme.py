"""What `sql/README.md` and the example grants tell people to run is something that ClickHouse understands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from fleetmeter_schemas.tables import LEDGER, QUARANTINE
from fleetmeter_sql import load_query, migrate, run_query
from fleetmeter_sql.named_queries import parse_query
from fleetmeter_sql.statements import split_statements

pytestmark = pytest.mark.clickhouse

ROOM = Path(__file__).parents[2] / "sql"
README = (ROOM / "README.md").read_text("utf-8")
GRANTS = split_statements((ROOM / "read_only_grants.sql").read_text("utf-8"), "read_only_grants.sql")
WORKER_GRANTS = split_statements((ROOM / "worker_grants.sql").read_text("utf-8"), "worker_grants.sql")


def test_the_retention_statement_runs(migrated: Client) -> None:
    (statement,) = re.findall(r"ALTER TABLE .*;", README)
    migrated.command(statement.replace("fleetmeter.", ""))


def test_the_example_query_runs(read_only: Client) -> None:
    (text,) = re.findall(r"```sql\n(-- .*?)```", README, re.DOTALL)
    assert run_query(read_only, parse_query("example", text), {"account": "acme"}).result_rows == []


def test_the_python_line_asks_an_existing_query_in_the_given_database(read_only: Client) -> None:
    assert 'load_query("local_share"), {"account": "acme"}, database="fleetmeter"' in README
    database = read_only.database
    with pytest.raises(DatabaseError, match="usage_"):
        run_query(read_only, load_query("local_share"), {"account": "acme"}, database="default")
    read_only.database = "default"
    try:
        answer = run_query(read_only, load_query("local_share"), {"account": "acme"}, database=database)
    finally:
        read_only.database = database
    assert list(answer.result_rows) == []


@pytest.mark.parametrize("statement", [*GRANTS, *WORKER_GRANTS])
def test_the_grants_are_valid_and_name_what_exists(read_only: Client, statement: str) -> None:
    # Parsed only: the embedded engine has no roles.
    read_only.query("SELECT formatQuery({s:String})", parameters={"s": statement})
    for table in re.findall(r"fleetmeter\.(\w+)(?!\w*\*)", statement):
        exists = read_only.query("EXISTS TABLE {t:Identifier}", parameters={"t": table}).result_rows
        assert exists == [(1,)], table
    for column in re.findall(r"SELECT\((\w+)\)", statement):
        assert column in {*LEDGER.column_names, *QUARANTINE.column_names}


def test_who_migrates_may_read_what_migrations_look_at(read_only: Client) -> None:
    """Servers give only some of the system tables to everybody."""
    asked: list[str] = []

    class Recording:
        def query(self, query: str, /, **options: Any) -> Any:
            asked.append(query)
            return read_only.query(query, **options)

        def command(self, cmd: str, /, **options: Any) -> Any:
            asked.append(cmd)
            return read_only.command(cmd, **options)

    migrate(Recording(), str(read_only.database))
    looked_at = set(re.findall(r"system\.(\w+)", " ".join(asked)))
    granted = {t for s in WORKER_GRANTS for t in re.findall(r"ON system\.(\w+) TO fleetmeter_migrator", s)}
    assert looked_at - {"databases", "tables", "columns"} == granted


def test_the_grants_cover_all_but_pseudonyms_and_identities(read_only: Client) -> None:
    granted = {
        table for s in GRANTS for table in re.findall(r"GRANT SELECT ON fleetmeter\.(\w+) TO fleetmeter_reader", s)
    }
    there = {name for (name,) in read_only.query("SHOW TABLES").result_rows}
    # What is billed is for those who bill: see worker_grants.sql.
    hidden = {name for name in there - granted if not name.startswith("billing_")}
    assert hidden == {"usage_subjects", "dedup_ids", "dedup_snapshots"}
