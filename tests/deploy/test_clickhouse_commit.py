"""What the ledger's commit asks of a store: settings that take effect, one part, one winner, a guard that holds."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from fleetmeter_local import RunningClickHouse

pytestmark = pytest.mark.clickhouse

# As pinned for the ledger's insert.
PINNED = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_insert": "enable",
    "deduplicate_insert_select": "force_enable",
    "max_insert_threads": 1,
    "use_strict_insert_block_limits": 0,
    "min_insert_block_size_rows": 16_000_000,
    "min_insert_block_size_bytes": 0,
    "max_insert_block_size": 16_000_000,
    "max_insert_block_size_bytes": 0,
    "use_query_cache": 0,
}
GUARDED = (
    "INSERT INTO t SELECT * FROM input('a UInt64, b String') WHERE (SELECT count() FROM t) = {} FORMAT ArrowStream"
)


@pytest.fixture
def client(clickhouse_client: Client) -> Client:
    clickhouse_client.command(
        "CREATE TABLE t (a UInt64, b String) ENGINE MergeTree ORDER BY a "
        "SETTINGS non_replicated_deduplication_window = 1000"
    )
    return clickhouse_client


def _stream(*batches: list[int]) -> bytes:
    schema = pa.schema([("a", pa.uint64()), ("b", pa.string())])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        for numbers in batches:
            writer.write_batch(
                pa.record_batch([pa.array(numbers, pa.uint64()), pa.array(["x"] * len(numbers))], schema)
            )
    return sink.getvalue()


def _commit(client: Client, data: bytes, token: str, expected: int = 0, **settings: object) -> None:
    settings = {**PINNED, "insert_deduplication_token": token, **settings}
    client.command(GUARDED.format(expected), data=data, settings=settings)


def _count(client: Client) -> int:
    return int(client.command("SELECT count() FROM t"))


def _parts(client: Client) -> int:
    mine = "database = currentDatabase() AND table = 't' AND active"
    return int(client.command(f"SELECT count() FROM system.parts WHERE {mine}"))


def test_the_same_token_twice_is_one_row(client: Client) -> None:
    _commit(client, _stream([1]), "token")
    # The guard would let it through: only the token stands in its way.
    _commit(client, _stream([2]), "token", expected=1)
    assert _count(client) == 1
    _commit(client, _stream([3]), "other", expected=1)
    assert _count(client) == 2


def test_without_deduplication_the_token_stops_nothing(client: Client) -> None:
    """The counter-proof: it is the settings in the URL that made the difference above."""
    _commit(client, _stream([1]), "token")
    _commit(
        client, _stream([2]), "token", expected=1, deduplicate_insert="disable", deduplicate_insert_select="disable"
    )
    assert _count(client) == 2


def test_a_table_without_a_window_does_not_deduplicate(client: Client) -> None:
    client.command("ALTER TABLE t MODIFY SETTING non_replicated_deduplication_window = 0")
    _commit(client, _stream([1]), "token")
    _commit(client, _stream([2]), "token", expected=1)
    assert _count(client) == 2


def test_tokens_hold_for_plain_inserts_too(client: Client) -> None:
    for _ in range(2):
        client.command(
            "INSERT INTO t FORMAT CSV", data=b"1,x\n", settings={**PINNED, "insert_deduplication_token": "plain"}
        )
    assert _count(client) == 1


def test_one_of_many_racing_inserts_with_one_token_wins(clickhouse: RunningClickHouse, client: Client) -> None:
    database = client.database

    def rival(number: int) -> None:
        with clickhouse_connect.get_client(host=clickhouse.host, port=clickhouse.port, database=database) as own:
            for round_ in range(10):
                _commit(own, _stream([round_ * 100 + number]), f"round-{round_}", expected=round_)

    # Rivals go through the rounds at their own pace; the guard lets in only who is at the table's own count, and the
    # token only one of those. So no round can count twice, whoever is late.
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(rival, range(4)))
    rounds = [row[0] for row in client.query("SELECT intDiv(a, 100) AS round FROM t ORDER BY round").result_rows]
    assert rounds == sorted(set(rounds))
    assert rounds[0] == 0


def test_concurrent_inserts_with_one_token_are_one_row(clickhouse: RunningClickHouse, client: Client) -> None:
    database = client.database

    def rival(number: int) -> None:
        with clickhouse_connect.get_client(host=clickhouse.host, port=clickhouse.port, database=database) as own:
            own.command(
                "INSERT INTO t SELECT * FROM input('a UInt64, b String') FORMAT ArrowStream",
                data=_stream([number]),
                settings={**PINNED, "insert_deduplication_token": "contested"},
            )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(rival, range(8)))
    assert _count(client) == 1


def test_the_guard_is_evaluated(client: Client) -> None:
    _commit(client, _stream([1, 2]), "first", expected=0)
    _commit(client, _stream([3]), "late", expected=0)
    assert _count(client) == 2
    _commit(client, _stream([3]), "in time", expected=2)
    assert _count(client) == 3


def test_a_record_batch_becomes_one_part(client: Client) -> None:
    client.command("SYSTEM STOP MERGES t")
    _commit(client, _stream(list(range(1_200_000))), "large")
    assert (_count(client), _parts(client)) == (1_200_000, 1)
    _commit(client, _stream([1]), "small", expected=1_200_000)
    assert _parts(client) == 2


def test_block_limits_in_the_url_split_a_batch(client: Client) -> None:
    """The counter-proof: without the pinned limits the same batch becomes several parts."""
    client.command("SYSTEM STOP MERGES t")
    limits = {"min_insert_block_size_rows": 0, "use_strict_insert_block_limits": 1, "max_insert_block_size": 10_000}
    _commit(client, _stream(list(range(100_000))), "split", deduplicate_insert_select="disable", **limits)
    assert _count(client) == 100_000
    assert _parts(client) > 1


def test_an_empty_stream_inserts_nothing_and_spends_no_token(client: Client) -> None:
    _commit(client, _stream(), "token")
    _commit(client, _stream([1]), "token")
    assert _count(client) == 1


def test_queries_do_not_wait_for_inserts_nor_inserts_for_queries(clickhouse: RunningClickHouse, client: Client) -> None:
    database = client.database
    # Takes 8 s, more than everything else in this test: were anything serialised, it would end first.
    slow = "SELECT sum(sleepEachRow(0.1)) AS slow FROM numbers(80) SETTINGS max_block_size = 1"
    seen = "SELECT count() FROM system.processes WHERE startsWith(query, 'SELECT sum(sleepEachRow(0.1)) AS slow')"

    def run_slow() -> None:
        with clickhouse_connect.get_client(host=clickhouse.host, port=clickhouse.port, database=database) as own:
            own.query(slow)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run_slow)
        while not int(client.command(seen)):
            assert not running.done()
        for number in range(20):
            _commit(client, _stream([number]), f"n{number}", expected=number)
            assert _count(client) == number + 1
        assert not running.done(), "twenty small inserts waited for the query"
        client.command("KILL QUERY WHERE startsWith(query, 'SELECT sum(sleepEachRow(0.1)) AS slow')")
        with pytest.raises(DatabaseError, match="QUERY_WAS_CANCELLED"):
            running.result(60)
