"""clickhouse-connect against the embedded ClickHouse, as the workers and people's notebooks use it."""

from __future__ import annotations

import clickhouse_connect
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from fleetmeter_local import RunningClickHouse

pytestmark = pytest.mark.clickhouse

DDL = (
    "CREATE TABLE t (a UInt64, b LowCardinality(String), c Nullable(DateTime64(6, 'UTC'))) ENGINE MergeTree ORDER BY a"
)


@pytest.fixture
def client(clickhouse_client: Client) -> Client:
    clickhouse_client.command(DDL)
    return clickhouse_client


def test_query_with_parameters(client: Client) -> None:
    rows = client.query("SELECT number FROM numbers(10) WHERE number > {low:UInt64}", parameters={"low": 7}).result_rows
    assert rows == [(8,), (9,)]
    assert client.query("SELECT %(text)s", parameters={"text": "it's; \\ so"}).result_rows == [("it's; \\ so",)]


def test_query_with_parameters_that_no_url_holds(client: Client) -> None:
    names = [f"account-{number:05}'s" for number in range(2_000)]
    statement = "SELECT length({names:Array(String)}), {names:Array(String)}[2000]"
    assert client.query(statement, parameters={"names": names}).result_rows == [(2000, "account-01999's")]


def test_rows_go_in_and_come_out(client: Client) -> None:
    summary = client.insert("t", [[1, "x", None], [2, "y", None]], column_names=["a", "b", "c"])
    assert summary.written_rows == 2
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == [(1, "x", None), (2, "y", None)]


def test_arrow_goes_in_and_comes_out(client: Client) -> None:
    table = pa.table({"a": pa.array([3, 1], pa.uint64()), "b": pa.array(["x", "y"])})
    client.insert_arrow("t", table)
    back = client.query_arrow("SELECT a, b FROM t ORDER BY a")
    assert back.column("a").to_pylist() == [1, 3]
    assert back.column("b").to_pylist() == ["y", "x"]


def test_data_frames_go_in_and_come_out(client: Client) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    client.insert_df("t", frame)
    assert client.query_df("SELECT a, b FROM t ORDER BY a").to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}


def test_command_carries_data(client: Client) -> None:
    client.command("INSERT INTO t (a, b) FORMAT CSV", data=b"5,five\n")
    client.command("INSERT INTO t (a, b) SELECT a, b FROM input('a UInt64, b String') FORMAT CSV", data=b"6,six\n")
    assert client.command("SELECT count(), max(b) FROM t") == ["2", "six"]
    assert client.raw_query("SELECT a FROM t ORDER BY a", fmt="TSV") == b"5\n6\n"


def test_blocks_stream(client: Client) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(300000)") as stream:
        assert sum(row[0] for block in stream for row in block) == 299_999 * 300_000 // 2


@pytest.mark.parametrize("compression", ["gzip", "lz4", "zstd", True, False])
def test_every_compression_of_the_client(clickhouse: RunningClickHouse, compression: str | bool) -> None:
    options = {"username": clickhouse.user, "password": clickhouse.password, "compress": compression}
    with clickhouse_connect.get_client(host=clickhouse.host, port=clickhouse.port, **options) as client:
        assert client.query("SELECT sum(number) FROM numbers(100000)").result_rows == [(4_999_950_000,)]
        assert len(client.query("SELECT number FROM numbers(100000)").result_rows) == 100_000


def test_errors_name_what_is_wrong(client: Client) -> None:
    with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        client.query("SELECT * FROM nosuch")
    with pytest.raises(DatabaseError, match="Syntax error"):
        client.command("SELEC 1")


def test_settings_of_a_call_reach_the_engine(client: Client) -> None:
    rows = client.query("SELECT getSetting('max_block_size')", settings={"max_block_size": 1234}).result_rows
    assert rows == [(1234,)]


async def test_the_async_client(clickhouse: RunningClickHouse) -> None:
    client = await clickhouse_connect.get_async_client(host=clickhouse.host, port=clickhouse.port)
    try:
        assert (await client.query("SELECT 1")).result_rows == [(1,)]
    finally:
        await client.close()
