"""The CloudEvents 1.0 envelope, and the one judgement of an event that every part of fleetmeter shares.

The order of judgement is part of the contract, so that each part gives the same reason for the same event: the object,
repeated keys, the envelope's attributes, the data's fields in their declared order, the rules between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fleetmeter_schemas.events import EVENT_TYPES, EventData
from fleetmeter_schemas.reasons import Reason
from fleetmeter_schemas.rules import first_violation_at
from fleetmeter_schemas.timestamps import format_rfc3339, parse_rfc3339

SPECVERSION: Final = "1.0"
ATTRIBUTE_LENGTHS: Final[dict[str, int]] = {"id": 128, "source": 256, "subject": 128}
KNOWN_ATTRIBUTES: Final = (
    "specversion",
    "type",
    "id",
    "source",
    "subject",
    "time",
    "data",
    "datacontenttype",
    "dataschema",
    "traceparent",
    "tracestate",
    "partitionkey",
)


class EventRejected(ValueError):
    """An event that the contract refuses.

    Attributes: `reason`; `field`, the dotted path of the culprit (empty for the event as a whole); the message names
    the field, what is wrong with its value, and the rule.
    """

    def __init__(self, reason: Reason, field: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field


@dataclass(frozen=True, slots=True)
class Event:
    """One valid usage event.

    `(source, id)` is its identity; `subject` is the account that pays; `time_us` is when the work ended (for reports:
    when they were submitted), in microseconds since the epoch.
    """

    type: str
    id: str
    source: str
    subject: str
    time_us: int
    data: EventData
    unknown_fields: tuple[str, ...] = field(default=())

    def to_wire(self) -> dict[str, Any]:
        """The structured-mode CloudEvent, in the canonical field order that readers are fastest on."""
        return {
            "specversion": SPECVERSION,
            "type": self.type,
            "id": self.id,
            "source": self.source,
            "subject": self.subject,
            "time": format_rfc3339(self.time_us),
            "data": self.data.to_wire(),
        }


def parse_event(obj: object) -> Event:
    """The event in a decoded JSON object; raises `EventRejected` with the first reason in the contract's order.

    What only the raw text shows (syntax, repeated keys) and what needs the broker's clock (too old, in the future) is
    judged by those who have them.
    """
    if not isinstance(obj, Mapping):
        raise EventRejected(Reason.NOT_AN_OBJECT, "", f"an event must be a JSON object, not {_kind(obj)}")
    if check_attribute("specversion", obj.get("specversion")) != SPECVERSION:
        raise EventRejected(
            Reason.BAD_VALUE, "specversion", f"specversion is {_show(obj['specversion'])}; CloudEvents 1.0 says '1.0'"
        )
    type_name = check_attribute("type", obj.get("type"))
    model = EVENT_TYPES.get(type_name)
    if model is None:
        raise EventRejected(
            Reason.UNKNOWN_TYPE, "type", f"type {_show(type_name)} is not one of {', '.join(EVENT_TYPES)}"
        )
    identity = {name: check_attribute(name, obj.get(name)) for name in ATTRIBUTE_LENGTHS}
    time = check_attribute("time", obj.get("time"))
    try:
        time_us = parse_rfc3339(time)
    except ValueError as error:
        raise EventRejected(
            Reason.BAD_TIME, "time", f"time {_show(time)} is not an RFC 3339 time with an offset: {error}"
        ) from error
    data = parse_data(model, obj.get("data"))
    check_against_time(data, time_us)
    unknown = [name for name in obj if name not in KNOWN_ATTRIBUTES]
    unknown += [f"data.{name}" for name in obj["data"] if name not in model.model_fields]
    return Event(type_name, **identity, time_us=time_us, data=data, unknown_fields=tuple(unknown))


def parse_data(model: type[EventData], data: object) -> EventData:
    """The typed data of an event; raises `EventRejected` as `parse_event` does."""
    if data is None:
        raise EventRejected(Reason.MISSING_FIELD, "data", "data is missing; it holds the event's fields")
    if not isinstance(data, Mapping):
        raise EventRejected(Reason.WRONG_TYPE, "data", f"data must be a JSON object, not {_kind(data)}")
    try:
        return model.model_validate(dict(data))
    except ValidationError as error:
        raise rejection_of(error) from error


def check_against_time(data: EventData, time_us: int) -> None:
    """Judge what the data alone does not tell: the rules that compare a field with the event's own time.

    Raises `EventRejected` as `parse_event` does; for those who hold valid data and a time, such as a client.
    """
    violation = first_violation_at(data.TIME_RULES, data.__dict__, time_us) if data.TIME_RULES else None
    if violation is not None:
        path = f"data.{violation.field}"
        raise EventRejected(violation.reason, path, f"{path}: {violation.sentence}")


def rejection_of(error: ValidationError) -> EventRejected:
    """The first problem that pydantic found, as a reason and a sentence."""
    problem = error.errors(include_url=False)[0]
    ctx = problem.get("ctx", {})
    name = str(problem["loc"][0]) if problem["loc"] else str(ctx.get("field", ""))
    path = f"data.{name}"
    return EventRejected(_reason_of(problem), path, f"{path}: {_sentence_of(problem)}")


def _reason_of(problem: ErrorDetails) -> Reason:
    kind, value = problem["type"], problem.get("input")
    for reason in Reason:
        if kind == reason.code:
            return reason
    if kind in {"missing", "string_too_short"} or value is None:
        return Reason.MISSING_FIELD
    if kind == "literal_error":
        if value == "":
            return Reason.MISSING_FIELD
        return Reason.BAD_VALUE if isinstance(value, str) else Reason.WRONG_TYPE
    if kind in {"int_type", "int_from_float"}:
        return Reason.FRACTION if isinstance(value, float) else Reason.WRONG_TYPE
    by_kind = {
        "greater_than_equal": Reason.NEGATIVE,
        "less_than_equal": Reason.OVERFLOW,
        "string_too_long": Reason.BAD_VALUE,
        "string_pattern_mismatch": Reason.BAD_VALUE,
    }
    if kind == "greater_than_equal" and problem["ctx"]["ge"] != 0:
        return Reason.OVERFLOW  # below the cap of a signed quantity
    return by_kind.get(kind, Reason.WRONG_TYPE)


def _sentence_of(problem: ErrorDetails) -> str:
    value, ctx = problem.get("input"), problem.get("ctx", {})
    match _reason_of(problem):
        case Reason.MISSING_FIELD if not ctx.get("sentence"):
            return "is required, and is missing, null or empty"
        case Reason.FRACTION:
            return f"is {_show(value)}; quantities are whole numbers, without a point or an exponent"
        case Reason.NEGATIVE:
            return f"is {_show(value)}; quantities are at least 0"
        case Reason.OVERFLOW:
            cap = ctx.get("le", ctx.get("ge"))
            return f"is {_show(value)}; the cap is {cap}"
        case Reason.BAD_VALUE if "max_length" in ctx:
            return f"has {len(str(value))} characters; at most {ctx['max_length']} are allowed"
        case Reason.BAD_VALUE if "pattern" in ctx:
            return "has a control character; leave it out"
        case Reason.BAD_VALUE if "expected" in ctx:
            return f"is {_show(value)}; it must be {ctx['expected']}"
        case Reason.WRONG_TYPE if not problem["msg"].startswith("labels"):
            return f"is {_kind(value)}; {problem['msg'][0].lower()}{problem['msg'][1:]}"
    return problem["msg"]


def check_attribute(name: str, value: object) -> str:
    """The text of an envelope attribute, if the contract allows it; raises `EventRejected` if not.

    For those who hold the parts of an event and not the whole, such as a client about to send it.
    """
    if value is None:
        raise EventRejected(Reason.MISSING_FIELD, name, f"{name} is missing; CloudEvents and fleetmeter require it")
    if not isinstance(value, str):
        raise EventRejected(Reason.WRONG_TYPE, name, f"{name} must be a string, not {_kind(value)}")
    most = ATTRIBUTE_LENGTHS.get(name)
    if most is not None and not 0 < len(value) <= most:
        raise EventRejected(Reason.BAD_VALUE, name, f"{name} has {len(value)} characters; it must have 1 to {most}")
    if most is not None and any(ch < " " or ch == "\x7f" for ch in value):
        raise EventRejected(Reason.BAD_VALUE, name, f"{name} {_show(value)} has a control character; leave it out")
    return value


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int | float):
        return "a number"
    return "an object" if isinstance(value, Mapping) else "an array"


def _show(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
