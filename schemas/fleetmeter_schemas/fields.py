"""How a field is declared: its role in metering, the values it may have, and one line of meaning.

A declaration is an annotation: `input_tokens: Measure = measure("Tokens of the prompt.")`. pydantic checks values by it
at native speed; `field_table` turns it into plain data, from which everything else is derived.
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast, get_args, get_origin

from pydantic import Field

if TYPE_CHECKING:
    from pydantic import BaseModel

QUANTITY_CAP: Final = 2**40
"""The largest quantity of one event, whatever the unit: far above any real request, far below an overflowing sum."""
TEXT_LENGTH: Final = 128
LABELS_MAX: Final = 8
LABEL_KEY_LENGTH: Final = 64
LABEL_VALUE_LENGTH: Final = 128
NO_CONTROL: Final = r"^[^\x00-\x1f\x7f]*$"


class Role(StrEnum):
    """What metering does with a field."""

    DIMENSION = "dimension"  # groups rollups
    MEASURE = "measure"  # is summed
    SUBJECT = "subject"  # is counted distinct
    DETAIL = "detail"  # stays with the event


class Kind(StrEnum):
    """How a field's value is written."""

    STRING = "string"
    UINT = "uint"
    INT = "int"
    TIME = "time"
    LABELS = "labels"


class FieldSpec(NamedTuple):
    """One declared field, as data."""

    name: str
    role: Role
    kind: Kind
    meaning: str
    required: bool = False
    max_length: int | None = None
    choices: tuple[str, ...] | None = None
    cap: int | None = None
    samples: bool = False

    @property
    def samples_name(self) -> str:
        """The column that counts how many events reported the measure."""
        return f"{self.name}_samples"


_MARK = "fleetmeter"


def _declare(meaning: str, mark: dict[str, Any], **constraints: Any) -> Any:
    required = mark.get("required", False)
    default = ... if required else None
    return Field(default, description=meaning, json_schema_extra={_MARK: mark}, **constraints)


def text(
    meaning: str,
    *,
    role: Role = Role.DIMENSION,
    required: bool = False,
    max_length: int = TEXT_LENGTH,
) -> Any:
    """A string: a dimension unless `role` says otherwise; empty means unknown, so a required one cannot be empty."""
    mark = {"role": role, "kind": Kind.STRING, "required": required, "max_length": max_length}
    least = {"min_length": 1} if required else {}
    return _declare(meaning, mark, max_length=max_length, pattern=NO_CONTROL, **least)


def choice(meaning: str, *, role: Role = Role.DIMENSION, required: bool = False) -> Any:
    """A string out of the closed list that the annotation's Literal spells."""
    return _declare(meaning, {"role": role, "kind": Kind.STRING, "required": required})


def measure(meaning: str, *, samples: bool = False, cap: int = QUANTITY_CAP) -> Any:
    """A quantity to sum: a whole number from 0 to `cap`. With `samples`, who reported it is counted beside the sum."""
    mark = {"role": Role.MEASURE, "kind": Kind.UINT, "cap": cap, "samples": samples}
    return _declare(meaning, mark, ge=0, le=cap)


def number(meaning: str, *, cap: int = QUANTITY_CAP, required: bool = False, signed: bool = False) -> Any:
    """A whole number that stays with the event: from 0, or from -cap where signed, to cap."""
    mark = {"role": Role.DETAIL, "kind": Kind.INT if signed else Kind.UINT, "cap": cap, "required": required}
    return _declare(meaning, mark, ge=-cap if signed else 0, le=cap)


def moment(meaning: str, *, required: bool = False) -> Any:
    """An RFC 3339 time that stays with the event."""
    return _declare(meaning, {"role": Role.DETAIL, "kind": Kind.TIME, "required": required})


def labels(meaning: str) -> Any:
    """Operator-chosen key-value pairs, for analysis only: a price never depends on them."""
    return _declare(meaning, {"role": Role.DIMENSION, "kind": Kind.LABELS})


@cache
def field_table(model: type[BaseModel]) -> tuple[FieldSpec, ...]:
    """The declared fields of an event's data, in the order of declaration, which is the order of judgement."""
    table = []
    for name, info in model.model_fields.items():
        extra = cast("dict[str, Any]", info.json_schema_extra)
        if not isinstance(extra, dict) or _MARK not in extra:
            raise TypeError(f"{model.__name__}.{name} is not declared through fleetmeter_schemas.fields")
        choices = _literals(info.annotation)
        table.append(FieldSpec(name=name, meaning=info.description or "", choices=choices, **extra[_MARK]))
    return tuple(table)


def _literals(annotation: Any) -> tuple[str, ...] | None:
    """The values of `Literal[...]` or `Literal[...] | None`; None for other annotations."""
    for part in (annotation, *get_args(annotation)):
        if get_origin(part) is Literal:
            return get_args(part)
    return None
