"""Migrations as they are rendered for replicas. The embedded engine has none, but it parses what they would be told."""

from __future__ import annotations

import re

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_sql import TableOptions, TableOptionsError, load_migrations

PATH = "/clickhouse/tables/{shard}/{database}/{table}"
STATEMENTS = [statement for migration in load_migrations() for statement in migration.statements]
TABLES = [statement for statement in STATEMENTS if statement.startswith("CREATE TABLE")]


def test_one_server_gets_the_migrations_as_they_are() -> None:
    assert [TableOptions().render(statement) for statement in STATEMENTS] == STATEMENTS


def test_each_table_is_replicated_and_keeps_the_rest_of_its_engine() -> None:
    options = TableOptions(replicated_path=PATH)
    assert len(TABLES) >= 11
    for statement in TABLES:
        (plain,) = re.findall(r"^ENGINE = (\w*)MergeTree(?:\((.*)\))?$", statement, re.MULTILINE)
        (there,) = re.findall(r"^ENGINE = (\w*)MergeTree\((.*)\)$", options.render(statement), re.MULTILINE)
        assert there[0] == f"Replicated{plain[0]}"
        assert there[1] == f"'{PATH}', '{{replica}}'" + (f", {plain[1]}" if plain[1] else "")


def test_tokens_are_remembered_as_long_on_replicas() -> None:
    (ledger,) = (TableOptions(replicated_path=PATH).render(s) for s in TABLES if " ledger\n" in s)
    assert "non_replicated" not in ledger
    (window,) = re.findall(r"\breplicated_deduplication_window = (\d+)", ledger)
    (seconds,) = re.findall(r"\breplicated_deduplication_window_seconds = (\d+)", ledger)
    assert int(window) == 100_000
    assert int(seconds) == 7 * 86_400, "as shipped Keeper forgets after an hour, which a frozen worker outlives"


def test_each_statement_names_the_cluster() -> None:
    options = TableOptions(replicated_path=PATH, cluster="billing")
    for statement in [*STATEMENTS, "CREATE DATABASE IF NOT EXISTS usage", "ALTER TABLE ledger MODIFY SETTING x = 1"]:
        if not statement.startswith("INSERT"):
            assert options.render(statement).count(" ON CLUSTER 'billing'") == 1, statement[:80]


@pytest.mark.clickhouse
def test_the_engine_s_own_parser_takes_every_rendered_statement(read_only: Client) -> None:
    options = TableOptions(replicated_path=PATH, cluster="billing")
    for statement in STATEMENTS:
        text = options.render(statement).replace("\\", "\\\\").replace("'", "\\'")
        ((formatted,),) = read_only.query(f"SELECT formatQuery('{text}')").result_rows
        assert statement.startswith("INSERT") or "ON CLUSTER billing" in formatted
        if statement.startswith("CREATE TABLE"):
            assert re.search(r"ENGINE = Replicated\w*MergeTree\('/clickhouse/tables/", formatted)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"replicated_path": "clickhouse/{table}"}, "begins with /"),
        ({"replicated_path": "/clickhouse/all"}, "all tables would be one"),
        ({"replicated_path": "/a'b/{table}"}, "a quote"),
        ({"cluster": "x' SYNC"}, "can't be the name of a cluster"),
    ],
)
def test_what_can_t_work_is_refused(given: dict[str, str], says: str) -> None:
    with pytest.raises(TableOptionsError, match=re.escape(says)):
        TableOptions(**given)  # type: ignore[arg-type]
