"""The oracle against the slow reference of the pipeline: two calculations that share nothing but the contract."""

from collections import Counter, defaultdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers import ClientSettings, ClientSettingsError, UndeliveredError
from fleetmeter_producers.simulator import Oracle, Record, SimulationConfig, records, simulate, verify_oracle
from fleetmeter_producers.simulator.clients import Clients
from fleetmeter_reference.aggregator import Flush, Ingested, Reference
from fleetmeter_schemas.native_spec import ledger_dimensions, ledger_measures

END_US = 1_795_354_215_000_000
FORMATS: dict[str, dict[str, float]] = {
    "json": {"json": 1},
    "array": {"array": 1},
    "ndjson": {"ndjson": 1},
    "arrow": {"arrow": 1},
    "mixed": {"json": 2, "array": 1, "ndjson": 1, "arrow": 1},
}


@cache
def simulated(name: str) -> tuple[tuple[Record, ...], dict[str, Any], Ingested, Flush]:
    config = SimulationConfig(
        events=1_500, seed=2, malformed_rate=0.03, wire_formats=FORMATS[name], batch_events=10, accounts=6
    )
    sent = tuple(records(config, END_US))
    oracle = Oracle(config.events)
    for record in sent:
        oracle.acknowledge(record.items)
    reference = Reference()
    ingested = reference.ingest([record.value for record in sent], 0, END_US)
    return sent, oracle.as_dict(complete=True), ingested, reference.flush()


def usage_rows(flush: Flush) -> list[dict[str, Any]]:
    names = ("event_type", "account_id", "minute", *ledger_dimensions())
    return [
        {**dict.fromkeys(ledger_measures(), 0), **dict(zip(names, key, strict=True)), **group.sums}
        for key, group in flush.usage.items()
    ]


@pytest.mark.parametrize("name", FORMATS)
def test_counts(name: str) -> None:
    sent, oracle, ingested, _ = simulated(name)
    counted = ingested.counters
    assert oracle["counts"]["records"] == len(sent)
    for count in ("events_in", "accepted", "duplicates", "rejected"):
        assert oracle["counts"][count] == getattr(counted, count), count
    assert oracle["rejected_by_reason"] == dict(Counter(rejection.code for rejection in ingested.rejections))
    assert (counted.unknown_fields, counted.overflowed_labels) == (0, 0)
    assert oracle["counts"]["events_in"] == 1_500
    assert len(oracle["rejected_by_reason"]) == 20


@pytest.mark.parametrize("name", FORMATS)
def test_usage(name: str) -> None:
    _, oracle, _, flush = simulated(name)
    assert verify_oracle(oracle, usage_rows(flush)) == []
    assert len(oracle["usage"]) > 50


@pytest.mark.parametrize("name", FORMATS)
def test_minutes(name: str) -> None:
    _, oracle, _, flush = simulated(name)
    minutes: Counter[tuple[int, str]] = Counter()
    for row in usage_rows(flush):
        minutes[row["minute"], row["event_type"]] += row["requests"] + row["fallbacks"]
    assert {(row["minute"], row["event_type"]): row["events"] for row in oracle["minutes"]} == {
        (_rfc3339(minute), event_type): events for (minute, event_type), events in minutes.items()
    }


@pytest.mark.parametrize("name", FORMATS)
def test_facts_and_subjects(name: str) -> None:
    _, oracle, ingested, flush = simulated(name)
    events: Counter[tuple[str, str]] = Counter()
    sums: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for fact in ingested.facts:
        read = fact.read
        key = (read.model.SHORT, read.values.get("kind", ""))
        events[key] += 1
        for field in ("queries", "output_tokens", "active_ms", "gpu_ms", "training_tokens", "quantity", "value_minor"):
            if field in read.values:
                sums[key][field] += read.values[field]
    assert {(row["event_type"], row["kind"]): row["events"] for row in oracle["facts"]} == events
    for row in oracle["facts"]:
        for field, total in sums[row["event_type"], row["kind"]].items():
            assert row["sums"][field] == total
    distinct: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for account, _, kind, subject in flush.subjects:
        distinct[account, kind].add(subject)
    assert {(row["account_id"], row["subject_kind"]): row["distinct"] for row in oracle["subjects"]} == {
        key: len(subjects) for key, subjects in distinct.items()
    }


def test_the_mixed_stream_has_every_format() -> None:
    sent, *_ = simulated("mixed")
    starts = Counter((record.value or b"-")[:1] for record in sent if len(record.items) > 1)
    assert set(starts) == {b"[", b"{", b"\xff"}
    lines = [record for record in sent if (record.value or b"").startswith(b"{") and len(record.items) > 1]
    assert all((record.value or b"").count(b"\n") == len(record.items) - 1 for record in lines)


def _rfc3339(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")


class TestVerify:
    """`verify_oracle` on figures made up here."""

    ORACLE: ClassVar[dict[str, Any]] = {
        "complete": True,
        "usage": [
            {
                "account_id": "a",
                "model": "m",
                "generation_mode": "diffusion",
                "event_type": "generation",
                "requests": 5,
                "output_tokens": 70,
            }
        ],
    }

    @staticmethod
    def row(**figures: Any) -> dict[str, Any]:
        key = {"account_id": "a", "model": "m", "generation_mode": "diffusion", "event_type": "generation"}
        return {**dict.fromkeys(ledger_measures(), 0), **key, **figures}

    def test_rows_may_be_finer(self) -> None:
        rows = [self.row(requests=2, output_tokens=30), self.row(requests="3", output_tokens=40)]
        assert verify_oracle(self.ORACLE, rows) == []

    def test_each_wrong_figure_is_a_difference(self) -> None:
        differences = verify_oracle(self.ORACLE, [self.row(requests=5, output_tokens=71, blocks=1)])
        assert [(found.measure, found.expected, found.found) for found in differences] == [
            ("output_tokens", 70, 71),
            ("blocks", 0, 1),
        ]
        assert str(differences[0]) == "a / m / diffusion / generation: output_tokens is 71, must be 70 (+1)"

    def test_a_missing_group_and_a_group_too_many_are_differences(self) -> None:
        assert [found.found for found in verify_oracle(self.ORACLE, [])] == [0, 0]
        extra = [self.row(requests=5, output_tokens=70), self.row(account_id="b", requests=1)]
        assert [(found.account_id, found.expected) for found in verify_oracle(self.ORACLE, extra)] == [("b", 0)]

    def test_a_missing_column_is_not_a_zero(self) -> None:
        row = self.row(requests=5, output_tokens=70)
        del row["gpu_ms"]
        with pytest.raises(ValueError, match="lacks gpu_ms"):
            verify_oracle(self.ORACLE, [row])

    def test_an_oracle_that_does_not_know_says_so(self) -> None:
        with pytest.raises(ValueError, match="not complete"):
            verify_oracle({**self.ORACLE, "complete": False}, [])


class TestSimulate:
    """Sending, against a broker that does what the test says."""

    CONFIG = SimulationConfig(events=1_000, seed=9)

    def test_the_oracle_file_is_that_of_the_stream(self, tmp_path: Path) -> None:
        broker, path = FakeBroker(), tmp_path / "oracle.json"
        told: list[tuple[int, int]] = []
        summary = simulate(
            self.CONFIG,
            "kafka:9092",
            "usage",
            path,
            lambda done, of: told.append((done, of)),
            connect=broker.connect,
        )
        written = orjson.loads(path.read_bytes())
        end_us = int(written["end"][20:26]) + 1_000_000 * _seconds(written["end"])
        again = list(records(self.CONFIG, end_us))
        # Four producers send at the same time, so that only the order within a source is kept, and not even that where
        # a source's broken records go another way than its events.
        assert Counter(broker.log) == Counter(("usage", key, value) for key, value, _ in again)
        oracle = Oracle(1_000)
        for record in again:
            oracle.acknowledge(record.items)
        assert {name: written[name] for name in oracle.as_dict(complete=True)} == oracle.as_dict(complete=True)
        assert (summary.events_in, summary.records, told[-1]) == (1_000, len(again), (1_000, 1_000))
        assert summary.accepted + summary.duplicates + summary.rejected == 1_000
        assert summary.value_bytes == sum(len(value or b"") for value in broker.values())

    def test_only_what_was_acknowledged_counts_and_the_failure_is_said(self, tmp_path: Path) -> None:
        broker, path = FakeBroker(), tmp_path / "oracle.json"
        broker.refusals.extend([None] * 300 + ["timed out"] * 10_000)
        with pytest.raises(UndeliveredError, match=r"acknowledged \d+ of") as failure:
            simulate(self.CONFIG, "kafka:9092", "usage", path, connect=broker.connect)
        written = orjson.loads(path.read_bytes())
        assert written["complete"] is False
        ready_made = int(str(failure.value).split()[2])
        assert written["counts"]["records"] == written["counts"]["events_in"] == ready_made <= len(broker.log) == 300
        with pytest.raises(ValueError, match="not complete"):
            verify_oracle(written, [])

    def test_a_part_goes_through_clients_as_users_run_them(self, tmp_path: Path) -> None:
        broker, path = FakeBroker(), tmp_path / "oracle.json"
        config = SimulationConfig(events=1_000, seed=9, duplicate_rate=0, malformed_rate=0)
        summary = simulate(config, "kafka:9092", "usage", path, connect=broker.connect)
        by_source = Counter(key.decode() for _, key, _ in broker.log)
        connected = [config for config in broker.configs if config["bootstrap.servers"]]
        assert len(connected) == 4, "one for the ready-made records, three clients"
        for kind in (":denoising-", ":gateway-", ":device-relay"):
            assert sum(count for source, count in by_source.items() if kind in source) > 10
        assert (summary.accepted, orjson.loads(path.read_bytes())["complete"]) == (1_000, True)

    def test_a_client_whose_delivery_was_repeated_can_t_say_how_often_it_arrived(self, tmp_path: Path) -> None:
        broker = FakeBroker()
        broker.refusals.append("not now")
        clients = Clients("kafka:9092", "usage", ClientSettings(retry_wait_s=0.01), tmp_path / "spool", broker.connect)
        record = next(
            record for record in records(self.CONFIG, END_US) if b":device-relay" in record.key and record.value
        )
        assert clients.take(record)
        with pytest.raises(UndeliveredError, match=r"acknowledged 1 of 1 events of .*, and refused 1 at first"):
            clients.finish(20)

    def test_an_interrupted_run_leaves_an_oracle_that_is_not_complete(self, tmp_path: Path) -> None:
        path = tmp_path / "oracle.json"

        def interrupt(_: int, __: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            simulate(self.CONFIG, "kafka:9092", "usage", path, interrupt, connect=FakeBroker().connect)
        assert orjson.loads(path.read_bytes())["complete"] is False

    def test_an_end_that_workers_would_refuse_is_refused_first(self, tmp_path: Path) -> None:
        config = SimulationConfig(events=10, end="2020-01-01T00:00:00Z")
        with pytest.raises(ClientSettingsError, match="choose an end nearer to now"):
            simulate(config, "kafka:9092", "usage", tmp_path / "oracle.json", connect=FakeBroker().connect)
        assert list(tmp_path.iterdir()) == []

    def test_an_oracle_that_can_t_be_written_is_told_before_anything_is_sent(self, tmp_path: Path) -> None:
        broker = FakeBroker()
        with pytest.raises(FileNotFoundError, match="nowhere"):
            simulate(self.CONFIG, "kafka:9092", "usage", tmp_path / "nowhere" / "oracle.json", connect=broker.connect)
        assert broker.log == []

    def test_the_oracle_of_an_earlier_run_is_gone_once_something_is_sent(self, tmp_path: Path) -> None:
        """A run that is killed writes nothing any more."""
        path = tmp_path / "oracle.json"
        path.write_text('{"complete": true}')
        seen: list[bool] = []
        simulate(
            SimulationConfig(events=100, seed=9),
            "kafka:9092",
            "usage",
            path,
            lambda _done, _of: seen.append(orjson.loads(path.read_bytes())["complete"]),
            connect=FakeBroker().connect,
        )
        assert set(seen) == {False}

    def test_the_pace_is_kept(self, tmp_path: Path) -> None:
        config = SimulationConfig(events=200, events_per_s=1_000)
        summary = simulate(config, "kafka:9092", "usage", tmp_path / "oracle.json", connect=FakeBroker().connect)
        assert summary.seconds >= 0.19


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text[:19] + "+00:00").timestamp())
