"""The rules between fields, read as the data that the native core is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fleetmeter_schemas.rules import Rule

from fleetmeter_reference.outcome import Refused


def check_rules(rules: Sequence[Rule], values: Mapping[str, Any], time_us: int) -> None:
    """Raise `Refused` for the first rule that the present values of an event of that time break."""
    for rule in rules:
        row = rule.as_spec()
        match row["rule"]:
            case "parts_within":
                _parts_within(row, values)
            case "not_above":
                field, limit = row["field"], row["limit"]
                if field in values and limit in values and values[field] > values[limit]:
                    raise Refused("part_exceeds_whole", f"data.{field}")
            case "required_when":
                if values.get(row["on"], "") in row["values"] and row["field"] not in values:
                    raise Refused("missing_field", f"data.{row['field']}")
            case "absent_when":
                if values.get(row["on"], "") in row["values"] and row["field"] in values:
                    raise Refused("not_allowed", f"data.{row['field']}")
            case "near_event_time":
                moment = values.get(row["field"], time_us)
                if moment < time_us - row["max_age_us"]:
                    raise Refused("too_old", f"data.{row['field']}")
                if moment > time_us + row["max_ahead_us"]:
                    raise Refused("in_future", f"data.{row['field']}")
            case unknown:
                raise NotImplementedError(f"the reference does not know the rule {unknown}")


def _parts_within(row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    if sum(values.get(part, 0) for part in row["parts"]) > values.get(row["whole"], 0):
        culprit = next(part for part in row["parts"] if values.get(part, 0) > 0)
        raise Refused("part_exceeds_whole", f"data.{culprit}")
