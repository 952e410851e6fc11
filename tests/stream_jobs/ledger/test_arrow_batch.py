"""One commit's rows as one Arrow record batch."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from fleetmeter_doubles import usage_batch
from fleetmeter_jobs.ledger import Counts, PartitionId, Tail
from fleetmeter_jobs.ledger.arrow_batch import USAGE_COLUMNS, blob_row, encode_rows, marker_row
from fleetmeter_jobs.ledger.errors import BooksError
from fleetmeter_jobs.ledger.position import table_partition_of
from fleetmeter_jobs.ledger.store import LedgerRows
from fleetmeter_schemas.tables import LEDGER
from hypothesis import given
from hypothesis import strategies as st

PARTITION = PartitionId("fleetmeter.usage", 3, 2)
MARKER = marker_row(
    PARTITION,
    202603,
    10,
    Tail(20, "nonce", "topic-id", 5, 2**32 - 1, 202604),
    counts=Counts(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    commits=1,
    watermark_us=1_772_323_200_123_456,
    committed_at_ms=1_772_323_200_123,
)


def read(rows: LedgerRows) -> pa.Table:
    with pa.ipc.open_file(rows.body) as reader:
        assert reader.num_record_batches == 1
        table = reader.read_all()
    assert table.num_rows == rows.row_count
    assert table.schema.names == list(LEDGER.column_names)
    return table


def test_the_rows_of_a_commit() -> None:
    usage = usage_batch(
        [
            {
                "event_type": "generation",
                "account_id": "a",
                "minute": 60,
                "model": "m",
                "requests": 2,
                "next_offset": 12,
            },
            {"event_type": "generation", "account_id": "b", "minute": 120, "gpu_ms": 2**64 - 1, "first_offset": 11},
        ]
    )
    blob = blob_row(PARTITION, 202603, 10, 20, b"\x00\xff")
    table = read(encode_rows([blob, MARKER], usage, partition=PARTITION, table_partition=202603))
    first, second, third, marker = table.to_pylist()
    for row in (first, second, third, marker):
        assert (row["topic"], row["partition"], row["epoch"], row["table_partition"]) == (
            "fleetmeter.usage",
            3,
            2,
            202603,
        )
    assert [row["row_kind"] for row in (first, second, third, marker)] == [3, 3, 2, 1]
    assert (first["account_id"], first["minute"], first["model"], first["requests"]) == ("a", 60, "m", 2)
    assert (first["next_offset"], first["blob"], first["records"], first["blob_offset"]) == (12, b"", 0, 0)
    assert (second["account_id"], second["model"], second["gpu_ms"], second["first_offset"]) == ("b", "", 2**64 - 1, 11)
    assert (third["blob_offset"], third["first_offset"], third["next_offset"]) == (10, 10, 20)
    assert (third["blob"], third["account_id"], third["requests"]) == (b"\x00\xff", "", 0)
    assert [marker[name] for name in Counts.__dataclass_fields__] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert (marker["first_offset"], marker["next_offset"], marker["commits"]) == (10, 20, 1)
    assert marker["tail"] == {
        "next_offset": 20,
        "nonce": b"nonce",
        "topic_id": b"topic-id",
        "leader_epoch": 5,
        "crc": 2**32 - 1,
        "table_partition": 202604,
    }
    assert (marker["account_id"], marker["minute"], marker["blob"]) == ("", 0, b"")
    assert marker["watermark"].isoformat() == "2026-03-01T00:00:00.123456+00:00"
    assert marker["committed_at"].isoformat() == "2026-03-01T00:00:00.123000+00:00"


def test_dictionaries_keep_each_word_once() -> None:
    usage = usage_batch([{"model": "m", "region": ""}, {"model": "n", "region": ""}])
    table = read(encode_rows([MARKER], usage, partition=PARTITION, table_partition=202603))
    assert table["model"].chunk(0).dictionary.to_pylist() == ["m", "n", ""]
    assert table["region"].chunk(0).dictionary.to_pylist() == [""]
    assert table["topic"].chunk(0).dictionary.to_pylist() == ["fleetmeter.usage"]


@given(
    st.lists(
        st.tuples(st.text(max_size=5), st.text(max_size=5), st.integers(0, 2**64 - 1)),
        max_size=20,
    ),
    st.binary(max_size=50),
)
def test_whatever_is_put_in_comes_out(rows: list[tuple[str, str, int]], blob: bytes) -> None:
    usage = usage_batch([{"account_id": a, "model": m, "output_tokens": t} for a, m, t in rows])
    extra = [blob_row(PARTITION, 1, 5, 6, blob), MARKER]
    table = read(encode_rows(extra, usage, partition=PARTITION, table_partition=1))
    got = table.select(["account_id", "model", "output_tokens", "blob"]).to_pylist()
    assert [(row["account_id"], row["model"], row["output_tokens"]) for row in got] == [*rows, ("", "", 0), ("", "", 0)]
    assert [row["blob"] for row in got] == [b""] * len(rows) + [blob, b""]


def test_large_bodies_are_compressed() -> None:
    usage = usage_batch([{"minute": 60 * n, "requests": 1} for n in range(2000)])
    rows = encode_rows([MARKER], usage, partition=PARTITION, table_partition=1)
    assert read(rows).num_rows == 2001
    assert rows.body.size < usage.nbytes / 4


def test_nothing_is_refused() -> None:
    with pytest.raises(BooksError, match="one record batch with rows, not 1 with 0"):
        encode_rows([])


def test_nulls_are_refused() -> None:
    usage = usage_batch([{"model": "m"}])
    index = usage.schema.get_field_index("gpu_ms")
    with pytest.raises(BooksError, match="gpu_ms has 1 nulls"):
        encode_rows([MARKER], usage.set_column(index, "gpu_ms", pa.array([None], pa.uint64())), partition=PARTITION)


def test_every_ledger_column_has_one_owner() -> None:
    """Dimensions and measures come from the core; what is left is the commit's own."""
    own = set(LEDGER.column_names) - set(USAGE_COLUMNS)
    assert {"row_kind", "topic", "tail", "blob", "records", "accepted", "commits"} <= own
    assert {"model", "labels", "requests", "gpu_ms_samples", "first_offset", "next_offset"} <= set(USAGE_COLUMNS)
    assert not [name for name in own if re.search("_tokens|_samples|model", name)]


@pytest.mark.parametrize(
    ("append_time_ms", "month"),
    [
        (0, 197001),
        (1_772_323_199_999, 202602),
        (1_772_323_200_000, 202603),
        (1_709_251_199_999, 202402),  # the last of a leap day
        (4_102_444_799_999, 209912),
    ],
)
def test_table_partitions_are_months_of_utc(append_time_ms: int, month: int) -> None:
    assert table_partition_of(append_time_ms) == month


@pytest.mark.parametrize("append_time_ms", [-1, 2**32 * 1000])
def test_an_append_time_that_no_broker_gives_is_refused(append_time_ms: int) -> None:
    with pytest.raises(ValueError, match="LogAppendTime"):
        table_partition_of(append_time_ms)
