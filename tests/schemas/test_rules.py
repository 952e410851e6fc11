"""Rules between fields: what breaks them, whom they blame, and what they say."""

from typing import Any

import pytest
from fleetmeter_schemas.reasons import Reason
from fleetmeter_schemas.rules import (
    AbsentWhen,
    NearEventTime,
    NotAbove,
    PartsWithin,
    RequiredWhen,
    Rule,
    first_violation,
    first_violation_at,
)

PARTS = PartsWithin(("a", "b"), "whole")
ABOVE = NotAbove("low", "high")
REQUIRED = RequiredWhen("who", "kind", ("seat", "deploy"))
NEAR = NearEventTime("start", 400 * 86_400_000_000, 300_000_000)
NOON_US = 1_772_366_400_000_000  # 2026-03-01T12:00:00Z
ABSENT = AbsentWhen("steps", "mode", ("autoregressive",))


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        (PARTS, {}),
        (PARTS, {"a": 0, "b": None}),
        (PARTS, {"a": 2, "b": 3, "whole": 5}),
        (ABOVE, {"low": 5, "high": 5}),
        (ABOVE, {"low": 5}),
        (ABOVE, {"high": 5}),
        (ABOVE, {"low": "2026-03-01T01:00:00+02:00", "high": "2026-02-28T23:30:00Z"}),
        (ABOVE, {"low": "2026-03-01T00:00:00Z", "high": "2026-03-01T00:00:00.000Z"}),
        (ABOVE, {"low": "2026-03-01T00:00:00Z", "high": ""}),
        (REQUIRED, {"kind": "remove"}),
        (REQUIRED, {"kind": "seat", "who": "i"}),
        (REQUIRED, {}),
        (ABSENT, {"mode": "autoregressive"}),
        (ABSENT, {"mode": "autoregressive", "steps": None}),
        (ABSENT, {"mode": "diffusion", "steps": 0}),
        (ABSENT, {"steps": 1}),
    ],
)
def test_kept(rule: Rule, values: dict[str, Any]) -> None:
    assert rule.check(values) is None


@pytest.mark.parametrize(
    ("rule", "values", "field", "reason", "words"),
    [
        (PARTS, {"a": 3, "b": 3, "whole": 5}, "a", Reason.PART_EXCEEDS_WHOLE, "a + b = 6 is more than whole = 5"),
        (PARTS, {"a": 0, "b": 1}, "b", Reason.PART_EXCEEDS_WHOLE, "whole = 0"),
        (ABOVE, {"low": 6, "high": 5}, "low", Reason.PART_EXCEEDS_WHOLE, "low = 6 is more than high = 5"),
        (ABOVE, {"low": 1, "high": 0}, "low", Reason.PART_EXCEEDS_WHOLE, "high = 0"),
        (
            ABOVE,
            {"low": "2026-02-28T23:00:00-02:00", "high": "2026-03-01T00:59:59Z"},
            "low",
            Reason.PART_EXCEEDS_WHOLE,
            "2026-02-28T23:00:00-02:00",
        ),
        (REQUIRED, {"kind": "seat"}, "who", Reason.MISSING_FIELD, "kind is 'seat'"),
        (REQUIRED, {"kind": "deploy", "who": ""}, "who", Reason.MISSING_FIELD, "who is required"),
        (ABSENT, {"mode": "autoregressive", "steps": 0}, "steps", Reason.NOT_ALLOWED, "absent is not zero"),
    ],
)
def test_broken(rule: Rule, values: dict[str, Any], field: str, reason: Reason, words: str) -> None:
    violation = rule.check(values)
    assert violation is not None
    assert (violation.field, violation.reason) == (field, reason)
    assert words in violation.sentence


def test_the_first_broken_rule_counts() -> None:
    values = {"a": 9, "low": 2, "high": 1}
    first, second = first_violation((ABOVE, PARTS), values), first_violation((PARTS, ABOVE), values)
    assert first is not None
    assert second is not None
    assert (first.field, second.field) == ("low", "a")
    assert first_violation((), values) is None


@pytest.mark.parametrize("start", [None, "", "2025-01-25T12:00:00Z", "2026-03-01T14:05:00+02:00"])
def test_a_time_near_the_event_is_kept(start: str | None) -> None:
    assert NEAR.check_at({"start": start}, NOON_US) is None
    assert NEAR.check_at({}, NOON_US) is None


@pytest.mark.parametrize(
    ("start", "reason", "words"),
    [
        ("2025-01-25T11:59:59.999999Z", Reason.TOO_OLD, "more than 400 days before the event's time"),
        ("2026-03-01T12:05:00.000001Z", Reason.IN_FUTURE, "more than 300 s after the event's time"),
    ],
)
def test_a_time_far_from_the_event_is_refused(start: str, reason: Reason, words: str) -> None:
    violation = first_violation_at((PARTS, NEAR), {"start": start, "a": 1}, NOON_US)
    assert violation is not None
    assert (violation.field, violation.reason) == ("start", reason)
    assert words in violation.sentence
    assert start in violation.sentence


def test_only_rules_with_a_time_are_judged_by_it() -> None:
    assert first_violation((NEAR,), {"start": "1999-01-01T00:00:00Z"}) is None
    assert first_violation_at((PARTS,), {"a": 1}, NOON_US) is None
