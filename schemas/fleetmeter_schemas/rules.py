"""Rules between the fields of one event, as data: the native core and pydantic judge by the same table.

They are named tuples, which are made several times faster than dataclasses: every producer imports them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from fleetmeter_schemas.reasons import Reason
from fleetmeter_schemas.timestamps import parse_rfc3339


class Violation(NamedTuple):
    """The field that breaks a rule, why, and the rule in words."""

    field: str
    reason: Reason
    sentence: str


def _amount(value: Any) -> int | None:
    """What is compared: a quantity, or the instant of a time (texts of one instant can differ); None where absent."""
    if isinstance(value, str):
        return parse_rfc3339(value) if value else None
    return cast("int | None", value)


class PartsWithin(NamedTuple):
    """The parts together are at most the whole; what is absent counts 0."""

    parts: tuple[str, ...]
    whole: str

    def check(self, values: Mapping[str, Any]) -> Violation | None:
        """The violation, if any, on the first part that is above zero."""
        total = sum(values.get(part) or 0 for part in self.parts)
        whole = values.get(self.whole) or 0
        if total <= whole:
            return None
        field = next(part for part in self.parts if values.get(part))
        names = " + ".join(self.parts)
        return Violation(
            field,
            Reason.PART_EXCEEDS_WHOLE,
            f"{names} = {total} is more than {self.whole} = {whole}, which contains it",
        )

    def as_spec(self) -> dict[str, Any]:
        """The row of the native core's table."""
        return {"rule": "parts_within", "parts": list(self.parts), "whole": self.whole}


class NotAbove(NamedTuple):
    """Where both are reported, the field is at most the limit."""

    field: str
    limit: str

    def check(self, values: Mapping[str, Any]) -> Violation | None:
        """The violation, if any."""
        value, limit = _amount(values.get(self.field)), _amount(values.get(self.limit))
        if value is None or limit is None or value <= limit:
            return None
        shown = f"{self.field} = {values[self.field]} is more than {self.limit} = {values[self.limit]}"
        return Violation(self.field, Reason.PART_EXCEEDS_WHOLE, shown)

    def as_spec(self) -> dict[str, Any]:
        """The row of the native core's table."""
        return {"rule": "not_above", "field": self.field, "limit": self.limit}


class RequiredWhen(NamedTuple):
    """The field must be there when another field has one of some values."""

    field: str
    on: str
    values: tuple[str, ...]

    def check(self, values: Mapping[str, Any]) -> Violation | None:
        """The violation, if any."""
        if values.get(self.on) not in self.values or values.get(self.field) not in (None, ""):
            return None
        return Violation(
            self.field, Reason.MISSING_FIELD, f"{self.field} is required when {self.on} is {values.get(self.on)!r}"
        )

    def as_spec(self) -> dict[str, Any]:
        """The row of the native core's table."""
        return {"rule": "required_when", "field": self.field, "on": self.on, "values": list(self.values)}


class AbsentWhen(NamedTuple):
    """The field must not be there, not even as 0, when another field has one of some values."""

    field: str
    on: str
    values: tuple[str, ...]

    def check(self, values: Mapping[str, Any]) -> Violation | None:
        """The violation, if any."""
        if values.get(self.on) not in self.values or values.get(self.field) in (None, ""):
            return None
        return Violation(
            self.field,
            Reason.NOT_ALLOWED,
            f"{self.field} has no meaning when {self.on} is {values.get(self.on)!r}; leave it out (absent is not zero)",
        )

    def as_spec(self) -> dict[str, Any]:
        """The row of the native core's table."""
        return {"rule": "absent_when", "field": self.field, "on": self.on, "values": list(self.values)}


class NearEventTime(NamedTuple):
    """The field, a time, lies near the event's own. It is judged where the event's time is known, after all others."""

    field: str
    max_age_us: int
    max_ahead_us: int

    def check(self, values: Mapping[str, Any]) -> None:
        """Nothing: fields alone do not tell."""

    def check_at(self, values: Mapping[str, Any], time_us: int) -> Violation | None:
        """The violation, if any, in an event of that time."""
        moment = _amount(values.get(self.field))
        if moment is None:
            return None
        shown = f"{self.field} = {values[self.field]}"
        if moment < time_us - self.max_age_us:
            return Violation(
                self.field, Reason.TOO_OLD, f"{shown} is more than {_span(self.max_age_us)} before the event's time"
            )
        if moment > time_us + self.max_ahead_us:
            return Violation(
                self.field, Reason.IN_FUTURE, f"{shown} is more than {_span(self.max_ahead_us)} after the event's time"
            )
        return None

    def as_spec(self) -> dict[str, Any]:
        """The row of the native core's table."""
        return {
            "rule": "near_event_time",
            "field": self.field,
            "max_age_us": self.max_age_us,
            "max_ahead_us": self.max_ahead_us,
        }


def _span(micros: int) -> str:
    days, seconds = divmod(micros // 1_000_000, 86_400)
    return f"{days} days" if days else f"{seconds} s"


Rule = PartsWithin | NotAbove | RequiredWhen | AbsentWhen | NearEventTime


def first_violation(rules: tuple[Rule, ...], values: Mapping[str, Any]) -> Violation | None:
    """The first broken rule, in table order, of those that need nothing but the fields."""
    for rule in rules:
        violation = rule.check(values)
        if violation is not None:
            return violation
    return None


def first_violation_at(rules: tuple[Rule, ...], values: Mapping[str, Any], time_us: int) -> Violation | None:
    """The first broken rule, in table order, of those that compare with the event's time; they stand last."""
    for rule in rules:
        violation = rule.check_at(values, time_us) if isinstance(rule, NearEventTime) else None
        if violation is not None:
            return violation
    return None
