"""The embedded ClickHouse's HTTP side, spoken to in plain HTTP and with curl."""

from __future__ import annotations

import gzip
import http.client
import json
import shutil
import subprocess
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import lz4.frame  # type: ignore[import-untyped]
import pytest
from fleetmeter_local import RunningClickHouse

pytestmark = pytest.mark.clickhouse


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def summary(self) -> dict[str, str]:
        parsed: dict[str, str] = json.loads(self.headers["X-ClickHouse-Summary"])
        return parsed


class Http:
    """One connection, kept alive, to one database."""

    def __init__(self, running: RunningClickHouse, database: str) -> None:
        self.connection = http.client.HTTPConnection(running.host, running.port, timeout=60)
        self.database = database

    def __call__(
        self,
        body: bytes | Iterator[bytes] = b"",
        *,
        method: str = "POST",
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Reply:
        parameters = {"database": self.database, **query}
        target = f"{path}?{urlencode(parameters)}"
        self.connection.request(method, target, body=body, headers=dict(headers or {}))
        response = self.connection.getresponse()
        return Reply(response.status, dict(response.headers), response.read())


@pytest.fixture
def ask(clickhouse: RunningClickHouse, database: str) -> Iterator[Http]:
    http_client = Http(clickhouse, database)
    yield http_client
    http_client.connection.close()


@pytest.fixture
def table(ask: Http) -> str:
    made = ask(
        b"CREATE TABLE t (a UInt64 DEFAULT 7, b String DEFAULT concat('d', toString(a))) ENGINE MergeTree ORDER BY a"
    )
    assert made.status == 200, made.body
    return "t"


def _rows(ask: Http) -> bytes:
    return ask(b"SELECT a, b FROM t ORDER BY a, b").body


@pytest.mark.parametrize("path", ["/ping", "/replicas_status", "/"])
def test_the_handles_that_say_ok(clickhouse: RunningClickHouse, path: str) -> None:
    connection = http.client.HTTPConnection(clickhouse.host, clickhouse.port)
    connection.request("GET", path)
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"Ok.\n")
    connection.close()


def test_unknown_paths_and_methods_are_refused(ask: Http) -> None:
    assert ask(method="GET", path="/nowhere").status == 404
    assert ask(method="DELETE").status == 501


def test_the_statement_may_stand_in_the_url_the_body_or_both(ask: Http) -> None:
    assert ask(query="SELECT 1").body == b"1\n"
    assert ask(b"SELECT 1;").body == b"1\n"
    assert ask(b"+ 1", query="SELECT 1").body == b"2\n"
    assert ask(method="GET", query="SELECT 1").body == b"1\n"
    assert ask(method="PUT", query="SELECT 1").body == b"1\n"


def test_an_answer_carries_what_a_server_tells(ask: Http) -> None:
    reply = ask(b"SELECT number FROM numbers(3)", query_id="my-id", default_format="JSONEachRow")
    assert reply.status == 200
    assert reply.headers["X-ClickHouse-Query-Id"] == "my-id"
    assert reply.headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert reply.headers["X-ClickHouse-Timezone"] == "UTC"
    assert reply.headers["X-ClickHouse-Server-Display-Name"]
    assert reply.headers["Content-Type"].startswith("application/x-ndjson")
    assert [json.loads(line) for line in reply.body.splitlines()] == [{"number": n} for n in range(3)]
    assert (reply.summary["read_rows"], reply.summary["result_rows"]) == ("3", "3")


def test_a_format_clause_wins_over_the_default(ask: Http) -> None:
    reply = ask(b"SELECT 1 AS x FORMAT JSON", default_format="CSV")
    assert reply.headers["X-ClickHouse-Format"] == "JSON"
    assert reply.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert json.loads(reply.body)["data"] == [{"x": 1}]
    assert ask(b"SELECT 'x,y'", default_format="CSV").body == b'"x,y"\n'
    assert ask(b"SELECT 'x'", headers={"X-ClickHouse-Format": "CSV"}).body == b'"x"\n'


def test_head_tells_the_length_and_sends_nothing(ask: Http) -> None:
    reply = ask(method="HEAD", query="SELECT 12345")
    assert (reply.status, reply.headers["Content-Length"], reply.body) == (200, "6", b"")


@pytest.mark.parametrize(
    ("value", "kind", "answer"),
    [
        ("5", "UInt8", b"5\n"),
        ("it's", "String", b"it\\'s\n"),
        (r"a\tb", "String", b"a\\tb\n"),
        (r"\N", "Nullable(String)", b"\\N\n"),
        ("['x','y']", "Array(String)", b"['x','y']\n"),
        ("2026-03-01 00:00:00", "DateTime('UTC')", b"2026-03-01 00:00:00\n"),
    ],
)
def test_parameters_reach_the_statement(ask: Http, value: str, kind: str, answer: bytes) -> None:
    assert ask(f"SELECT {{p:{kind}}}".encode(), param_p=value).body == answer


def test_settings_in_the_url_reach_the_engine_and_stay_with_their_request(ask: Http) -> None:
    names = ("insert_deduplication_token", "max_insert_threads", "insert_quorum_timeout")
    question = ("SELECT " + ", ".join(f"toString(getSetting('{name}'))" for name in names)).encode()
    before = ask(question).body
    told = ask(question, insert_deduplication_token="a'b", max_insert_threads="3", insert_quorum_timeout="4321")
    assert told.body == b"a\\'b\t3\t4321\n"
    assert ask(question).body == before != told.body


@pytest.mark.parametrize(
    ("statement", "query", "status", "code", "text"),
    [
        ("SELEC 1", {}, 400, "62", b"Syntax error"),
        ("SELECT * FROM nosuch", {}, 404, "60", b"UNKNOWN_TABLE"),
        ("SELECT nosuch", {}, 404, "47", b"UNKNOWN_IDENTIFIER"),
        ("SELECT nosuch()", {}, 404, "46", b"UNKNOWN_FUNCTION"),
        ("SELECT 1", {"database": "nosuch"}, 404, "81", b"UNKNOWN_DATABASE"),
        ("SELECT 1", {"nosuch": "1"}, 404, "115", b"Unknown setting 'nosuch'"),
        ("SELECT 1", {"max_threads": "abc"}, 400, "27", b"CANNOT_PARSE"),
        ("SELECT {p:String}", {}, 500, "456", b"Substitution `p` is not set"),
        ("SELECT throwIf(1)", {}, 500, "395", b"FUNCTION_THROW_IF"),
        ("SELECT 1; SELECT 2", {}, 400, "62", b"Multi-statements"),
        ("SELECT 1", {"user": "nobody"}, 403, "516", b"AUTHENTICATION_FAILED"),
        ("SELECT 1 INTO OUTFILE '/tmp/fleetmeter-test'", {}, 501, "48", b"OUTFILE"),
        (
            "SELECT sum(sleepEachRow(0.1)) FROM numbers(100)",
            {"max_block_size": "1", "max_execution_time": "1"},
            408,
            "159",
            b"TIMEOUT",
        ),
        ("SELECT 1", {"compress": "1"}, 501, "48", b"Content-Encoding"),
        ("SELECT 1 FORMAT Native", {"client_protocol_version": "54454"}, 501, "48", b"another format"),
    ],
)
def test_errors_have_the_status_code_and_words_of_a_server(
    ask: Http, statement: str, query: dict[str, Any], status: int, code: str, text: bytes
) -> None:
    reply = ask(statement.encode(), **query)
    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (status, code)
    assert reply.body.startswith(f"Code: {code}. DB::Exception: ".encode())
    assert text in reply.body
    assert b"(version 2" in reply.body
    assert ask(b"SELECT 1").body == b"1\n"  # the connection goes on


def test_get_changes_nothing(ask: Http, table: str) -> None:
    for statement in ("INSERT INTO t VALUES (1, 'x')", "DROP TABLE t", "SYSTEM STOP MERGES t", "KILL QUERY WHERE 1"):
        reply = ask(method="GET", query=statement)
        assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (500, "164")
        assert b"method GET implies readonly" in reply.body
    assert _rows(ask) == b""
    assert ask(method="GET", query="SELECT 1", max_threads="1").body == b"1\n"


def test_insert_with_the_statement_in_the_url(ask: Http, table: str) -> None:
    reply = ask(b'3,"q"\n4,"w;\n"\n', query="INSERT INTO t FORMAT CSV")
    assert (reply.status, reply.summary["written_rows"]) == (200, "2")
    ask(b"(5, 'a;b'), (6, concat('x', 'y'))", query="INSERT INTO t VALUES")
    assert _rows(ask) == b"3\tq\n4\tw;\\n\n5\ta;b\n6\txy\n"


def test_insert_with_the_statement_in_front_of_the_data(ask: Http, table: str) -> None:
    assert ask(b'INSERT INTO t (a) FORMAT JSONEachRow\n{"a":5}\n{"a":6}').status == 200
    assert ask(b"INSERT INTO t (b) VALUES ('x;y')").status == 200
    assert ask(query="INSERT INTO t FORMAT TSV 9\tz").status == 200
    assert _rows(ask) == b"5\td5\n6\td6\n7\tx;y\n9\tz\n"  # what is left out has its default


def test_an_insert_cannot_carry_a_second_statement(ask: Http, table: str) -> None:
    reply = ask(b"INSERT INTO t VALUES (1, 'x'); DROP TABLE t")
    assert ask(b"EXISTS TABLE t").body == b"1\n"
    assert (reply.status, _rows(ask)) in ((200, b"1\tx\n"), (400, b""))


def test_a_bad_row_refuses_the_whole_insert(ask: Http, table: str) -> None:
    reply = ask(b"1,a\nzz,b\n", query="INSERT INTO t FORMAT CSV")
    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (400, "27")
    assert b"row 2" in reply.body
    assert _rows(ask) == b""


def test_an_empty_insert_inserts_nothing(ask: Http, table: str) -> None:
    assert ask(query="INSERT INTO t FORMAT JSONEachRow").status == 200
    assert _rows(ask) == b""


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("lz4", lz4.frame.compress)],
)
def test_bodies_may_be_compressed(ask: Http, table: str, encoding: str, encode: object) -> None:
    assert callable(encode)
    data = b"".join(b"%d\tx\n" % n for n in range(100_000))
    headers = {"Content-Encoding": encoding}
    assert ask(encode(data), query="INSERT INTO t FORMAT TSV", headers=headers).status == 200
    assert ask(encode(b"SELECT count(), sum(a) FROM t"), headers=headers).body == b"100000\t4999950000\n"
    damaged = ask(encode(data)[:-100], query="INSERT INTO t FORMAT TSV", headers=headers)
    assert (damaged.status, damaged.headers["X-ClickHouse-Exception-Code"]) == (400, "271")
    assert ask(b"SELECT count() FROM t").body == b"100000\n"


def test_answers_are_compressed_only_if_asked(ask: Http) -> None:
    statement, accepts = b"SELECT number FROM numbers(1000)", {"Accept-Encoding": "gzip"}
    plain = ask(statement, headers=accepts)
    assert "Content-Encoding" not in plain.headers
    packed = ask(statement, headers=accepts, enable_http_compression="1")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    empty = ask(b"SELECT 1 WHERE 0", headers=accepts, enable_http_compression="1")
    assert (empty.status, empty.body) == (200, b"")


def test_a_long_statement_is_no_problem_and_an_endless_one_is_refused(ask: Http) -> None:
    numbers = ",".join(str(n) for n in range(50_000))
    statement = f"SELECT count() FROM numbers(100000) WHERE number IN ({numbers})".encode()
    assert ask(statement, max_query_size="1000000").body == b"50000\n"
    refused = ask(b"SELECT '" + b"x" * (5 << 20) + b"'")
    assert (refused.status, refused.headers["X-ClickHouse-Exception-Code"]) == (413, "229")


def test_a_long_url_is_no_problem(ask: Http) -> None:
    assert ask(query="SELECT length('" + "x" * 100_000 + "')").body == b"100000\n"


def test_chunked_bodies_of_any_size_pass_through_bounded_memory(
    clickhouse: RunningClickHouse, ask: Http, table: str
) -> None:
    psutil = pytest.importorskip("psutil")
    if clickhouse.pid is None:
        pytest.skip("a given ClickHouse: its process is not here")
    process = psutil.Process(clickhouse.pid)
    piece, count = b"1," + b"x" * ((1 << 20) - 3) + b"\n", 200
    resident: list[int] = []

    def chunks() -> Iterator[bytes]:
        for _ in range(count):
            resident.append(process.memory_info().rss)
            yield piece

    reply = ask(chunks(), query="INSERT INTO t FORMAT CSV")
    assert (reply.status, reply.summary["written_rows"]) == (200, str(count))
    # While the last of 200 MiB arrives, the engine has not seen any yet: what has grown is what the server holds.
    assert resident[-1] - resident[0] < 50 << 20


def test_no_number_of_slow_queries_keeps_an_insert_waiting(
    clickhouse: RunningClickHouse, ask: Http, table: str
) -> None:
    slow = b"SELECT sum(sleepEachRow(1)) AS crowd FROM numbers(100) SETTINGS max_block_size = 1"
    crowd = [http.client.HTTPConnection(clickhouse.host, clickhouse.port) for _ in range(40)]
    for number, connection in enumerate(crowd):
        # Some clients say in each query who they are.
        connection.request("POST", "/?log_comment=dashboard" if number % 2 else "/", body=slow)
    assert ask(b"INSERT INTO t VALUES (1, 'x')", timeout_overflow_mode="throw").status == 200
    for connection in crowd:
        connection.close()  # which cancels what runs and what still waits for a thread
    assert _rows(ask) == b"1\tx\n"
    left = b"SELECT count() FROM system.processes WHERE query LIKE 'SELECT sum(sleepEachRow(1)) AS crowd%'"
    deadline = time.monotonic() + 30
    while ask(left).body != b"0\n":
        assert time.monotonic() < deadline


def test_large_answers_arrive_whole(ask: Http) -> None:
    reply = ask(b"SELECT number FROM numbers(1000000) FORMAT RowBinary")
    assert len(reply.body) == 8_000_000
    assert int.from_bytes(reply.body[-8:], "little") == 999_999


FORM = {"Content-Type": "multipart/form-data; boundary=x"}


def _form(**fields: str) -> bytes:
    parts = (f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{fields[name]}\r\n' for name in fields)
    return ("".join(parts) + "--x--\r\n").encode()


def test_the_statement_and_its_parameters_may_come_as_a_form(ask: Http) -> None:
    """As clickhouse-connect sends them when they are long."""
    body = _form(query="SELECT length({a:String}), {b:String}, {c:UInt8}", param_a="x" * 131_072, param_b="\\tü")
    assert ask(body, headers=FORM, param_c="7").body == "131072\t\\tü\t7\n".encode()
    assert ask(_form(param_a="x"), headers=FORM, query="SELECT {a:String}").body == b"x\n"


def test_a_form_is_refused_for_a_value_too_long_and_where_it_breaks_off(ask: Http) -> None:
    reply = ask(_form(query="SELECT 1", param_a="x" * 131_073), headers=FORM)
    assert (reply.status, b"Field value too long: param_a" in reply.body) == (500, True)
    reply = ask(_form(query="SELECT 1")[:-12], headers=FORM)
    assert (reply.status, b"form can't be read" in reply.body) == (500, True)
    reply = ask(b"", headers=FORM, query="SELECT 1")
    assert (reply.status, b"form can't be read" in reply.body) == (500, True)


def test_external_tables_are_refused_in_words(ask: Http) -> None:
    table = b'--x\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n1\r\n--x--\r\n'
    reply = ask(table, headers=FORM, query="SELECT 1", t_structure="a UInt8")
    assert (reply.status, b"External tables" in reply.body) == (501, True)


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
def test_web_pages_are_kept_out(ask: Http, headers: dict[str, str]) -> None:
    reply = ask(b"SELECT 1", headers=headers)
    assert (reply.status, reply.headers["X-ClickHouse-Exception-Code"]) == (403, "497")


def test_curl_works(clickhouse: RunningClickHouse, ask: Http, table: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")

    def curl(*arguments: str, given: bytes = b"") -> bytes:
        done = subprocess.run(["curl", "-sS", "--fail", *arguments], input=given, capture_output=True, check=True)
        return done.stdout

    url = f"{clickhouse.url}/?database={ask.database}"
    assert curl(f"{clickhouse.url}/ping") == b"Ok.\n"
    assert curl(url, "--data-binary", "@-", given=b"INSERT INTO t FORMAT CSV\n1,one\n2,two\n") == b""
    assert curl(url, "-d", "SELECT b FROM t ORDER BY a") == b"one\ntwo\n"
    assert curl("--get", url, "--data-urlencode", "query=SELECT count() FROM t") == b"2\n"
    assert curl("--user", "default:", url, "-d", "SELECT currentDatabase()") == ask.database.encode() + b"\n"
