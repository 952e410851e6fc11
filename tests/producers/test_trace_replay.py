"""Replaying traces: identity, times, sums."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers import ClientSettingsError, TraceError, UndeliveredError
from fleetmeter_producers.trace import replay_trace, scan_trace, trace_records
from fleetmeter_schemas import Event, parse_event

ROWS = [("18:15:46.6805900", 374, 44), ("18:15:50.9951690", 396, 109), ("18:15:48", 879, 55), ("18:16:02.25", 91, 16)]
END = datetime(2026, 11, 22, 13, 0, 0, 500_000, tzinfo=UTC)
# The public trace lies beside a checkout, not in it.


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    lines = [f"2023-11-16 {time},{context},{generated}" for time, context, generated in ROWS]
    path.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines]) + "\n")
    return path


def replayed(path: Path, **options: object) -> list[Event]:
    broker = FakeBroker()
    replay_trace(path, "kafka:9092", connect=broker.connect, **options)  # type: ignore[arg-type]
    for _, key, value in broker.log:
        event = parse_event(orjson.loads(value or b""))
        assert event.source.encode() == key
        assert orjson.dumps(event.to_wire()) == value
        assert event.unknown_fields == ()
    return [parse_event(orjson.loads(value or b"")) for value in broker.values()]


def identities(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.source, event.id) for event in events]


def test_tokens_are_the_trace_s_and_the_last_request_is_at_the_end(trace: Path) -> None:
    events = replayed(trace, end=END)
    tokens = [(event.data.input_tokens, event.data.output_tokens) for event in events]  # type: ignore[attr-defined]
    assert tokens == [(context, generated) for _, context, generated in ROWS]
    last_us = int(END.timestamp()) * 1_000_000 + 500_000
    # The last request is at 18:16:02.25; the others lie 15.56941, 11.254831 and 14.25 s before it.
    assert [last_us - event.time_us for event in events] == [15_569_410, 11_254_831, 14_250_000, 0]


def test_without_an_end_the_last_request_is_now(trace: Path) -> None:
    before = datetime.now(UTC)
    latest = max(event.time_us for event in replayed(trace))
    assert before <= datetime.fromtimestamp(latest / 1e6, UTC) <= datetime.now(UTC) + timedelta(milliseconds=1)


def test_kept_times_are_the_trace_s(trace: Path) -> None:
    first = replayed(trace, keep_times=True)[0]
    assert first.time_us == 1_700_158_546_680_590


def test_end_and_kept_times_exclude_each_other(trace: Path) -> None:
    with pytest.raises(ClientSettingsError, match="exclude each other"):
        replayed(trace, end=END, keep_times=True)


def test_the_same_file_and_seed_are_the_same_events(trace: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.csv"
    copy.write_bytes(trace.read_bytes())
    assert replayed(trace, seed=3, end=END) == replayed(copy, seed=3, end=END)


def test_when_it_is_said_to_have_happened_is_no_part_of_identity(trace: Path) -> None:
    at_end = replayed(trace, end=END)
    assert identities(at_end) == identities(replayed(trace)) == identities(replayed(trace, keep_times=True))


def test_another_seed_or_file_is_other_usage(trace: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_bytes(trace.read_bytes() + b"\n")
    seen = identities(replayed(trace, seed=0)) + identities(replayed(trace, seed=1)) + identities(replayed(other))
    assert len(set(seen)) == 12


def test_a_bad_row_at_the_end_means_that_nothing_is_sent(trace: Path) -> None:
    trace.write_text(trace.read_text() + "2023-11-16 18:16:03,many,1\n")
    broker = FakeBroker()
    with pytest.raises(TraceError, match="line 6, column ContextTokens"):
        replay_trace(trace, "kafka:9092", connect=broker.connect)
    assert broker.configs == []


def test_a_file_that_changes_meanwhile_is_noticed(trace: Path) -> None:
    scan = scan_trace(trace)
    trace.write_text(trace.read_text().replace("374", "375"))
    with pytest.raises(TraceError, match="changed while it was replayed"):
        list(trace_records(trace, scan, seed=0))


def test_a_broker_that_refuses_is_an_error(trace: Path) -> None:
    broker = FakeBroker()
    broker.refusals.extend([None, "topic authorization failed"])
    with pytest.raises(UndeliveredError, match="topic authorization failed") as failed:
        replay_trace(trace, "kafka:9092", connect=broker.connect)
    assert failed.value.retryable


def test_progress_ends_with_all(trace: Path) -> None:
    told: list[tuple[int, int]] = []
    replay_trace(trace, "kafka:9092", connect=FakeBroker().connect, progress=lambda done, of: told.append((done, of)))
    assert told[-1] == (4, 4)


def test_the_public_trace_s_sums_are_exact(trace_file: Path) -> None:
    path = trace_file
    # Summed the plain way, by text alone.
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    broker = FakeBroker()
    summary = replay_trace(path, "kafka:9092", end=END, connect=broker.connect)
    events = [orjson.loads(value or b"") for value in broker.values()]
    assert len(events) == summary.requests == len(rows)
    assert sum(event["data"]["input_tokens"] for event in events) == sum(int(row[1]) for row in rows)
    assert sum(event["data"]["output_tokens"] for event in events) == sum(int(row[2]) for row in rows)
    assert (summary.input_tokens, summary.output_tokens) == (
        sum(int(row[1]) for row in rows),
        sum(int(row[2]) for row in rows),
    )
    assert max(event["time"] for event in events) == "2026-11-22T13:00:00.500000Z" == summary.last_time
    assert len({(event["source"], event["id"]) for event in events}) == len(rows)
    accounts, sources = Counter(event["subject"] for event in events), Counter(event["source"] for event in events)
    assert len(accounts) == 20
    assert len(sources) == 8, "so that several partitions get some"
