"""Many events in a record: the same events, the same bounds, and each of them acknowledged."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers import ClientSettingsError, UsageClient, packing
from fleetmeter_producers.outbox import Entry
from fleetmeter_producers.packing import Record
from fleetmeter_reference.aggregator import Reference
from fleetmeter_schemas import DeviceReportV1, GenerationV1, OutcomeV1
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BATCHES = ["none", "ndjson", "arrow"]


def some_events(client: UsageClient) -> list[str]:
    ids = []
    for number in range(40):
        data: Any = GenerationV1(
            model="llada-8b-instruct",
            generation_mode="diffusion",
            output_tokens=number,
            denoising_steps=3,
            labels={"team": "search", "app": "é"},
            user=f"u{number % 3}",
        )
        if number % 10 == 7:
            data = OutcomeV1(name="resolved", quantity=2, value_minor=5, currency="EUR")
        if number % 10 == 9:
            data = DeviceReportV1(
                kind="download",
                installation=f"i{number}",
                model="phi-4",
                period_start="2026-11-01T00:00:00Z",
                period_end="2026-11-02T00:00:00Z",
            )
        ids.append(client.emit(f"acct-{number % 4}", data, time=NOON))
    return ids


@pytest.mark.parametrize("outbox", ["spool"])
def test_every_batch_counts_the_same(make_client: Callable[..., UsageClient], broker: FakeBroker) -> None:
    counted = []
    for batch in BATCHES:
        broker.away = True
        client = make_client(f"urn:test:{batch}", batch=batch)
        ids = some_events(client)
        broker.away = False
        assert client.flush(60).events == 0
        assert client.stats().delivered == len(ids)
        values, broker.log = broker.values(), []
        assert (len(values) == len(ids)) == (batch == "none")
        reference = Reference()
        answer = reference.ingest(values, 0, int(NOON.timestamp() * 1e6))
        assert not answer.rejections, answer.rejections
        flush = reference.flush()
        counted.append(
            (flush.counters.accepted, {key: group.sums for key, group in flush.usage.items()}, flush.subjects.keys())
        )
    assert counted[0][0] == 40
    assert counted[0] == counted[1] == counted[2]


@given(
    sizes=st.lists(st.integers(1, 50), max_size=60),
    most_events=st.integers(1, 10),
    most_bytes=st.integers(1, 120),
)
def test_records_keep_order_and_bounds(sizes: list[int], most_events: int, most_bytes: int) -> None:
    entries = [Entry(position, b"x" * size) for position, size in enumerate(sizes)]
    records = list(packing.packing("ndjson", most_events=most_events, most_bytes=most_bytes)(entries))
    assert [position for record in records for position in record.positions] == list(range(len(sizes)))
    assert b"\n".join(record.value for record in records) == b"\n".join(entry.value for entry in entries)
    for record in records:
        assert len(record.positions) <= most_events
        assert len(record.positions) == 1 or len(record.value) < most_bytes


def test_what_arrow_has_no_columns_for_goes_as_json() -> None:
    event = {"id": "1", "source": "s", "subject": "a", "time": "2026-11-22T00:00:00Z", "type": "fleetmeter.future.v9"}
    values = [orjson.dumps({**event, "data": {"x": 1}}), orjson.dumps({**event, "data": {"x": 2}})]
    pack = packing.packing("arrow", most_events=9, most_bytes=999)
    assert list(pack([Entry(5, values[0]), Entry(6, values[1])])) == [Record(values[0], (5,)), Record(values[1], (6,))]


def test_a_refused_record_is_sent_again_whole(make_client: Callable[..., UsageClient], broker: FakeBroker) -> None:
    broker.away = True
    client = make_client(batch="ndjson", batch_events=10)
    ids = [client.emit("a", OutcomeV1(name="done", quantity=1)) for _ in range(30)]
    broker.refusals.extend(["timed out", None, "timed out"])
    broker.away = False
    assert client.flush(60).events == 0
    sent = [orjson.loads(line)["id"] for value in broker.values() for line in (value or b"").splitlines()]
    assert sorted(sent) == sorted(ids)
    assert client.stats().failed_deliveries >= 1


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, make_client: Callable[..., UsageClient]) -> None:
    monkeypatch.setattr(packing, "find_spec", lambda _name: None)
    with pytest.raises(ClientSettingsError, match="pip install pyarrow"):
        make_client(batch="arrow")
