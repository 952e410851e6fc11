"""`fleetmeter usage` against a real ledger, summed a second time in Python."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta, timezone

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_doubles import APPEND_TIME_MS, usage_batch
from fleetmeter_doubles.schema_copies import copy_schema
from fleetmeter_jobs.errors import SettingsError
from fleetmeter_jobs.ledger import ClickHouseHttp, ClickHouseStore, PartitionId
from fleetmeter_jobs.ledger.arrow_batch import encode_rows, marker_row
from fleetmeter_jobs.ledger.position import Tail
from fleetmeter_jobs.ledger.store import NoPosition
from fleetmeter_jobs.usage import DIMENSIONS, usage
from fleetmeter_local import RunningClickHouse
from fleetmeter_schemas.native_spec import ledger_measures

HOUR_0 = APPEND_TIME_MS // 1000
ROWS = [
    {
        "event_type": "generation",
        "account_id": account,
        "model": model,
        "minute": HOUR_0 + 60 * minute,
        "requests": 1 + minute,
        "output_tokens": 2**40 * (1 + minute),
        "gpu_ms": len(account),
        "gpu_ms_samples": 1,
        "next_offset": 1,
    }
    for account in ("acme", "it's \\ 'odd'")
    for model in ("llada", "dream")
    for minute in (0, 1, 59, 60, 1440)
]


@pytest.fixture
def client(clickhouse: RunningClickHouse, database: str, clickhouse_client: Client) -> Client:
    copy_schema(clickhouse_client, database)
    store = ClickHouseStore(ClickHouseHttp(clickhouse.url, clickhouse.user, clickhouse.password, database))
    for number, rows in enumerate((ROWS[::2], ROWS[1::2], ROWS[:3])):  # the last ones a second time: they add up
        partition = PartitionId("t", number)
        marker = marker_row(partition, 202603, 0, Tail(1, "n", "t", 0, 0, 202603))
        store.insert(
            encode_rows([marker], usage_batch(rows), partition=partition, table_partition=202603),
            NoPosition(partition),
            f"{number}",
        )
    return clickhouse_client


def expected(by: tuple[str, ...], keep: object = bool) -> dict[tuple[object, ...], dict[str, int]]:
    sums: dict[tuple[object, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in [*ROWS, *ROWS[:3]]:
        if keep(row):  # type: ignore[operator]
            for measure in ("requests", "output_tokens", "gpu_ms", "gpu_ms_samples"):
                sums[tuple(row[name] for name in by)][measure] += int(str(row[measure]))
    return sums


@pytest.mark.clickhouse
@pytest.mark.parametrize("by", [("account_id",), ("model", "account_id"), ("event_type",)])
def test_sums_by_dimensions(client: Client, by: tuple[str, ...]) -> None:
    rows = usage(client, by)
    should = expected(by)
    assert [tuple(row[name] for name in by) for row in rows] == sorted(should)
    for row in rows:
        sums = should[tuple(row[name] for name in by)]
        assert list(row) == [*by, *ledger_measures()]
        assert {name: row[name] for name in sums} == sums
        assert sum(row[name] for name in ledger_measures()) == sum(sums.values()), "the other measures are 0"


@pytest.mark.clickhouse
def test_without_dimensions_there_is_one_row_or_none(client: Client) -> None:
    (row,) = usage(client, [])
    assert row["output_tokens"] == expected(())[()]["output_tokens"] > 2**43
    assert usage(client, [], filters={"account_id": "nobody"}) == []


@pytest.mark.clickhouse
def test_by_time(client: Client) -> None:
    start = datetime.fromtimestamp(HOUR_0, UTC)
    minutes = usage(client, ["minute"])
    assert [row["minute"] for row in minutes] == [start + timedelta(minutes=n) for n in (0, 1, 59, 60, 1440)]
    assert [row["hour"] for row in usage(client, ["hour"])] == [start + timedelta(hours=n) for n in (0, 1, 24)]
    days = usage(client, ["day", "model"])
    assert [(row["day"], row["model"]) for row in days] == [
        (start + timedelta(days=n), model) for n in (0, 1) for model in ("dream", "llada")
    ]
    assert sum(row["requests"] for row in days) == sum(row["requests"] for row in minutes)


@pytest.mark.clickhouse
def test_from_is_included_and_to_is_not(client: Client) -> None:
    start = datetime.fromtimestamp(HOUR_0, UTC)
    rows = usage(client, ["minute"], start + timedelta(minutes=1), start + timedelta(minutes=60))
    assert [row["minute"] for row in rows] == [start + timedelta(minutes=n) for n in (1, 59)]
    # The same instants, said in another zone, and inside of a second.
    east = timezone(timedelta(hours=5, minutes=30))
    inside = timedelta(microseconds=1)
    shifted = usage(
        client, ["minute"], (start + inside).astimezone(east), (start + timedelta(minutes=60)).astimezone(east)
    )
    assert [row["minute"] for row in shifted] == [row["minute"] for row in rows]


@pytest.mark.clickhouse
def test_filters_are_bound_and_not_spliced(client: Client) -> None:
    odd = "it's \\ 'odd'"
    rows = usage(client, ["model"], filters={"account_id": odd, "model": "dream"})
    should = expected(("model",), lambda row: row["account_id"] == odd and row["model"] == "dream")
    assert {(row["model"],): row["requests"] for row in rows} == {key: sums["requests"] for key, sums in should.items()}
    assert usage(client, ["model"], filters={"account_id": "x' OR 1 = 1 --"}) == []


class NoClient:
    def query(self, query: str, parameters: dict[str, object]) -> None:
        raise AssertionError("nothing may be asked")


@pytest.mark.parametrize(
    ("by", "filters", "says"),
    [
        (["account"], {}, "--by account: no such dimension; choose from event_type, account_id"),
        (["model", "1; DROP TABLE ledger"], {}, "--by 1; DROP TABLE ledger"),
        (["requests"], {}, "--by requests"),
        (["model", "model"], {}, "a name stands there twice"),
        ([], {"minute": "x"}, "--filter minute"),
    ],
)
def test_unknown_names_are_refused_with_the_known_ones(by: list[str], filters: dict[str, str], says: str) -> None:
    with pytest.raises(SettingsError) as refused:
        usage(NoClient(), by, filters=filters)  # type: ignore[arg-type]
    assert says in str(refused.value)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(SettingsError, match="--to 2026-03-01 00:00:00 has no time zone"):
        usage(NoClient(), [], None, datetime(2026, 3, 1))  # type: ignore[arg-type]  # noqa: DTZ001
    assert "labels" in DIMENSIONS
