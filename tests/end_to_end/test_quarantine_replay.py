"""A row for each kind of bad record, in words that name the field; and after a fix each counts once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from stack_under_test import Commands, running_stack

RECORD_LIMIT_BYTES = 400_000
EVENT_LIMIT_BYTES = 50_000


def text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"


NOW = datetime.now(UTC)


def event(name: str, *, envelope: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    """A generation of 3 output tokens, changed; a None takes a field away."""
    whole = {
        "specversion": "1.0",
        "type": "fleetmeter.generation.v1",
        "id": f"bad-{name}",
        "source": "urn:test:quarantine",
        "subject": "acct-quarantine",
        "time": text(NOW),
        **(envelope or {}),
        "data": {"model": "llada-8b-instruct", "generation_mode": "diffusion", "output_tokens": 3, **data},
    }
    whole["data"] = {key: value for key, value in whole["data"].items() if value is not None}
    return {key: value for key, value in whole.items() if value is not None}


@dataclass(frozen=True)
class Case:
    """A bad record, what must be said about it, and the `--set` that mends it (empty: it can't be mended so)."""

    reason: str
    value: bytes | None
    names: str
    fix: list[str] = field(default_factory=list)


def json_case(reason: str, names: str, fix: str, *, envelope: dict[str, Any] | None = None, **data: Any) -> Case:
    return Case(reason, json.dumps(event(reason, envelope=envelope, **data)).encode(), names, ["--set", fix])


CASES = [
    Case("not_json", json.dumps(event("not-json")).encode()[:-1], "JSON"),
    Case("bad_utf8", json.dumps(event("bad-utf8")).encode().replace(b"acct-quarantine", b"acct-\xff"), "UTF-8"),
    Case("tombstone", None, "no value"),
    Case("too_large", json.dumps(event("large", note="x" * EVENT_LIMIT_BYTES)).encode(), "larger than the limit"),
    Case("too_large", b"[" + b" " * RECORD_LIMIT_BYTES + b"]", "larger than the limit"),
    json_case("wrong_type", "data.input_tokens", "data.input_tokens=5", input_tokens="5"),
    json_case("missing_field", "data.model", "data.model=llada-8b-instruct", model=None),
    json_case("negative", "data.input_tokens", "data.input_tokens=5", input_tokens=-1),
    json_case("fraction", "data.input_tokens", "data.input_tokens=5", input_tokens=1.5),
    json_case("overflow", "data.input_tokens", "data.input_tokens=5", input_tokens=2**40 + 1),
    json_case("part_exceeds_whole", "reasoning_tokens", "data.reasoning_tokens=1", reasoning_tokens=9),
    json_case("unknown_type", "type", "type=fleetmeter.generation.v1", envelope={"type": "fleetmeter.generatoin.v1"}),
    json_case("bad_time", "time", f"time={text(NOW)}", envelope={"time": "yesterday"}),
    json_case("too_old", "time", f"time={text(NOW)}", envelope={"time": text(NOW - timedelta(days=36))}),
    json_case("in_future", "time", f"time={text(NOW)}", envelope={"time": text(NOW + timedelta(hours=2))}),
]


@pytest.fixture(scope="module")
def fleetmeter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    settings = {
        "topic_partitions": "1",
        "flush_interval_s": "0.1",
        "record_limit_bytes": str(RECORD_LIMIT_BYTES),
        "event_limit_bytes": str(EVENT_LIMIT_BYTES),
        "quarantine_payload_limit_bytes": "2000",
    }
    with running_stack(tmp_path_factory.mktemp("quarantine") / "data", workers=1, **settings) as commands:
        yield commands


def totals(fleetmeter: Commands) -> dict[str, int]:
    report: dict[str, int] = fleetmeter("reconcile", "--wait", "60")
    return report


def output_tokens(fleetmeter: Commands) -> int:
    return sum(row["output_tokens"] for row in fleetmeter("usage", "--by", "account_id"))


def test_each_bad_record_gets_a_row_that_explains_it_and_counts_once_when_mended(
    fleetmeter: Commands, tmp_path: Path
) -> None:
    producer = Producer({"bootstrap.servers": fleetmeter("config")["kafka_bootstrap"]["value"]})
    for case in CASES:
        producer.produce("fleetmeter.usage", case.value, key=b"urn:test:quarantine", partition=0)
    # A good event in the midst of a batch of bad ones is counted.
    mixed = [event("mixed", output_tokens=-1), event("good", output_tokens=7), 5]
    producer.produce("fleetmeter.usage", json.dumps(mixed).encode(), key=b"urn:test:quarantine", partition=0)
    assert producer.flush(30) == 0

    report = totals(fleetmeter)
    assert (report["accepted"], report["duplicates"], report["rejected"]) == (1, 0, len(CASES) + 2)
    assert output_tokens(fleetmeter) == 7
    rows = fleetmeter("quarantine", "list", "--limit", "100")["rows"]
    assert [row["coordinates"] for row in rows] == [
        *(f"0/{offset}/0" for offset in range(len(CASES))), f"0/{len(CASES)}/0", f"0/{len(CASES)}/2"
    ]  # fmt: skip
    for case, row in zip(CASES, rows, strict=False):
        assert row["reason"] == case.reason, row
        assert case.names in row["sentence"], row
        assert len(row["sentence"]) > 20
        assert row["payload_bytes"] == len(case.value or b"")
    assert rows[-1]["reason"] == "not_an_object"

    raw = fleetmeter("events", "show", "0/0", "--count", "2")
    assert [record["offset"] for record in raw] == [0, 1]
    assert raw[0]["value"] == (CASES[0].value or b"").decode()

    mended = mend_all(fleetmeter, tmp_path)
    report = totals(fleetmeter)
    assert (report["accepted"], report["duplicates"]) == (1 + mended, 0)
    assert output_tokens(fleetmeter) == 7 + 3 * mended
    left = [row for row in fleetmeter("quarantine", "list", "--limit", "100")["rows"] if row["replayed_at"] is None]
    assert [row["reason"] for row in left] == ["tombstone", "too_large", "too_large", "negative", "not_an_object"]

    # Sent once more, they are found to be duplicates.
    again = fleetmeter("quarantine", "replay", "--reason", "fraction", "--again", "--set", "data.input_tokens=6")
    assert len(again["sent"]) == 1
    report = totals(fleetmeter)
    assert (report["accepted"], report["duplicates"]) == (1 + mended, 1)
    assert output_tokens(fleetmeter) == 7 + 3 * mended


def mend_all(fleetmeter: Commands, tmp_path: Path) -> int:
    """Mends what can be mended, each in its way; returns how many events that were."""
    unmended = fleetmeter.run("quarantine", "replay", "--all", "--json")
    assert unmended.code == 1
    assert unmended.json["sent"] == []
    assert len(unmended.json["refused"]) == len(CASES) + 2
    planned = fleetmeter("quarantine", "replay", "--reason", "fraction", "--set", "data.input_tokens=5", "--dry-run")
    assert len(planned["sent"]) == 1
    mended = 0
    for offset, case in enumerate(CASES):
        at = f"0/{offset}/0"
        if case.fix:
            assert fleetmeter("quarantine", "replay", at, *case.fix)["sent"] == [at]
            mended += 1
        elif case.reason in {"not_json", "bad_utf8"}:
            edited = tmp_path / f"{case.reason}.json"
            edited.write_text(json.dumps(event(case.reason.replace("_", "-"))))
            assert fleetmeter("quarantine", "replay", at, "--edit", str(edited))["sent"] == [at]
            mended += 1
    return mended


def test_coordinates_without_a_row_are_said_to_have_none(fleetmeter: Commands) -> None:
    ran = fleetmeter.run("quarantine", "show", "0/999999")
    assert ran.code == 2
    assert "0/999999" in ran.err
    assert fleetmeter.run("events", "show", "0/999999").code == 2
    assert fleetmeter.run("events", "show", "77/0").code == 2
