"""Mending refused events: the identity stays, and what would be refused again is found before it is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.quarantine_mend import (
    Change,
    StillRefusedError,
    check_sendable,
    mend,
    parse_change,
    require_same_identity,
)
from fleetmeter_jobs.settings import Settings

NOW_US = 1_772_366_400_000_000  # 2026-03-01T12:00:00Z
SETTINGS = Settings(horizon_days=35, future_limit_s=300)


def event(time: str = "2026-03-01T11:59:00Z", **data: Any) -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "type": "fleetmeter.generation.v1",
            "id": "e-1",
            "source": "urn:test",
            "subject": "acct",
            "time": time,
            "data": {"model": "m", "generation_mode": "diffusion", **data},
        }
    ).encode()


def test_values_are_json_and_else_text() -> None:
    assert parse_change("data.input_tokens=5") == Change(("data", "input_tokens"), 5)
    assert parse_change("subject=acct-42") == Change(("subject",), "acct-42")
    assert parse_change('subject="5"') == Change(("subject",), "5")
    assert parse_change("data.labels=null") == Change(("data", "labels"), None)
    for text in ("data.input_tokens", "=5", "data..x=5"):
        with pytest.raises(CommandError, match="FIELD=VALUE"):
            parse_change(text)


def test_without_changes_the_bytes_stay_as_they_are() -> None:
    payload = event(input_tokens=1) + b"  "
    assert mend(payload, []) is payload


def test_a_change_sets_or_removes_one_field() -> None:
    mended = json.loads(
        mend(event(input_tokens=-1, blocks=3), [parse_change("data.input_tokens=5"), parse_change("data.blocks=null")])
    )
    assert mended == json.loads(event(input_tokens=5))


@pytest.mark.parametrize("change", ["id=e-2", "source=urn:other", "id=null"])
def test_another_identity_is_refused(change: str) -> None:
    with pytest.raises(CommandError, match="must stay"):
        mend(event(), [parse_change(change)])


def test_an_identity_that_was_missing_may_be_given() -> None:
    without = json.loads(event())
    del without["id"]
    mended = json.loads(mend(json.dumps(without).encode(), [parse_change("id=e-9")]))
    assert mended["id"] == "e-9"


def test_an_edited_file_keeps_the_identity_too() -> None:
    require_same_identity(b"no json at all", event())
    with pytest.raises(CommandError, match="e-1"):
        require_same_identity(event(), event().replace(b"e-1", b"e-2"))


@pytest.mark.parametrize("payload", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_what_is_no_object_cannot_be_set(payload: bytes) -> None:
    with pytest.raises(StillRefusedError, match="--edit"):
        mend(payload, [Change(("subject",), "x")])


def test_a_path_through_a_value_is_refused() -> None:
    with pytest.raises(StillRefusedError, match="subject is not an object"):
        mend(event(), [Change(("subject", "inner"), 1)])


def test_a_good_event_can_be_sent_under_its_source() -> None:
    assert check_sendable(event(input_tokens=5), SETTINGS, NOW_US) == "urn:test"


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (event(input_tokens=-1), "data.input_tokens"),
        (b"{", "not valid JSON"),
        (event(time="2026-01-01T00:00:00Z"), "more than 35 days ago"),
        (event(time="2026-03-01T12:06:00Z"), "in the future"),
        (event(note="x" * SETTINGS.event_limit_bytes), "event_limit_bytes"),
    ],
)
def test_what_would_be_refused_again_is_said(payload: bytes, sentence: str) -> None:
    with pytest.raises(StillRefusedError, match=sentence):
        check_sendable(payload, SETTINGS, NOW_US)


def test_the_time_limits_are_the_workers_to_the_microsecond() -> None:
    check_sendable(event(time="2026-01-25T12:00:00Z"), SETTINGS, NOW_US)
    with pytest.raises(StillRefusedError):
        check_sendable(event(time="2026-01-25T11:59:59.999999Z"), SETTINGS, NOW_US)
    check_sendable(event(time="2026-03-01T12:05:00Z"), SETTINGS, NOW_US)
    with pytest.raises(StillRefusedError):
        check_sendable(event(time="2026-03-01T12:05:00.000001Z"), SETTINGS, NOW_US)
