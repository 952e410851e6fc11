"""A sentence for each refused event: what was wrong, where, and what to do.

The native core refuses fast and gives a number and a field; here pydantic looks again, slowly, and says it in words.
"""

from __future__ import annotations

from typing import Any

import orjson

from fleetmeter_schemas.envelope import EventRejected, parse_event
from fleetmeter_schemas.reasons import Reason


def explain(code: int, field: str, payload: bytes) -> str:
    """The sentence for a rejection by the native core.

    `code` is the reason's number, `field` the name the core gave (may be empty), `payload` the event's own bytes.
    Never raises for what a producer sent: where the payload says nothing more, the reason's own sentence stands.
    """
    reason = Reason.of_number(code)
    prefix = f"{field}: " if field else ""
    # Of what is too large nothing can be said by reading it, and reading could take all memory.
    if reason in {Reason.DUPLICATE_KEY, Reason.TOO_LARGE}:
        return f"{prefix}{reason.sentence}"
    if reason is Reason.NOT_JSON:
        return f"{reason.sentence} {_syntax_problem(payload)}".rstrip()
    try:
        obj = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return f"{prefix}{reason.sentence}"
    try:
        parse_event(obj)
    except EventRejected as rejected:
        if (rejected.reason, rejected.field) == (reason, field):
            return f"{rejected} [{reason.sentence}]"
    if reason in {Reason.TOO_OLD, Reason.IN_FUTURE}:
        return f"{prefix}{_value_at(obj, field)!r}. {reason.sentence}"
    return f"{prefix}{reason.sentence}"


def _value_at(obj: Any, path: str) -> Any:
    """The value at a dotted path; None where there is none."""
    for name in path.split("."):
        obj = obj.get(name) if isinstance(obj, dict) else None
    return obj


def _syntax_problem(payload: bytes) -> str:
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        return f"The parser says: {error}."
    return ""
