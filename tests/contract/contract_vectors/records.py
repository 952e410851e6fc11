"""Records of many events: arrays, lines, limits of size, and what is a duplicate."""

from fleetmeter_reference.aggregator import Limits

from contract_vectors.vector import DUPLICATE, OK, Vector, counted, event, generation, many, one, refused, with_text

_A, _B, _C = generation("a"), generation("b"), generation("c")
_ULID = "01JD8Z5W8Q3K6V9XKQ2N4T7RYB"
_PRETTY = _A.replace(", ", ",\n  ").replace("{", "{\n  ")
_PRETTY_B = _PRETTY.replace('"a"', '"b"')
_DEEP = with_text(f'"x": {"[" * 64}{"]" * 64}')
_LARGER = with_text('"x": 1')
_SIZE = len(_A)


def _array(*elements: str) -> str:
    return "[" + ", ".join(elements) + "]"


VECTORS = [
    Vector("array: empty", b"[]", ()),
    Vector("array: empty, with blanks", b" [ \n ] ", ()),
    many("array: one", _array(_A), OK),
    many("array: three", _array(_A, _B, _C), OK, OK, OK),
    many("array: pretty-printed", f"[\n  {_PRETTY},\n  {_PRETTY_B}\n]\n", OK, OK),
    many(
        "array: each element alone",
        _array(_A, "1", "null", '"x"', "[]", "{}", _B),
        OK,
        *[refused("not_an_object")] * 4,
        refused("missing_field", "specversion"),
        OK,
    ),
    many("array: an array of arrays", _array(_array(_A)), refused("not_an_object")),
    many("array: a resend", _array(_A, _A), OK, DUPLICATE),
    many("array: one element too deep", _array(_A, _DEEP, _B), OK, refused("too_deep"), OK),
    many("array: elements of blanks around", f"[ {_A} ,\r\n{_B}\t]", OK, OK),
    many(
        "array: commas and brackets in strings", _array(generation("a", model='],[{"'), _B), counted(model='],[{"'), OK
    ),
    one("array: unclosed", f"[{_A}", refused("not_json")),
    one("array: trailing comma", f"[{_A},]", refused("not_json")),
    one("array: two commas", f"[{_A},,{_B}]", refused("not_json")),
    one("array: text after", f"[{_A}] x", refused("not_json")),
    one("array: one element broken spoils all", f"[{_A}, {_B[:-1]}]", refused("not_json")),
    one("array: a lone surrogate spoils all", _array(_A, with_text(r'"x": "\ud800"')), refused("not_json")),
    one(
        "array: bad UTF-8 spoils all",
        _array(_A, with_text('"x": "?"')).encode().replace(b"?", b"\xff"),
        refused("bad_utf8"),
    ),
    one("array: only a bracket", "[", refused("not_json")),
    one("array: very deep and unclosed", "[" * 100_000, refused("not_json")),
    one("array: deep element", "[" * 66 + "]" * 66, refused("too_deep")),
    one("array: 64 deep element", "[" * 65 + "]" * 65, refused("not_an_object")),
    many("lines: two", f"{_A}\n{_B}", OK, OK),
    many("lines: ended by a line feed", f"{_A}\n{_B}\n", OK, OK),
    many("lines: CRLF", f"{_A}\r\n{_B}\r\n", OK, OK),
    many("lines: blank ones are not counted", f"\n \t\n{_A}\n\r\n\n{_B}\n\n", OK, OK),
    many("lines: a broken one", f"{_A}\n{_B[:-1]}\n{_C}", OK, refused("not_json"), OK),
    many("lines: not objects", f"{_A}\n[]\n1\n{_B}", OK, refused("not_an_object"), refused("not_an_object"), OK),
    many("lines: words", f"{_A}\nusage\n{_B}", OK, refused("not_json"), OK),
    many("lines: first one broken", f"{_A[:-1]}\n{_B}", refused("not_json"), OK),
    many("lines: bad UTF-8 in one", f"{_A}\n?\n{_B}".encode().replace(b"?", b"{\xff}"), OK, refused("bad_utf8"), OK),
    many("lines: bad UTF-8 in the first", b'{"x": "\xff"}\n' + _B.encode(), refused("bad_utf8"), OK),
    many("lines: two events on one line", f"{_A} {_A}\n{_B}", refused("not_json"), OK),
    many("lines: a byte order mark in the middle", f"{_A}\n\ufeff{_B}\n{_C}", OK, refused("not_json"), OK),
    many("lines: one too deep", f"{_A}\n{_DEEP}\n{_B}", OK, refused("too_deep"), OK),
    many("lines: a resend", f"{_A}\n{_A}\n{_A}", OK, DUPLICATE, DUPLICATE),
    many("lines: carriage return alone parts nothing", f"{_A}\r{_B}\n{_C}", refused("not_json"), OK),
    many("lines: U+2028 parts nothing", f"{_A}\u2028{_B}\n{_C}", refused("not_json"), OK),
    one("lines: none after the first starts with a brace", f"{_A}\n[1]\n1", refused("not_json")),
    one("lines: a second one that is indented", f"{_A}\n {_B}", refused("not_json")),
    one("a pretty-printed event that is cut off", _PRETTY[:-3], refused("not_json")),
    one("one event over many lines, braces at their starts", _A.replace('"data": {', '"data":\n{'), OK),
    one("sequenced id", event(f"{_ULID}-7"), OK),
    many("sequenced: resend", _array(event(f"{_ULID}-7"), event(f"{_ULID}-8"), event(f"{_ULID}-7")), OK, OK, DUPLICATE),
    many(
        "sequenced: 0 and 18 digits",
        _array(event(f"{_ULID}-0"), event(f"{_ULID}-{10**18 - 1}"), event(f"{_ULID}-0")),
        OK,
        OK,
        DUPLICATE,
    ),
    many(
        "sequenced: leading zeros are another id",
        _array(event(f"{_ULID}-7"), event(f"{_ULID}-07"), event(f"{_ULID}-007")),
        OK,
        OK,
        OK,
    ),
    many("sequenced: lower case is another id", _array(event(f"{_ULID}-7"), event(f"{_ULID.lower()}-7")), OK, OK),
    many("sequenced: 19 digits", _array(event(f"{_ULID}-{10**18}"), event(f"{_ULID}-{10**18}")), OK, DUPLICATE),
    many("sequenced: of two sources", _array(event(f"{_ULID}-7"), event(f"{_ULID}-7", source="/other")), OK, OK),
    many(
        "sequenced: out of order",
        _array(*(event(f"{_ULID}-{n}") for n in (5, 3, 4, 6, 4, 3))),
        OK,
        OK,
        OK,
        OK,
        DUPLICATE,
        DUPLICATE,
    ),
    many("foreign: one id of two sources", _array(event("7"), event("7", source="/other")), OK, OK),
    many("foreign: source and id are not joined", _array(event("bc", source="a"), event("c", source="ab")), OK, OK),
    many("foreign: case matters", _array(event("abc"), event("ABC")), OK, OK),
    many("foreign: no normalisation", _array(event("\u00e9"), event("e\u0301")), OK, OK),
    many("foreign: escapes are the same id", _array(event("é"), event("?").replace("?", "é")), OK, DUPLICATE),
    many(
        "same id, other content",
        _array(generation("a", gpu_ms=1), generation("a", gpu_ms=2)),
        counted(gpu_ms=1),
        DUPLICATE,
    ),
    many("same id, other account", _array(event("a"), event("a", subject="other")), OK, DUPLICATE),
    many(
        "same id, other type",
        _array(generation("a"), event("a", {"model": "m", "fallback_reason": "error"}, type="fleetmeter.fallback.v1")),
        OK,
        DUPLICATE,
    ),
    many(
        "a refused event is not remembered",
        _array(generation("a", gpu_ms=-1), generation("a", gpu_ms=1)),
        refused("negative", "data.gpu_ms"),
        counted(gpu_ms=1),
    ),
    many(
        "a resend that is too old is refused",
        _array(event("a"), event("a", time="2020-01-01T00:00:00Z")),
        OK,
        refused("too_old", "time"),
    ),
    one("record at its limit", _A, OK, Limits(record_limit_bytes=_SIZE)),
    one("record above its limit", _A, refused("too_large"), Limits(record_limit_bytes=_SIZE - 1)),
    one("garbage above the limit", "x" * 11, refused("too_large"), Limits(record_limit_bytes=10)),
    one("event at its limit", _A, OK, Limits(event_limit_bytes=_SIZE)),
    one("event above its limit", _A, refused("too_large"), Limits(event_limit_bytes=_SIZE - 1)),
    one("blanks around do not count", f" {_A}\n", OK, Limits(event_limit_bytes=_SIZE)),
    many(
        "array: one element above the limit",
        _array(_A, _LARGER, _B),
        OK,
        refused("too_large"),
        OK,
        limits=Limits(event_limit_bytes=_SIZE),
    ),
    many(
        "lines: one above the limit",
        f"{_A}\r\n{_LARGER}\r\n{_B}",
        OK,
        refused("too_large"),
        OK,
        limits=Limits(event_limit_bytes=_SIZE),
    ),
]
