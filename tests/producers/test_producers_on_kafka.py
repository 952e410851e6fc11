"""Client, simulator and replay against a real broker; what it holds is read back with a consumer of its own."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from fleetmeter_doubles.topic_reader import read_topic
from fleetmeter_local import RunningKafka
from fleetmeter_producers import ClientSettings, Pending, UndeliveredError, UsageClient
from fleetmeter_producers.simulator import SimulationConfig, simulate, verify_oracle
from fleetmeter_producers.trace import replay_trace
from fleetmeter_reference.aggregator import Reference
from fleetmeter_schemas import GenerationV1
from fleetmeter_schemas.native_spec import ledger_dimensions, ledger_measures

pytestmark = pytest.mark.kafka

PARTITIONS = 3
GENERATION = GenerationV1(model="llada-8b-instruct", generation_mode="diffusion", output_tokens=128)


def read_all(kafka: RunningKafka, topic: str) -> list[list[tuple[bytes, bytes | None, int]]]:
    """Key, value and append time in ms of every record, by partition."""
    return [
        [(message.key(), message.value(), message.timestamp()[1]) for message in messages]
        for messages in read_topic(kafka.bootstrap, topic, PARTITIONS)
    ]


def test_a_client_s_events_are_there_once_and_in_one_partition(
    kafka: RunningKafka, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(PARTITIONS)
    client = UsageClient(kafka.bootstrap, "urn:test:server", topic)
    ids = [client.emit("a", GENERATION) for _ in range(5_000)]
    assert client.close(60) == Pending(0, 0)
    holding = [records for records in read_all(kafka, topic) if records]
    assert len(holding) == 1
    assert [orjson.loads(value or b"")["id"] for _, value, _ in holding[0]] == ids
    assert {key for key, _, _ in holding[0]} == {b"urn:test:server"}


def test_a_source_goes_where_java_s_clients_put_it(kafka: RunningKafka, make_topic: Callable[..., str]) -> None:
    topic = make_topic(PARTITIONS)
    sources = [f"urn:test:server-{number}" for number in range(12)]
    for source in sources:
        client = UsageClient(kafka.bootstrap, source, topic)
        client.emit("a", GENERATION)
        assert client.close(60).events == 0
    where = {key.decode(): number for number, records in enumerate(read_all(kafka, topic)) for key, _, _ in records}
    assert where == {source: (murmur2(source.encode()) & 0x7FFFFFFF) % PARTITIONS for source in sources}


def murmur2(data: bytes) -> int:
    """Kafka's hash of keys, after org.apache.kafka.common.utils.Utils.murmur2."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = 0x9747B28C ^ len(data)
    for start in range(0, len(data) // 4 * 4, 4):
        k = int.from_bytes(data[start : start + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    rest = data[len(data) // 4 * 4 :]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def test_an_unknown_topic_is_an_error_in_time(kafka: RunningKafka, topic_name: str, tmp_path: Path) -> None:
    settings = ClientSettings(delivery_timeout_s=2)
    with pytest.raises(UndeliveredError, match=f"of [0-9]+ records for {topic_name}"):
        simulate(SimulationConfig(events=50), kafka.bootstrap, topic_name, tmp_path / "o.json", settings=settings)
    assert orjson.loads((tmp_path / "o.json").read_bytes())["complete"] is False


def test_a_simulated_fleet_is_counted_as_its_oracle_says(
    kafka: RunningKafka, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic, path = make_topic(PARTITIONS, message_timestamp_type="LogAppendTime"), tmp_path / "oracle.json"
    formats = {"json": 2.0, "array": 1.0, "ndjson": 1.0, "arrow": 1.0}
    config = SimulationConfig(events=3_000, seed=4, malformed_rate=0.02, wire_formats=formats, batch_events=10)
    simulate(config, kafka.bootstrap, topic, path)
    oracle = orjson.loads(path.read_bytes())

    # As workers do: each partition by itself, so that duplicates must have stayed where their first copy went.
    rows = []
    counts = dict.fromkeys(("events_in", "accepted", "duplicates", "rejected"), 0)
    for records in read_all(kafka, topic):
        assert records, "every partition has a part of the fleet"
        reference = Reference()
        for offset, (_, value, append_time_ms) in enumerate(records):
            counted = reference.ingest([value], offset, append_time_ms * 1000).counters
            for name in counts:
                counts[name] += getattr(counted, name)
        names = ("event_type", "account_id", "minute", *ledger_dimensions())
        for key, group in reference.flush().usage.items():
            rows.append({**dict.fromkeys(ledger_measures(), 0), **dict(zip(names, key, strict=True)), **group.sums})
    assert {name: oracle["counts"][name] for name in counts} == counts
    assert counts["events_in"] == 3_000
    assert verify_oracle(oracle, rows) == []


def test_a_trace_replayed_twice_is_there_twice_under_the_same_ids(
    kafka: RunningKafka, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic, path = make_topic(PARTITIONS), tmp_path / "trace.csv"
    rows = [f"2023-11-16 18:15:{number:02}.5,{number * 10},{number}\n" for number in range(60)]
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(rows))
    end = datetime.now(UTC)
    for _ in range(2):
        summary = replay_trace(path, kafka.bootstrap, topic, seed=5, end=end)
    assert (summary.requests, summary.input_tokens, summary.output_tokens) == (60, 17_700, 1_770)
    partitions = read_all(kafka, topic)
    values = [value for records in partitions for _, value, _ in records]
    assert len(values) == 120
    assert len(set(values)) == 60
    for records in partitions:
        texts = [value or b"" for _, value, _ in records]
        assert sorted(texts[: len(texts) // 2]) == sorted(texts[len(texts) // 2 :]), "copies meet in their partition"
