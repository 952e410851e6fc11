"""Times: RFC 3339, and the limits against the broker's append time."""

from contract_vectors.vector import APPEND_TIME, OK, Outcome, Vector, counted, event, of_type, one, refused

_BAD = refused("bad_time", "time")
_TOO_OLD = refused("too_old", "time")
_IN_FUTURE = refused("in_future", "time")
_MINUTE = 1_772_366_400


def _at(time: str, outcome: Outcome) -> Vector:
    return one(f"time {time!r}"[:60], event(time=time), outcome)


def _adjusted(time: object, outcome: Outcome) -> Vector:
    text = of_type("adjustment", meter="m", quantity=1, reason="r", effective_time=time)
    return one(f"effective_time {time!r}", text, outcome)


VECTORS = [
    _at(APPEND_TIME, counted(minute=_MINUTE)),
    _at("2026-03-01t12:00:00z", counted(minute=_MINUTE)),
    _at("2026-03-01T12:00:59.999999Z", counted(minute=_MINUTE)),
    _at("2026-03-01T11:59:59.999999Z", counted(minute=_MINUTE - 60)),
    _at("2026-03-01T12:00:00.1Z", counted(minute=_MINUTE)),
    _at("2026-03-01T11:59:59.9999999Z", counted(minute=_MINUTE - 60)),
    _at("2026-03-01T12:00:00.123456789Z", counted(minute=_MINUTE)),
    _at("2026-03-01T13:30:00+01:30", counted(minute=_MINUTE)),
    _at("2026-03-01T00:00:00-12:00", counted(minute=_MINUTE)),
    _at("2026-03-02T11:59:00+23:59", counted(minute=_MINUTE)),
    _at("2026-02-28T12:01:00-23:59", counted(minute=_MINUTE)),
    _at("2026-03-01T12:00:00-00:00", counted(minute=_MINUTE)),
    _at("2026-03-01T12:00:00+00:00", counted(minute=_MINUTE)),
    _at("2026-03-01T12:05:00Z", counted(minute=_MINUTE + 300)),
    _at("2026-03-01T12:05:00.000000999Z", counted(minute=_MINUTE + 300)),
    _at("2026-03-01T12:05:00.000001Z", _IN_FUTURE),
    _at("2026-01-25T12:00:00Z", counted(minute=_MINUTE - 35 * 86_400)),
    _at("2026-01-25T11:59:59.999999Z", _TOO_OLD),
    _at("2026-01-25T11:59:59.9999999Z", _TOO_OLD),
    _at("9999-12-31T23:59:59.999999Z", _IN_FUTURE),
    _at("9999-12-31T23:59:59-23:59", _IN_FUTURE),
    _at("1970-01-01T00:00:00Z", _TOO_OLD),
    _at("1969-12-31T23:59:59Z", _TOO_OLD),
    _at("0001-01-01T00:00:00Z", _TOO_OLD),
    _at("0001-01-01T00:00:00+23:59", _TOO_OLD),
    _at("2024-02-29T00:00:00Z", _TOO_OLD),
    _at("2000-02-29T00:00:00Z", _TOO_OLD),
    _at("1900-02-29T00:00:00Z", _BAD),
    _at("2100-02-29T00:00:00Z", _BAD),
    _at("2025-02-29T00:00:00Z", _BAD),
    _at("2026-04-31T00:00:00Z", _BAD),
    _at("2026-02-30T00:00:00Z", _BAD),
    _at("0000-01-01T00:00:00Z", _BAD),
    _at("2026-00-01T00:00:00Z", _BAD),
    _at("2026-13-01T00:00:00Z", _BAD),
    _at("2026-03-00T00:00:00Z", _BAD),
    _at("2026-03-32T00:00:00Z", _BAD),
    _at("2026-03-01T24:00:00Z", _BAD),
    _at("2026-03-01T12:60:00Z", _BAD),
    _at("2016-12-31T23:59:60Z", _BAD),
    _at("2026-03-01T12:00:61Z", _BAD),
    _at("2026-03-01T12:00:00+24:00", _BAD),
    _at("2026-03-01T12:00:00+01:60", _BAD),
    _at("2026-03-01T12:00:00+0100", _BAD),
    _at("2026-03-01T12:00:00+1:00", _BAD),
    _at("2026-03-01T12:00:00\u221201:00", _BAD),
    _at("2026-03-01T12:00:00", _BAD),
    _at("2026-03-01 12:00:00Z", _BAD),
    _at("2026-03-01_12:00:00Z", _BAD),
    _at("2026-03-01T12:00Z", _BAD),
    _at("2026-03-01", _BAD),
    _at("20260301T120000Z", _BAD),
    _at("2026-W09-7T12:00:00Z", _BAD),
    _at("2026-03-01T12:00:00.Z", _BAD),
    _at("2026-03-01T12:00:00.1234567890Z", _BAD),
    _at("2026-03-01T12:00:00,5Z", _BAD),
    _at("2026-03-01T12:00:00Z ", _BAD),
    _at(" 2026-03-01T12:00:00Z", _BAD),
    _at("2026-03-01T12:00:00Z\n", _BAD),
    _at("2026-03-01T12:00:00ZZ", _BAD),
    _at("2026-03-01T12:00:00 Z", _BAD),
    _at("\uff12\uff10\uff12\uff16-03-01T12:00:00Z", _BAD),
    _at("+2026-03-01T12:00:00Z", _BAD),
    _at("-2026-03-01T12:00:00Z", _BAD),
    _at("12026-03-01T12:00:00Z", _BAD),
    _at("1772366400", _BAD),
    _at("now", _BAD),
    _at("", _BAD),
    one(
        "bad field before too old",
        event("e-1", {}, time="2020-01-01T00:00:00Z"),
        refused("missing_field", "data.model"),
    ),
    one(
        "broken rule before too old",
        event("e-1", {"model": "m", "generation_mode": "autoregressive", "blocks": 1}, time="2020-01-01T00:00:00Z"),
        refused("not_allowed", "data.blocks"),
    ),
    _adjusted("2026-02-01T00:00:00Z", OK),
    _adjusted("2026-02-01T00:00:00.123456789-08:00", OK),
    _adjusted(None, OK),
    _adjusted("", OK),
    _adjusted("yesterday", refused("bad_time", "data.effective_time")),
    _adjusted("2026-02-30T00:00:00Z", refused("bad_time", "data.effective_time")),
    _adjusted(1_772_366_400, refused("wrong_type", "data.effective_time")),
    _adjusted({}, refused("wrong_type", "data.effective_time")),
]
