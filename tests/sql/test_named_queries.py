"""Loading named queries: the rules of their files, and the help that a typing person gets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from fleetmeter_sql import (
    BadParameterError,
    MissingParameterError,
    NamedQuery,
    SqlFileError,
    UnknownParameterError,
    UnknownQueryError,
    list_queries,
    load_query,
)
from fleetmeter_sql.named_queries import parse_query
from fleetmeter_sql.queries import Parameter

NOW = datetime(2026, 11, 22, 13, 45, tzinfo=UTC)
GOOD = """\
-- How many there are.
-- param from DateTime('UTC') = now-1d: start, included
-- param account String = : only this one; empty for all
-- param limit UInt32: number of rows
--
-- Why it is so.
SELECT {from:DateTime('UTC')}, {account:String} -- a note
LIMIT {limit:UInt32};
"""


def test_a_file_declares_what_it_answers_and_what_it_takes() -> None:
    query = parse_query("how_many", GOOD)
    assert (query.name, query.sentence) == ("how_many", "How many there are.")
    assert query.parameters == (
        Parameter("from", "DateTime('UTC')", "now-1d", "start, included"),
        Parameter("account", "String", "", "only this one; empty for all"),
        Parameter("limit", "UInt32", None, "number of rows"),
    )
    assert query.sql.startswith("SELECT {from:")
    assert query.sql.endswith("LIMIT {limit:UInt32}")


def test_parameters_are_bound_to_what_was_given_or_the_default() -> None:
    query = parse_query("how_many", GOOD)
    assert query.bind({"limit": "5"}, NOW) == {"from": "2026-11-21 13:45:00", "account": "", "limit": "5"}
    assert query.bind({"limit": 5, "from": "2026-11-01", "account": "a"}, NOW) == {
        "from": "2026-11-01 00:00:00",
        "account": "a",
        "limit": "5",
    }
    with pytest.raises(MissingParameterError, match=r"needs the parameter limit \(UInt32\): number of rows"):
        query.bind({}, NOW)
    with pytest.raises(
        UnknownParameterError, match=r"no parameter 'acount'; did you mean account\?; its parameters are"
    ):
        query.bind({"limit": 5, "acount": "x"}, NOW)
    spanned = load_query("usage_by_account")
    with pytest.raises(BadParameterError, match=r"from \(2026-11-22 .*\) is after to \(2026-11-21"):
        spanned.bind({"from": "now", "to": "now-1d"}, NOW)
    assert spanned.bind({"from": "now-1d", "to": "now"}, NOW)["to"] == "2026-11-22 13:45:00"
    with pytest.raises(UnknownParameterError, match="it has none"):
        parse_query("x", "-- All.\nSELECT 1;").bind({"a": "b"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("-- How many there are.", "SELECT 2;"), "the first line must be"),
        (("How many there are.", "how many"), "the first line must be"),
        (("-- param limit UInt32:", "-- param limit:"), "is not `-- param name Type = default: meaning`"),
        (("limit UInt32:", "limit UInt64:"), "type UInt64 is not one of String, UInt32"),
        (("-- param limit UInt32: number of rows\n", ""), r"\{limit:UInt32\} is used but not declared"),
        (("{account:String}", "1"), r"\{account:String\} is declared but not used"),
        (("{account:String}", "{account:UInt32}"), r"\{account:String\} is declared but not used"),
        (("-- param limit", "-- param limit UInt32: again\n-- param limit"), "a parameter is declared twice"),
        (("-- a note", "; SELECT 3"), "holds 2 statements"),
        (("LIMIT {limit:UInt32};", "LIMIT {limit:UInt32}"), "does not end with a semicolon"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused(change: tuple[str, str], message: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(SqlFileError, match=rf"queries/how_many\.sql.*{message}"):
        parse_query("how_many", GOOD.replace(*change))


def test_an_empty_file_and_a_bad_name_are_refused() -> None:
    with pytest.raises(SqlFileError, match="the first line must be"):
        parse_query("x", "")
    with pytest.raises(SqlFileError, match="a query is called like_this"):
        parse_query("How-Many", GOOD)


def test_an_unknown_query_suggests_the_nearest() -> None:
    with pytest.raises(UnknownQueryError, match=r"no query 'freshnes'; did you mean freshness\?; there are active_"):
        load_query("freshnes")
    with pytest.raises(UnknownQueryError) as caught:
        load_query("zzzz")
    assert "did you mean" not in str(caught.value)
    assert caught.value.domain == "input"


def test_the_first_set_is_there() -> None:
    assert [query.name for query in list_queries()] == [
        "active_subjects",
        "completeness",
        "cost_by_steps",
        "deployments",
        "fallback_hot_spots",
        "freshness",
        "local_share",
        "matrix_operations",
        "quarantine_by_reason",
        "seats",
        "steps_per_token",
        "tokens_per_second",
        "usage_by_account",
    ]


@pytest.mark.parametrize("query", list_queries(), ids=lambda query: query.name)
def test_each_query_only_reads_and_runs_without_parameters(query: NamedQuery) -> None:
    assert query.sql.split()[0] in {"SELECT", "WITH"}
    assert set(query.bind({}, NOW)) == {p.name for p in query.parameters}
    assert "ledger" not in query.sql
