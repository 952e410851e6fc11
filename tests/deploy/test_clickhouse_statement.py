"""Where a statement's format, data and calls are: cases written by hand from ClickHouse's grammar."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from fleetmeter_local.clickhouse.answers import ClickHouseError
from fleetmeter_local.clickhouse.engine import reading_from
from fleetmeter_local.clickhouse.statement import parse_statement


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (b"SELECT 1", "SELECT"),
        (b"  \n-- a comment; with a semicolon\n/* and; another */ select 1", "SELECT"),
        (b"#! shebang\nSHOW TABLES", "SHOW"),
        (b"(SELECT 1) UNION ALL (SELECT 2)", "SELECT"),
        (b"with x as (select 1) select * from x", "WITH"),
        (b"OPTIMIZE TABLE t", "OPTIMIZE"),
        (b"", ""),
        (b"  ;; ", ""),
    ],
)
def test_the_kind_is_the_first_word(text: bytes, kind: str) -> None:
    statement = parse_statement(text)
    assert (statement.kind, statement.inserts, statement.data_at) == (kind, False, None)


@pytest.mark.parametrize(
    ("text", "format_name"),
    [
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"SELECT 1 format CSVWithNames;", "CSVWithNames"),
        (b"SELECT 1 FORMAT TSV SETTINGS max_threads = 1, x = 'FORMAT CSV'", "TSV"),
        (b"SELECT 1 FORMAT/* so */Native -- FORMAT CSV", "Native"),
        (b"SELECT 1", None),
        (b"SELECT format FROM t", None),
        (b"SELECT format, b FROM t FORMAT JSON", "JSON"),
        (b"SELECT x AS format FROM t", None),
        (b"SELECT format('{}', x) FROM t", None),
        (b"SELECT 1 FROM format(JSONEachRow, '{}')", None),
        (b"SELECT t.format FROM t", None),
        (b"SELECT 'FORMAT JSON'", None),
        (b"SELECT (SELECT 1 FORMAT JSON)", None),
        (b'SELECT "a FORMAT JSON" FROM t', None),
        (b"SELECT format x FROM t", None),
    ],
)
def test_the_format_clause_ends_a_statement(text: bytes, format_name: str | None) -> None:
    assert parse_statement(text).format == format_name


@pytest.mark.parametrize(
    ("text", "format_name", "data"),
    [
        (b"INSERT INTO t FORMAT CSV\n1,2\n", "CSV", b"1,2\n"),
        (b"INSERT INTO t FORMAT CSV\r\n1,2", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT CSV 1,2", "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT TSV\n\n1", "TSV", b"\n1"),
        (b"INSERT INTO t FORMAT TSV \t\n  1", "TSV", b"  1"),
        (b"INSERT INTO t FORMAT RowBinary\n\x00;'\xff", "RowBinary", b"\x00;'\xff"),
        (b"insert into db.t (a, b) values (1, ';'), (2, 'x')", "Values", b" (1, ';'), (2, 'x')"),
        (b"INSERT INTO t VALUES(1); DROP TABLE t", "Values", b"(1); DROP TABLE t"),
        (b"INSERT INTO values VALUES (1)", "Values", b" (1)"),
        (b"INSERT INTO TABLE format FORMAT CSV\n1", "CSV", b"1"),
        (b"INSERT INTO db.settings (format, `values`) FORMAT CSV\n1,2", "CSV", b"1,2"),
        (b"INSERT INTO FUNCTION file('x', 'CSV', 'a Int8') FORMAT CSV\n1", "CSV", b"1"),
        (b"INSERT INTO t SETTINGS async_insert = 0 FORMAT JSONEachRow\n{}", "JSONEachRow", b"{}"),
        (b"INSERT INTO t SELECT a FROM input('a Int8') FORMAT Arrow\nARROW1", "Arrow", b"ARROW1"),
        (b"WITH 1 AS x INSERT INTO t SELECT a, x FROM input('a Int8') FORMAT CSV\n1", "CSV", b"1"),
        (b"INSERT INTO t FORMAT CSV", "CSV", b""),
        (b"INSERT INTO t FORMAT Values (1), (2)", "Values", b" (1), (2)"),
        (b"INSERT INTO t FORMAT VALUES (1)", "Values", b" (1)"),
    ],
)
def test_the_data_of_an_insert_begins_where_a_server_begins_it(text: bytes, format_name: str, data: bytes) -> None:
    statement = parse_statement(text)
    assert statement.inserts
    assert statement.format == format_name
    assert statement.data_at is not None
    assert text[statement.data_at :] == data


@pytest.mark.parametrize(
    "text",
    [b"INSERT INTO t SELECT number FROM numbers(3)", b"INSERT INTO t SELECT format FROM u", b"INSERT INTO t"],
)
def test_an_insert_without_data_has_none(text: bytes) -> None:
    statement = parse_statement(text)
    assert (statement.inserts, statement.data_at, statement.text) == (True, None, text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (b"INSERT INTO t FORMAT CSV\n1", b"INSERT INTO t  FROM INFILE '/s' FORMAT CSV"),
        (b"INSERT INTO t (a, b) VALUES (1, 2)", b"INSERT INTO t (a, b)  FROM INFILE '/s' FORMAT Values"),
        (b"INSERT INTO t FORMAT Values (1)", b"INSERT INTO t  FROM INFILE '/s' FORMAT Values"),
        (
            b"INSERT INTO t SETTINGS a = 1 FORMAT VALUES (1)",
            b"INSERT INTO t  FROM INFILE '/s' SETTINGS a = 1 FORMAT Values",
        ),
        (
            b"INSERT INTO t SETTINGS a = 1 FORMAT CSV\n1",
            b"INSERT INTO t  FROM INFILE '/s' SETTINGS a = 1 FORMAT CSV",
        ),
        (
            b"INSERT INTO t SELECT * FROM input('a Int8, b String') WHERE (SELECT 1) = 1 FORMAT Arrow\n..",
            b"INSERT INTO t SELECT * FROM file('/s', 'Arrow', 'a Int8, b String') WHERE (SELECT 1) = 1",
        ),
        (
            b"INSERT INTO t SELECT * FROM (SELECT f(a) FROM input( {s:String} )) FORMAT CSV\n1",
            b"INSERT INTO t SELECT * FROM (SELECT f(a) FROM file('/s', 'CSV',  {s:String} ))",
        ),
        (b"INSERT INTO t SELECT 1 FORMAT CSV\nignored", b"INSERT INTO t SELECT 1"),
    ],
)
def test_an_insert_reads_its_data_from_the_spooled_file(text: bytes, read: bytes) -> None:
    assert reading_from(parse_statement(text), Path("/s")).split() == read.split()


def test_a_quote_in_the_spool_path_stays_in_the_literal() -> None:
    statement = parse_statement(b"INSERT INTO t FORMAT CSV\n")
    assert b"'/it\\'s a \\\\ path'" in reading_from(statement, Path("/it's a \\ path"))


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1; SELECT 2",
        b"SELECT 1; DROP TABLE t",
        b"SELECT 1;; -- so\n DROP TABLE t",
        b"INSERT INTO t SELECT 1; DROP TABLE t",
        b"SELECT 'it''s'; DROP TABLE t",
        b"SELECT $x$ ; $x$; DROP TABLE t",
    ],
)
def test_a_second_statement_is_refused(text: bytes) -> None:
    with pytest.raises(ClickHouseError, match="Multi-statements are not allowed") as caught:
        parse_statement(text)
    assert (caught.value.code, caught.value.status) == (62, 400)


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 1;",
        b"SELECT 1 ;\n-- the end\n;",
        b"SELECT ';', \";\", `;` /* ; */",
        b"SELECT 'a\\'; b'",
        b"SELECT 'a''; b'",
        b"SELECT $tag$ '; $tag$",
        b"SELECT 1 /* a /* ; */ ; */ // ;\n # ;\n",
        b"SELECT 'never closed; DROP TABLE t",
        b"SELECT 1 /* never closed; DROP TABLE t",
        "SELECT 'é;ü' AS größe".encode(),
    ],
)
def test_semicolons_in_strings_names_and_comments_are_no_ends(text: bytes) -> None:
    assert parse_statement(text).kind == "SELECT"


def test_calls_are_seen_in_any_spelling() -> None:
    text = b"SELECT File('a'), `file`('b'), \"u\\rl\" ('c'), toString(1), 'remote(' FROM Numbers (3)"
    assert parse_statement(text).calls == {"file", "url", "tostring", "numbers"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"SELECT 1 INTO OUTFILE '/tmp/x' FORMAT CSV", "OUTFILE"),
        (b"INSERT INTO t FROM INFILE '/tmp/x' FORMAT CSV", "INFILE"),
        (b"SELECT outfile FROM t", None),
        (b"SELECT 'INTO OUTFILE x'", None),
    ],
)
def test_files_of_the_client_are_seen(text: bytes, word: str | None) -> None:
    assert parse_statement(text).local_file == word


def test_long_statements_are_read_in_a_moment() -> None:
    started = time.process_time()
    assert parse_statement(b"SELECT '" + b"x" * (16 << 20)).kind == "SELECT"
    assert parse_statement(b"SELECT '" + b"\\'" * (1 << 20)).kind == "SELECT"
    assert parse_statement(b"INSERT INTO t VALUES " + b"(1)," * (4 << 20)).data_at == len("INSERT INTO t VALUES")
    assert time.process_time() - started < 5
