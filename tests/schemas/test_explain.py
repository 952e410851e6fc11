"""The sentence of every reason names the field, and nothing that a producer sends can make it fail."""

import json
import sys
from typing import Any

import pytest
from contract_vectors import VECTORS
from contract_vectors.vector import Refusal, envelope, generation
from fleetmeter_schemas import Reason, explain
from hypothesis import given
from hypothesis import strategies as st


def _payload(**fields: Any) -> bytes:
    return generation(**fields).encode()


SITUATIONS = [
    (Reason.TOMBSTONE, "", b"", ["no value"]),
    (Reason.TOO_LARGE, "", b"{" * 1000, ["larger than the limit"]),
    (Reason.NOT_JSON, "", b'{"id": }', ["not valid JSON", "column"]),
    (Reason.BAD_UTF8, "", b'{"id": "\xff"}', ["not valid UTF-8"]),
    (Reason.TOO_DEEP, "", b"[" * 2000, ["deeper than 64"]),
    (Reason.BAD_ARROW, "", b"\xff\xff\xff\xff", ["Arrow"]),
    (Reason.NOT_AN_OBJECT, "", b"[1]", ["must be a JSON object, not an array"]),
    (Reason.DUPLICATE_KEY, "data.model", _payload(), ["data.model", "more than once"]),
    (Reason.MISSING_FIELD, "data.model", _payload(model=None), ["data.model", "required"]),
    (Reason.MISSING_FIELD, "subject", json.dumps(envelope(subject=...)).encode(), ["subject is missing"]),
    (Reason.WRONG_TYPE, "data.model", _payload(model=7), ["data.model", "is a number"]),
    (Reason.BAD_VALUE, "data.placement", _payload(placement="moon"), ["data.placement", "'moon'", "'device'"]),
    (Reason.UNKNOWN_TYPE, "type", generation().replace("generation.v1", "generation.v9").encode(), ["generation.v9"]),
    (Reason.BAD_TIME, "time", json.dumps(envelope(time="soon")).encode(), ["time", "'soon'"]),
    (Reason.FRACTION, "data.gpu_ms", _payload(gpu_ms=1.5), ["data.gpu_ms", "1.5"]),
    (Reason.NEGATIVE, "data.gpu_ms", _payload(gpu_ms=-1), ["data.gpu_ms", "-1"]),
    (Reason.OVERFLOW, "data.gpu_ms", _payload(gpu_ms=2**41), ["data.gpu_ms", str(2**41), str(2**40)]),
    (Reason.OVERFLOW, "data.gpu_ms", _payload(gpu_ms=10**400), ["data.gpu_ms", "cap"]),
    (Reason.PART_EXCEEDS_WHOLE, "data.reasoning_tokens", _payload(reasoning_tokens=1), ["data.reasoning_tokens"]),
    (Reason.NOT_ALLOWED, "data.blocks", _payload(generation_mode="autoregressive", blocks=0), ["'autoregressive'"]),
    (Reason.TOO_OLD, "time", _payload(), ["time", "2026-03-01T12:00:00Z", "horizon"]),
    (Reason.IN_FUTURE, "time", _payload(), ["time", "2026-03-01T12:00:00Z", "clock"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "field", "payload", "words"), SITUATIONS, ids=lambda value: getattr(value, "code", None)
)
def test_sentence(reason: Reason, field: str, payload: bytes, words: list[str]) -> None:
    sentence = explain(reason.number, field, payload)
    assert all(word in sentence for word in words), sentence


def test_what_is_too_large_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["fleetmeter_schemas.explain"], "orjson", None)  # what would read it
    assert explain(Reason.TOO_LARGE.number, "", b"[0]") == Reason.TOO_LARGE.sentence


def test_every_reason_has_a_situation() -> None:
    assert {reason for reason, *_ in SITUATIONS} == set(Reason)


NUMBERS = {reason.code: reason.number for reason in Reason}
REFUSED = [(vector, outcome) for vector in VECTORS for outcome in vector.outcomes if isinstance(outcome, Refusal)]


def test_the_sentence_names_the_field_of_every_vector() -> None:
    for vector, outcome in REFUSED:
        sentence = explain(NUMBERS[outcome.code], outcome.field, vector.record or b"")
        assert outcome.field in sentence, (vector.name, sentence)


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*envelope(), "data", "model", "labels"]), inner)
    ),
    max_leaves=10,
).map(lambda document: json.dumps(document).encode("utf-8", "replace"))
FIELDS = st.sampled_from(["", "time", "data.model", "data"])


@given(st.sampled_from(list(Reason)), FIELDS, st.binary(max_size=200) | DOCUMENTS)
def test_nothing_that_is_sent_makes_it_fail(reason: Reason, field: str, payload: bytes) -> None:
    sentence = explain(reason.number, field, payload)
    assert field in sentence or reason is Reason.NOT_JSON, "only not_json has no field"
    assert reason.sentence in sentence


def test_an_unknown_number_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="99"):
        explain(99, "", b"")
