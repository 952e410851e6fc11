"""Labels: their shape, their limits, and their one canonical spelling."""

import json
from typing import Any

from fleetmeter_reference.aggregator import Limits

from contract_vectors.vector import Outcome, Vector, counted, generation, many, one, refused, with_data_text

_WRONG_TYPE = refused("wrong_type", "data.labels")
_BAD_VALUE = refused("bad_value", "data.labels")
_DUPLICATE = refused("duplicate_key", "data.labels")
_NINE = {f"k{i}": "v" for i in range(9)}


def _labels(name: str, value: Any, outcome: Outcome) -> Vector:
    return one(f"labels: {name}", generation(labels=value), outcome)


def _text(name: str, text: str, outcome: Outcome) -> Vector:
    return one(f"labels: {name}", with_data_text(f'"labels": {text}'), outcome)


VECTORS = [
    _labels("one", {"team": "a"}, counted(labels='{"team":"a"}')),
    _labels("sorted", {"team": "a", "app": "b"}, counted(labels='{"app":"b","team":"a"}')),
    _labels("none", {}, counted(labels="")),
    _labels("null", None, counted(labels="")),
    _labels("a key that is not allowed", {"team": "a", "zone": "z"}, counted(1, labels='{"team":"a"}')),
    _labels("no key that is allowed", {"zone": "z", "rack": "r"}, counted(2, labels="")),
    _labels("allowed keys are case-sensitive", {"Team": "a"}, counted(1, labels="")),
    _labels("quote and backslash", {"team": 'a"\\b'}, counted(labels='{"team":"a\\"\\\\b"}')),
    _labels("a slash is not escaped", {"team": "a/b"}, counted(labels='{"team":"a/b"}')),
    _labels("text beyond ASCII is not escaped", {"team": "Köln 🦙"}, counted(labels='{"team":"Köln 🦙"}')),
    _labels("U+2028 is not escaped", {"team": "\u2028"}, counted(labels='{"team":"\u2028"}')),
    _text("escapes are undone", r'{"\u0074eam": "\u0061\/"}', counted(labels='{"team":"a/"}')),
    _labels("a string", "team=a", _WRONG_TYPE),
    _labels("an empty string", "", _WRONG_TYPE),
    _labels("an array", ["team"], _WRONG_TYPE),
    _labels("an array of pairs", [["team", "a"]], _WRONG_TYPE),
    _labels("a number", 1, _WRONG_TYPE),
    _labels("true", True, _WRONG_TYPE),
    _labels("a number inside", {"team": 1}, _WRONG_TYPE),
    _labels("null inside", {"team": None}, _WRONG_TYPE),
    _labels("an object inside", {"team": {}}, _WRONG_TYPE),
    _labels("an array inside", {"team": ["a"]}, _WRONG_TYPE),
    _labels("a number under a key that is not allowed", {"zone": 1}, _WRONG_TYPE),
    _labels("eight", {f"k{i}": "v" for i in range(8)}, counted(8, labels="")),
    _labels("nine", _NINE, _BAD_VALUE),
    _labels("an empty key", {"": "v"}, _BAD_VALUE),
    _labels("an empty value", {"team": ""}, _BAD_VALUE),
    _labels("key of 64", {"k" * 64: "v"}, counted(1, labels="")),
    _labels("key of 65", {"k" * 65: "v"}, _BAD_VALUE),
    _labels("key of 64 emoji", {"🦙" * 64: "v"}, counted(1, labels="")),
    _labels(
        "value of 128", {"team": "v" * 128}, counted(labels=json.dumps({"team": "v" * 128}, separators=(",", ":")))
    ),
    _labels("value of 129", {"team": "v" * 129}, _BAD_VALUE),
    _labels("value of 129 under a key that is not allowed", {"zone": "v" * 129}, _BAD_VALUE),
    _labels("control character in a value", {"team": "a\nb"}, _BAD_VALUE),
    _labels("DEL in a value", {"team": "\x7f"}, _BAD_VALUE),
    _labels("control character in a key", {"te\tam": "a"}, _BAD_VALUE),
    _text("a key twice", '{"team": "a", "team": "a"}', _DUPLICATE),
    _text("a key twice, once escaped", r'{"team": "a", "te\u0061m": "b"}', _DUPLICATE),
    _text("an unknown key twice", '{"zone": "a", "zone": "b"}', _DUPLICATE),
    _text("labels twice", '{}, "labels": {}', refused("duplicate_key", "data.labels")),
    one("labels are judged in their place", generation(labels=1, input_tokens=-1), _WRONG_TYPE),
    one("labels after provider", generation(labels=1, provider=1), refused("wrong_type", "data.provider")),
    many(
        "one label set too many in an account's hour",
        "["
        + ",".join(
            [
                generation("1", labels={"team": "a"}),
                generation("2", labels={"team": "b"}),
                generation("3", labels={"team": "c"}),
                generation("4", labels={"team": "a"}),
                generation("5"),
            ]
        )
        + "]",
        counted(),
        counted(),
        counted(labels="__other__"),
        counted(),
        counted(labels=""),
        limits=Limits(label_sets_per_account_hour=2),
    ),
]
