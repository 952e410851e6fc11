"""The Python types of event fields: what pydantic does with a value before and after its constraints."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from fleetmeter_schemas.fields import LABEL_KEY_LENGTH, LABEL_VALUE_LENGTH, LABELS_MAX, NO_CONTROL
from fleetmeter_schemas.timestamps import parse_rfc3339, to_rfc3339


def _moment_text(value: Any) -> Any:
    """Aware datetimes are written as RFC 3339; text must already be."""
    if isinstance(value, datetime):
        try:
            return to_rfc3339(value)
        except ValueError as error:
            raise PydanticCustomError("bad_time", "{problem}", {"problem": str(error)}) from error
    return value


def _moment_check(value: str) -> str:
    if value:
        try:
            parse_rfc3339(value)
        except ValueError as error:
            problem = f"{value[:40]!r} is not an RFC 3339 time with an offset: {error}"
            raise PydanticCustomError("bad_time", "{problem}", {"problem": problem}) from error
    return value


def _has_control(text: str) -> bool:
    return any(ch < " " or ch == "\x7f" for ch in text)


def _labels_check(value: Any) -> Any:
    """A labels object; the Python type is a dict of str to str."""
    if not isinstance(value, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise PydanticCustomError("wrong_type", "labels must be an object whose values are all strings")
    if len(value) > LABELS_MAX:
        raise PydanticCustomError("bad_value", "{n} labels; at most 8 are allowed", {"n": len(value)})
    for key, text in value.items():
        if not key or len(key) > LABEL_KEY_LENGTH or not text or len(text) > LABEL_VALUE_LENGTH:
            raise PydanticCustomError(
                "bad_value",
                "label {key}: keys have 1 to 64 characters and values 1 to 128",
                {"key": repr(key[:80])},
            )
        if _has_control(key) or _has_control(text):
            raise PydanticCustomError("bad_value", "label {key} has a control character", {"key": repr(key)})
    return value


Text = str
Quantity = int
SignedQuantity = int
Moment = Annotated[
    str,
    BeforeValidator(_moment_text),
    AfterValidator(_moment_check),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Labels = Annotated[
    dict[str, str],
    BeforeValidator(_labels_check),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": LABELS_MAX,
            "propertyNames": {"minLength": 1, "maxLength": LABEL_KEY_LENGTH, "pattern": NO_CONTROL},
            "additionalProperties": {
                "type": "string",
                "minLength": 1,
                "maxLength": LABEL_VALUE_LENGTH,
                "pattern": NO_CONTROL,
            },
        }
    ),
]
