"""Rules between fields: what breaks them, whom they blame, and what they say."""

from typing import Any

import pytest
from fleetmeter_schemas.reasons import Reason
from fleetmeter_schemas.rules import AbsentWhen, NotAbove, PartsWithin, RequiredWhen, Rule, first_violation

PARTS = PartsWithin(("a", "b"), "whole")
ABOVE = NotAbove("low", "high")
REQUIRED = RequiredWhen("who", "kind", ("seat", "deploy"))
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
