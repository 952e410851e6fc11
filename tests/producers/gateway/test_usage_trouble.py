"""Whatever a provider says, the event is one that the contract allows, and what was wrong is noted."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
from fleetmeter_doubles.provider_answers import ANSWERS
from fleetmeter_producers.gateway import CONVENTIONS, NOTES, NoteCode, Usage, UsageStream, read_usage
from fleetmeter_producers.gateway.notes import Note, NoteBook
from fleetmeter_producers.metrics import register_notes
from fleetmeter_schemas import GenerationV1
from fleetmeter_schemas.rules import PartsWithin
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def event_of(usage: Usage) -> GenerationV1:
    """The event, by the contract's own judgement: raises if there could be none."""
    return GenerationV1.model_validate({"model": "m", "generation_mode": "autoregressive", **usage.fields})


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


@given(data=st.data())
def test_an_answer_with_anything_in_any_place(data: st.DataObject) -> None:
    convention, answer, _ = ANSWERS[data.draw(st.sampled_from(sorted(ANSWERS)))]
    broken = copy.deepcopy(answer)
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(places(answer)))
        inner: Any = broken
        for key in way:
            inner = inner[key] if isinstance(inner, dict) and key in inner else None
        if isinstance(inner, dict):
            inner[last] = data.draw(JSON | st.integers(0, 10**6) | st.integers(-3, 3).map(float))
    event_of(read_usage(convention, broken))
    stream = UsageStream(convention)
    for chunk in (answer, broken, data.draw(JSON), answer):
        stream.add(chunk)
    event_of(stream.usage())


@given(convention=st.sampled_from(sorted(CONVENTIONS)), answer=JSON)
def test_any_json(convention: str, answer: Any) -> None:
    usage = read_usage(convention, answer)
    event_of(usage)
    assert usage.has_tokens or NoteCode.NO_USAGE in {note.code for note in usage.notes} or usage.notes == ()


@given(
    whole=st.integers(0, 1000),
    cached=st.integers(0, 1500),
    written=st.integers(0, 1500),
    audio=st.integers(0, 1500),
    reasoning=st.integers(0, 1500),
    total=st.none() | st.integers(0, 4000),
)
def test_parts_never_exceed_wholes(
    whole: int, cached: int, written: int, audio: int, reasoning: int, total: int | None
) -> None:
    block = {
        "prompt_tokens": whole,
        "completion_tokens": whole,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": audio},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": audio},
    }
    fields = read_usage("openai-chat", block).fields
    for rule in GenerationV1.RULES:
        if isinstance(rule, PartsWithin):
            assert sum(fields.get(part, 0) for part in rule.parts) <= fields.get(rule.whole, 0)
    # What is billed is never invented: it is what was said, or what the total proves.
    assert fields["input_tokens"] in (whole, whole + cached + written)
    assert fields["output_tokens"] in (whole, whole + reasoning)
    if fields["input_tokens"] + fields["output_tokens"] != 2 * whole:
        assert fields["input_tokens"] + fields["output_tokens"] == total


def test_parts_that_do_not_fit_are_left_out_from_the_last_one() -> None:
    usage = read_usage(
        "openai-chat",
        {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 90, "cache_write_tokens": 20},
            "completion_tokens_details": {"reasoning_tokens": 11},
        },
    )
    assert usage.fields["input_tokens"] == 100
    assert usage.fields["cache_read_input_tokens"] == 90
    assert not {"cache_creation_input_tokens_5m", "reasoning_tokens"} & set(usage.fields)
    assert [(note.code, note.field) for note in usage.notes] == [
        (NoteCode.PARTS_DO_NOT_FIT, "cache_creation_input_tokens_5m"),
        (NoteCode.PARTS_DO_NOT_FIT, "reasoning_tokens"),
    ]


@pytest.mark.parametrize("bad", [-1, 1.5, "12", True, 2**40 + 1, float("nan"), [], {}])
def test_a_number_that_is_none_is_left_out(bad: Any) -> None:
    usage = read_usage("openai-chat", {"prompt_tokens": bad, "completion_tokens": 7.0})
    assert "input_tokens" not in usage.fields
    assert usage.fields["output_tokens"] == 7
    (note,) = usage.notes
    assert (note.code, note.field) == (NoteCode.BAD_NUMBER, "usage.prompt_tokens")


def test_sums_above_the_cap_are_left_out() -> None:
    usage = read_usage("anthropic", {"input_tokens": 2**40, "cache_read_input_tokens": 1, "output_tokens": 1})
    assert "input_tokens" not in usage.fields
    assert usage.fields["output_tokens"] == 1


def test_a_total_that_nothing_explains_is_noted_and_changes_nothing() -> None:
    # Gemini's OpenAI-compatible endpoint counts thoughts in the total alone (discuss.ai.google.dev/t/98760).
    usage = read_usage("openai-chat", {"completion_tokens": 102, "prompt_tokens": 758, "total_tokens": 1725})
    assert (usage.fields["input_tokens"], usage.fields["output_tokens"]) == (758, 102)
    assert [note.code for note in usage.notes] == [NoteCode.TOTAL_DIFFERS]


def test_no_text_of_an_answer_gets_into_a_note() -> None:
    secret = "the patient's name"
    answer = {"usage": {"prompt_tokens": secret, "completion_tokens": [secret], "prompt_tokens_details": secret}}
    notes = read_usage("openai-chat", answer).notes
    assert len(notes) == 3
    assert secret not in repr(notes)


def test_texts_are_cut_to_what_the_contract_takes() -> None:
    usage = read_usage("openai-chat", {"model": "m\x00" + "x" * 300, "usage": {"prompt_tokens": 1}})
    assert usage.fields["model"] == "m" + "x" * 127
    assert [note.code for note in usage.notes] == [NoteCode.BAD_TEXT]


def test_notes_are_counted_for_metrics_and_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    book = NoteBook()
    with caplog.at_level(logging.WARNING):
        for _ in range(25):
            book.add("vllm", [Note(NoteCode.BAD_NUMBER, "usage.prompt_tokens", "is a text")])
    assert book.counts() == {("vllm", "bad_number"): 25}
    assert [record.args[-1] for record in caplog.records if isinstance(record.args, tuple)] == [1, 10]


def test_notes_of_answers_are_counted() -> None:
    before = NOTES.counts().get(("bedrock-converse", "no_usage"), 0)
    read_usage("bedrock-converse", {})
    assert NOTES.counts()["bedrock-converse", "no_usage"] == before + 1


def test_notes_can_be_scraped() -> None:
    registry = CollectorRegistry()
    register_notes(registry)
    labels = {"convention": "ollama", "code": "no_usage"}
    before = registry.get_sample_value("fleetmeter_gateway_notes_total", labels) or 0
    read_usage("ollama", {})
    assert registry.get_sample_value("fleetmeter_gateway_notes_total", labels) == before + 1


def test_an_unknown_convention_is_named_with_those_that_there_are() -> None:
    with pytest.raises(KeyError, match=r"'gpt'.*openai-chat, openai-responses, anthropic"):
        read_usage("gpt", {})


@pytest.mark.parametrize(("failure", "told"), [(None, 0), ({"error_str": "This model isn't mapped yet."}, None)])
def test_a_model_whose_price_litellm_does_not_know_is_not_free(failure: Any, told: int | None) -> None:
    payload = {"prompt_tokens": 2, "response_cost": 0.0, "response_cost_failure_debug_info": failure}
    assert read_usage("litellm", payload).fields.get("upstream_cost_nanousd") == told
