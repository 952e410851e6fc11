"""Bad input of every kind, with the reason for which it must be refused.

Each is made out of a good event, so that exactly one thing is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import orjson
from fleetmeter_schemas.fields import QUANTITY_CAP
from fleetmeter_schemas.reasons import Reason

from fleetmeter_producers.wire import format_time

_DAYS_US: Final = 86_400_000_000
_FAR_DAYS: Final = 500  # beyond every horizon that can be set


class Fit(Enum):
    """Where an event may stand: in a record of its own only, as a line among others, or also in a JSON array (which
    must be valid JSON as a whole)."""

    ALONE = 0
    LINE = 1
    ELEMENT = 2


@dataclass(frozen=True, slots=True)
class Sample:
    """What a bad event is made from: a good generation, the time of the stream, and the workers' limit."""

    value: bytes
    end_us: int
    event_limit_bytes: int

    def changed(self, **attributes: Any) -> bytes:
        """The event with some attributes changed; None takes one out."""
        event = {**orjson.loads(self.value), **attributes}
        return orjson.dumps({name: value for name, value in event.items() if value is not None})

    def with_data(self, **fields: Any) -> bytes:
        """The event with some data fields changed."""
        return self.changed(data={**orjson.loads(self.value)["data"], **fields})

    def moved(self, days: int) -> bytes:
        """The event so many days after the stream's end."""
        return self.changed(time=format_time(self.end_us + days * _DAYS_US))

    @property
    def input_tokens(self) -> int:
        """The event's own."""
        return int(orjson.loads(self.value)["data"]["input_tokens"])


@dataclass(frozen=True, slots=True)
class Malformation:
    """One way in which an event is bad."""

    reason: Reason
    fit: Fit
    make: Callable[[Sample], bytes | None]


def _too_deep(sample: Sample) -> bytes:
    nested = b"[" * 100 + b"]" * 100
    return sample.value[:-1] + b',"nested":' + nested + b"}"


def _too_large(sample: Sample) -> bytes:
    return sample.changed(comment="x" * sample.event_limit_bytes)


MALFORMATIONS: Final = (
    Malformation(Reason.NOT_JSON, Fit.LINE, lambda sample: sample.value[: len(sample.value) // 2]),
    Malformation(Reason.WRONG_TYPE, Fit.ELEMENT, lambda sample: sample.with_data(output_tokens="12")),
    Malformation(Reason.MISSING_FIELD, Fit.ELEMENT, lambda sample: sample.changed(subject=None)),
    Malformation(Reason.NEGATIVE, Fit.ELEMENT, lambda sample: sample.with_data(output_tokens=-1)),
    Malformation(Reason.FRACTION, Fit.ELEMENT, lambda sample: sample.with_data(input_tokens=10.5)),
    Malformation(Reason.OVERFLOW, Fit.ELEMENT, lambda sample: sample.with_data(input_tokens=QUANTITY_CAP + 1)),
    Malformation(
        Reason.PART_EXCEEDS_WHOLE,
        Fit.ELEMENT,
        lambda sample: sample.with_data(cache_read_input_tokens=sample.input_tokens + 1),
    ),
    Malformation(Reason.UNKNOWN_TYPE, Fit.ELEMENT, lambda sample: sample.changed(type="fleetmeter.generation.v999")),
    Malformation(Reason.BAD_TIME, Fit.ELEMENT, lambda sample: sample.changed(time="2026-02-30T12:00:00Z")),
    Malformation(
        Reason.TOO_OLD,
        Fit.ELEMENT,
        lambda sample: sample.changed(time=format_time(sample.end_us - _FAR_DAYS * _DAYS_US)),
    ),
    Malformation(
        Reason.IN_FUTURE,
        Fit.ELEMENT,
        lambda sample: sample.changed(time=format_time(sample.end_us + _FAR_DAYS * _DAYS_US)),
    ),
    Malformation(Reason.TOO_LARGE, Fit.ALONE, _too_large),
    Malformation(Reason.BAD_UTF8, Fit.LINE, lambda sample: sample.value.replace(b'"model":"', b'"model":"\xff', 1)),
    Malformation(Reason.TOMBSTONE, Fit.ALONE, lambda _: None),
    Malformation(Reason.NOT_AN_OBJECT, Fit.ALONE, lambda _: b"[42]"),
    Malformation(Reason.DUPLICATE_KEY, Fit.ELEMENT, lambda sample: sample.value[:-1] + b',"id":"another"}'),
    Malformation(Reason.BAD_VALUE, Fit.ELEMENT, lambda sample: sample.with_data(model="m" * 129)),
    Malformation(Reason.NOT_ALLOWED, Fit.ELEMENT, lambda sample: sample.with_data(denoising_steps=0)),
    Malformation(Reason.TOO_DEEP, Fit.LINE, _too_deep),
    Malformation(Reason.BAD_ARROW, Fit.ALONE, lambda _: b"\xff\xff\xff\xff\x10\x00\x00\x00 and no schema"),
)
"""One for each reason. The sample must be an autoregressive generation (which can't have steps)."""
