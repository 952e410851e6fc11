"""The envelope: CloudEvents attributes, their order of judgement, and keys that repeat."""

import json

from contract_vectors.vector import (
    GENERATION,
    OK,
    counted,
    envelope,
    event,
    generation,
    one,
    refused,
    with_text,
)

_NAMES = ("specversion", "type", "id", "source", "subject", "time")
_BASE = generation()


def _without(*names: str) -> str:
    return event(**dict.fromkeys(names, ...))


VECTORS = [
    *(one(f"{name} missing", _without(name), refused("missing_field", name)) for name in _NAMES),
    *(one(f"{name} null", event(**{name: None}), refused("missing_field", name)) for name in _NAMES),
    *(one(f"{name} a number", event(**{name: 1}), refused("wrong_type", name)) for name in _NAMES),
    one("id an object", event(id={}), refused("wrong_type", "id")),
    one("subject false", event(subject=False), refused("wrong_type", "subject")),
    one("time an array", event(time=["2026-03-01T12:00:00Z"]), refused("wrong_type", "time")),
    one("all missing: the first counts", _without(*_NAMES), refused("missing_field", "specversion")),
    one("type before id", _without("type", "id"), refused("missing_field", "type")),
    one("subject before time", event(subject="", time="now"), refused("bad_value", "subject")),
    one(
        "the order of the text does not matter",
        '{"time": 1, "id": 2, "specversion": 3}',
        refused("wrong_type", "specversion"),
    ),
    one("specversion 0.3", event(specversion="0.3"), refused("bad_value", "specversion")),
    one("specversion 1", event(specversion="1"), refused("bad_value", "specversion")),
    one("specversion empty", event(specversion=""), refused("bad_value", "specversion")),
    one("type empty", event(type=""), refused("unknown_type", "type")),
    one("type of a later version", event(type="fleetmeter.generation.v2"), refused("unknown_type", "type")),
    one("type in upper case", event(type=GENERATION.upper()), refused("unknown_type", "type")),
    one("unknown type before bad id", event("", type="other"), refused("unknown_type", "type")),
    one("id empty", event(""), refused("bad_value", "id")),
    one("source empty", event(source=""), refused("bad_value", "source")),
    one("subject empty", event(subject=""), refused("bad_value", "subject")),
    one("id of 128", event("i" * 128), OK),
    one("id of 129", event("i" * 129), refused("bad_value", "id")),
    one("source of 256", event(source="s" * 256), OK),
    one("source of 257", event(source="s" * 257), refused("bad_value", "source")),
    one("subject of 128 emoji, 512 bytes", event(subject="😀" * 128), counted(account_id="😀" * 128)),
    one("subject of 129 emoji", event(subject="😀" * 129), refused("bad_value", "subject")),
    one("id with an escaped line feed", event("a\nb"), refused("bad_value", "id")),
    one("id with NUL", event("a\x00b"), refused("bad_value", "id")),
    one("source with U+001F", event(source="a\x1fb"), refused("bad_value", "source")),
    one("subject with DEL", event(subject="a\x7fb"), refused("bad_value", "subject")),
    one("subject with U+0085 is allowed", event(subject="a\x85b"), OK),
    one("subject of one blank is allowed", event(subject=" "), counted(account_id=" ")),
    one("escaped attribute name", generation().replace('"subject"', r'"\u0073ubject"'), counted(account_id="acme")),
    one("escaped value", generation().replace('"acme"', r'"\u0061cme"'), counted(account_id="acme")),
    one("data missing", json.dumps(envelope()), refused("missing_field", "data")),
    one("data null", event("e-1", None), refused("missing_field", "data")),
    one("data a string", event("e-1", "{}"), refused("wrong_type", "data")),
    one("data an array", event("e-1", []), refused("wrong_type", "data")),
    one("data a number", event("e-1", 1), refused("wrong_type", "data")),
    one("data false", event("e-1", False), refused("wrong_type", "data")),
    one("data empty", event("e-1", {}), refused("missing_field", "data.model")),
    one("bad time before missing data", json.dumps(envelope(time="soon")), refused("bad_time", "time")),
    one(
        "known attributes of CloudEvents",
        with_text(
            '"datacontenttype": "application/json", "dataschema": "urn:x", "traceparent": "00", '
            '"tracestate": "a=b", "partitionkey": "k"'
        ),
        OK,
    ),
    one("known attributes are not judged", with_text('"datacontenttype": [1], "traceparent": null'), OK),
    one("unknown attributes are counted", with_text('"x": 1, "y": {"z": []}, "": null'), counted(3)),
    one("unknown attributes may repeat", with_text('"x": 1, "x": 2'), counted(2)),
    one("names are case-sensitive", with_text('"Subject": "b"'), counted(1, account_id="acme")),
    *(
        one(f"{name} twice", with_text(f'"{name}": {json.dumps(envelope()[name])}'), refused("duplicate_key", name))
        for name in _NAMES
    ),
    one("data twice", with_text('"data": {}'), refused("duplicate_key", "data")),
    one(
        "datacontenttype twice",
        with_text('"datacontenttype": 1, "datacontenttype": 1'),
        refused("duplicate_key", "datacontenttype"),
    ),
    one("twice, once escaped", with_text(r'"\u0069d": "e-1"'), refused("duplicate_key", "id")),
    one(
        "twice, both escaped",
        generation().replace('"id"', r'"i\u0064"')[:-1] + r', "\u0069d": "e-1"}',
        refused("duplicate_key", "id"),
    ),
    one("twice, first null", f'{{"id": null, {_BASE[1:]}', refused("duplicate_key", "id")),
    one("repeated key before wrong type", f'{{"specversion": 7, {_BASE[1:]}', refused("duplicate_key", "specversion")),
    one(
        "repeated attribute before repeated field",
        with_text('"time": 1, "data": 2')[:-1] + "}",
        refused("duplicate_key", "time"),
    ),
]
