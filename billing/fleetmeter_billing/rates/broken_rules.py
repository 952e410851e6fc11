"""How a rate card's rule is reported broken: with a stable name, the place inside the card, and a sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

_MANY: Final = 16


def broken(rule: str, sentence: str, *at: str | int) -> PydanticCustomError:
    """The error for a validator to raise. `at` is the path below the object that is validated; the sentence says what
    is wrong and what to write."""
    # pydantic formats the template; a sentence may have braces of its own.
    return PydanticCustomError(rule, "{sentence}", {"sentence": sentence, "at": at})


def choices(names: Iterable[str], near: str | None = None) -> str:
    """Names for a sentence: `a, b or c`; of many only those that resemble `near`."""
    known = sorted(names)
    if near is not None and len(known) > _MANY:
        known = difflib.get_close_matches(near, known, 4, 0.5) or known
    *most, last = known
    return f"{', '.join(most)} or {last}" if most else last


def _no_binary(value: object) -> object:
    if isinstance(value, float):
        raise broken("binary_number", f"{value!r} is a binary fraction: give amounts as Decimal or as text")
    return value


def _plain(value: Decimal) -> Decimal:
    """One spelling for each value, so that a card's hash does not depend on trailing zeros."""
    if value == value.to_integral_value():
        return value.quantize(Decimal(1))
    return value.normalize()


Number = Annotated[Decimal, BeforeValidator(_no_binary), AfterValidator(_plain), Field(max_digits=18)]
"""An exact decimal number of at most 18 digits."""
Amount = Annotated[Number, Field(ge=0)]
"""An amount of money in the card's currency; may have more digits than the currency, since it is per unit."""
Positive = Annotated[Number, Field(gt=0)]
Percent = Annotated[Number, Field(ge=0, le=100)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""Names of cards, meters, prices and plans: lower-case letters, digits and underscores, a letter first."""


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Values = Annotated[
    tuple[str, ...],
    Field(min_length=1),
    BeforeValidator(_one_or_many, json_schema_input_type=str | tuple[str, ...]),
]
"""One value of a dimension, or a list of them; always a tuple once it is read."""
Filter = Mapping[str, Values]
"""Values by dimension; usage matches if each dimension named has one of them."""
