"""Side rows as ClickHouse gives them back."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from fleetmeter_doubles import APPEND_TIME_MS
from fleetmeter_jobs.ledger import ClickHouseStore, PartitionId
from fleetmeter_jobs.ledger.columns import arrow_type, value_type
from fleetmeter_jobs.ledger.side_rows import (
    Fact,
    Rejection,
    fact_rows,
    quarantine_rows,
    subject_rows,
    watermark_rows,
)
from fleetmeter_jobs.ledger.store import SideRows
from fleetmeter_schemas.tables import TABLES

PARTITION = PartitionId("fleetmeter.usage", 2, 1)


def written(store: ClickHouseStore, table: str, *rows: SideRows, order: str = "1") -> list[dict[str, object]]:
    for some in rows:
        store.insert_side_rows(some)
    answer = store.http.execute(f"SELECT * FROM {table} FINAL ORDER BY {order} FORMAT JSONEachRow")
    return [json.loads(line.decode(errors="replace")) for line in answer.splitlines()]


def event(kind: str, data: dict[str, object], number: int = 1) -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "type": f"fleetmeter.{kind}.v1",
            "id": f"01J-{number}",
            "source": "gateway/ü",
            "subject": "acme",
            "time": "2026-03-01T12:00:00.123456+02:00",
            "data": data,
        }
    ).encode()


@pytest.mark.clickhouse
def test_quarantine(clickhouse_store: ClickHouseStore) -> None:
    payload = event("generation", {"model": "m", "generation_mode": "diffusion", "gpu_ms": -3})
    rejections = [
        Rejection(41, 2, APPEND_TIME_MS + 7, 15, "data.gpu_ms", payload),
        Rejection(42, 0, APPEND_TIME_MS, 1, "", b""),
        Rejection(43, 0, APPEND_TIME_MS, 4, "", b"\xff\xfe"),
    ]
    rows = quarantine_rows(PARTITION, rejections, payload_limit_bytes=20)
    negative, tombstone, garbage = written(clickhouse_store, "quarantine", *rows, *rows, order="offset")
    assert (negative["topic"], negative["partition"], negative["epoch"]) == ("fleetmeter.usage", 2, 1)
    assert (negative["offset"], negative["event_index"]) == (41, 2)
    assert negative["append_time"] == "2026-03-01 00:00:00.007"
    assert (negative["reason"], negative["field"]) == ("negative", "data.gpu_ms")
    assert "gpu_ms" in str(negative["sentence"])
    assert "-3" in str(negative["sentence"])
    assert negative["payload"] == payload[:20].decode()
    assert negative["payload_bytes"] == len(payload)
    assert (negative["replayed_at"], negative["version"]) == (None, 0)
    assert (tombstone["reason"], tombstone["payload"]) == ("tombstone", "")
    assert garbage["reason"] == "bad_utf8"
    assert clickhouse_store.http.rows("SELECT hex(payload) FROM quarantine WHERE offset = 43 LIMIT 1") == [["FFFE"]]


@pytest.mark.clickhouse
def test_facts(clickhouse_store: ClickHouseStore) -> None:
    facts = [
        Fact(5, 0, event("outcome", {"name": "resolved", "quantity": 2, "value_minor": 2**40, "currency": "EUR"})),
        Fact(6, 1, event("job", {"kind": "fine_tuning", "base_model": "phi-4", "gpu_ms": 0, "unheard_of": [1]}, 2)),
        Fact(
            7,
            0,
            event(
                "outcome",
                {"name": "resolved", "quantity": 1, "labels": {"team": "é", "app": "x", "secret": "y"}},
                3,
            ),
        ),
    ]
    rows = fact_rows(PARTITION, facts, label_keys=("app", "team"))
    outcome, job, labelled = written(clickhouse_store, "usage_facts", *rows, *rows, order="offset")
    assert (outcome["account_id"], outcome["event_type"]) == ("acme", "outcome")
    assert (outcome["source"], outcome["event_id"]) == ("gateway/ü", "01J-1")
    assert outcome["time"] == "2026-03-01 10:00:00.123456"
    assert (outcome["name"], outcome["quantity"], outcome["value_minor"]) == ("resolved", 2, 2**40)
    assert (outcome["currency"], outcome["labels"], outcome["gpu_ms"]) == ("EUR", "", None)
    assert (outcome["topic"], outcome["partition"], outcome["epoch"]) == ("fleetmeter.usage", 2, 1)
    assert (outcome["offset"], outcome["event_index"]) == (5, 0)
    assert (job["kind"], job["base_model"], job["quantity"]) == ("fine_tuning", "phi-4", None)
    assert job["gpu_ms"] == 0, "absent is not zero, and zero is not absent"
    assert (job["offset"], job["event_index"]) == (6, 1)
    assert labelled["labels"] == '{"app":"x","team":"é"}'


@pytest.mark.parametrize("number", ["1e400", "-" + "9" * 5_000])
def test_a_number_that_no_double_holds_in_an_unknown_field_stops_no_commit(number: str) -> None:
    text = event("outcome", {"name": "resolved", "quantity": 2, "future": 0}).replace(
        b'"future": 0', b'"future": ' + number.encode()
    )
    (rows,) = fact_rows(PARTITION, [Fact(5, 0, text)], label_keys=())
    assert rows.rows.to_pylist()[0]["quantity"] == 2


@pytest.mark.clickhouse
def test_adjustments_and_estimates_have_tables_of_their_own(clickhouse_store: ClickHouseStore) -> None:
    facts = [
        Fact(8, 0, event("adjustment", {"meter": "output_tokens", "quantity": -(2**40), "reason": "double"})),
        Fact(
            9,
            0,
            event(
                "device_report",
                {
                    "kind": "estimate",
                    "model": "phi-4",
                    "period_hash": "h",
                    "queries": 3,
                    "period_start": "0001-01-01T00:00:00Z",
                    "period_end": "9999-12-31T23:59:59Z",
                },
            ),
        ),
        Fact(10, 0, event("device_report", {"kind": "download", "model": "phi-4", "installation": "i"})),
    ]
    rows = fact_rows(PARTITION, facts, label_keys=())
    (adjustment,) = written(clickhouse_store, "usage_adjustments", *rows)
    (estimate,) = written(clickhouse_store, "usage_estimates")
    (download,) = written(clickhouse_store, "usage_facts")
    assert (adjustment["meter"], adjustment["quantity"], adjustment["reason"]) == ("output_tokens", -(2**40), "double")
    assert adjustment["effective_time"] is None
    assert (estimate["queries"], estimate["queries_upper"], estimate["period_hash"]) == (3, None, "h")
    # Beyond what the column can hold: its ends, never another century.
    assert estimate["period_start"] == "1900-01-01 00:00:00.000000"
    assert estimate["period_end"] == "2299-12-31 23:59:59.999999"
    assert (download["kind"], download["installation"]) == ("download", "i")


@pytest.mark.clickhouse
def test_subjects_merge_to_their_first_and_last_moment(clickhouse_store: ClickHouseStore) -> None:
    day = 20_513  # 2026-03-01
    noon = day * 86_400_000_000 + 43_200_000_000

    def batch(first: int, last: int) -> pa.RecordBatch:
        return pa.record_batch(
            {
                "account_id": ["acme"],
                "day": pa.array([day], pa.uint32()),
                "subject_kind": ["user"],
                "subject": ["u-1"],
                "first_seen_us": pa.array([first], pa.int64()),
                "last_seen_us": pa.array([last], pa.int64()),
            }
        )

    rows = [*subject_rows(batch(noon, noon + 5)), *subject_rows(batch(noon - 1, noon))]
    assert subject_rows(batch(noon, noon).slice(1)) == ()
    (subject,) = written(clickhouse_store, "usage_subjects", *rows)
    assert subject == {
        "account_id": "acme",
        "day": "2026-03-01",
        "subject_kind": "user",
        "subject": "u-1",
        "first_seen": "2026-03-01 11:59:59.999999",
        "last_seen": "2026-03-01 12:00:00.000005",
    }


@pytest.mark.clickhouse
def test_watermarks_only_rise(clickhouse_store: ClickHouseStore) -> None:
    rows = [*watermark_rows(PARTITION, 2_000_000, 10), *watermark_rows(PARTITION, 1_000_000, 9)]
    (watermark,) = written(clickhouse_store, "watermarks", *rows)
    assert (watermark["watermark"], watermark["next_offset"]) == ("1970-01-01 00:00:02.000000", 10)


def test_nothing_makes_no_rows() -> None:
    assert quarantine_rows(PARTITION, [], payload_limit_bytes=1) == ()
    assert fact_rows(PARTITION, [], label_keys=()) == ()


@pytest.mark.clickhouse
def test_an_unknown_column_is_refused(clickhouse_store: ClickHouseStore) -> None:
    with pytest.raises(ValueError, match="watermarks has no column"):
        clickhouse_store.insert_side_rows(SideRows("watermarks", pa.record_batch({"odd": [1]})))


def test_every_declared_column_can_be_written() -> None:
    for table in TABLES.values():
        for column in table.columns:
            assert arrow_type(column.clickhouse_type) is not None
    with pytest.raises(ValueError, match=r"Decimal\(9, 2\)"):
        arrow_type("Decimal(9, 2)")
    assert value_type("SimpleAggregateFunction(max, Tuple(a UInt64, b String))") == "Tuple(a UInt64, b String)"
    assert arrow_type("Tuple(a UInt64, b String)") == pa.struct(
        [pa.field("a", pa.uint64(), nullable=False), pa.field("b", pa.binary(), nullable=False)]
    )
