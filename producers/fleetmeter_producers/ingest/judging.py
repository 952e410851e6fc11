"""Whether events are valid, by the rules and with the reason codes of the workers.

`Judge` is what ingest asks; the command gives it the native core, which the workers use too. `PlainJudge` needs nothing
but the schemas, and is some fifty times slower.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, NoReturn, Protocol

from fleetmeter_schemas.envelope import KNOWN_ATTRIBUTES, EventRejected, parse_event
from fleetmeter_schemas.events import EVENT_TYPES
from fleetmeter_schemas.explain import explain
from fleetmeter_schemas.fields import field_table
from fleetmeter_schemas.reasons import Reason

_DEEPEST: Final = 64
_BRACKET: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


class Refusal(NamedTuple):
    """An event that is not valid: its place among those that were judged, why, and the field at fault (or empty)."""

    place: int
    reason: Reason
    field: str


class Judge(Protocol):
    """Says which events a worker would reject. One thread at a time may ask it."""

    def judge(self, events: Sequence[bytes], now_us: int) -> list[Refusal]:
        """The refusals of `events`, JSON texts without line feeds, ascending by place. `now_us` stands for the
        broker's clock, by which workers judge: microseconds since the epoch."""


NewJudge = Callable[[], Judge]


def sentence_of(refusal: Refusal, text: bytes) -> str:
    """The words that quarantine has for it."""
    return explain(refusal.reason.number, refusal.field, text)


class PlainJudge:
    """Judges with pydantic. Times are in microseconds, as in the native core.

    One answer differs: what is nested deeper than Python's parser can go is `too_deep`, even where it is broken.
    """

    def __init__(self, *, horizon_us: int, future_us: int, event_limit_bytes: int) -> None:
        self._horizon_us = horizon_us
        self._future_us = future_us
        self._event_limit_bytes = event_limit_bytes

    def judge(self, events: Sequence[bytes], now_us: int) -> list[Refusal]:
        """As `Judge.judge`."""
        refusals = []
        for place, text in enumerate(events):
            try:
                self._check(text, now_us)
            except EventRejected as rejected:
                refusals.append(Refusal(place, rejected.reason, rejected.field))
        return refusals

    def _check(self, text: bytes, now_us: int) -> None:
        if len(text) > self._event_limit_bytes:
            raise EventRejected(Reason.TOO_LARGE, "", "too large")
        try:
            decoded = text.decode()
        except UnicodeDecodeError as error:
            raise EventRejected(Reason.BAD_UTF8, "", str(error)) from error
        obj = _loads(decoded)
        _check_attributes(obj)
        try:
            time_us = parse_event(obj).time_us
        except EventRejected as rejected:
            if rejected.field.startswith("data."):
                _check_data(obj)
            raise
        _check_data(obj)
        _check_labels(obj["data"])
        if time_us < now_us - self._horizon_us:
            raise EventRejected(Reason.TOO_OLD, "time", "too old")
        if time_us > now_us + self._future_us:
            raise EventRejected(Reason.IN_FUTURE, "time", "in the future")


class _Object(dict[str, Any]):
    """A JSON object that remembers which of its keys stood there more than once."""

    repeated: frozenset[str] = frozenset()


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        made.repeated = frozenset(key for key in made if keys.count(key) > 1)
    return made


def _refuse_constant(name: str) -> NoReturn:
    raise EventRejected(Reason.NOT_JSON, "", f"{name} is not JSON")


def _integer(digits: str) -> int:
    # Python refuses to read thousands of digits. A number that is over every cap stands for them.
    return int(digits) if len(digits) < 100 else int(digits[:100])


def _loads(text: str) -> Any:
    """The value of a JSON text, by RFC 8259. Raises `EventRejected`."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_int=_integer)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except (json.JSONDecodeError, UnicodeEncodeError) as error:
        raise EventRejected(Reason.NOT_JSON, "", str(error)) from error
    except RecursionError as error:
        raise EventRejected(Reason.TOO_DEEP, "", "too deep") from error
    if _depth(text) > _DEEPEST:
        raise EventRejected(Reason.TOO_DEEP, "", "too deep")
    return value


def _depth(text: str) -> int:
    if text.count("{") + text.count("[") <= _DEEPEST:
        return 0
    now = deepest = 0
    for part in _BRACKET.findall(text):
        now += {"[": 1, "{": 1, "]": -1, "}": -1}.get(part, 0)
        deepest = max(deepest, now)
    return deepest


def _check_attributes(obj: object) -> None:
    if isinstance(obj, _Object):
        _refuse_repeated(KNOWN_ATTRIBUTES, obj.repeated, "")


def _check_data(obj: Any) -> None:
    """Raises for repeated fields: in the contract's order they come after the envelope, and before what fields hold."""
    data = obj["data"]
    if isinstance(data, _Object) and data.repeated:
        names = (spec.name for spec in field_table(EVENT_TYPES[obj["type"]]))
        _refuse_repeated(names, data.repeated, "data.")


def _check_labels(data: Any) -> None:
    labels = data.get("labels")
    if isinstance(labels, _Object) and labels.repeated:
        raise EventRejected(Reason.DUPLICATE_KEY, "data.labels", "a label stands more than once")


def _refuse_repeated(known: Iterable[str], repeated: frozenset[str], prefix: str) -> None:
    for name in known:
        if name in repeated:
            raise EventRejected(Reason.DUPLICATE_KEY, f"{prefix}{name}", "stands more than once")
