"""Core and reference agree on texts that are nearly events; hypothesis finds the shortest that differs."""

from __future__ import annotations

import pytest
from contract_vectors.vector import APPEND_TIME_US, event, generation, with_data_text, with_text
from fleetmeter_reference.aggregator import Reference
from hypothesis import given, settings
from hypothesis import strategies as st
from native_aggregator import NativeAggregator

# The letters of JSON, and what is nearly one.
PIECES = (
    *"[]{}:,\"\\'0123456789+-.eE tfnu\t\r\n\x00\x0c\x7féß🦙\u2028\ufeff",
    *(
        "true",
        "false",
        "null",
        "NaN",
        "\\u",
        "\\ud83e",
        "\\udd99",
        '"a"',
        '"id"',
        '"data"',
        '"x":',
        "\n{",
        "1e5",
        "-0",
        "/*",
    ),
)
SCRAPS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
KEYS = st.sampled_from(["x", "id", "i\\u0064", "time", "data", "type", "datacontenttype", "tracestate"])
FIELDS = st.sampled_from(
    ["input_tokens", "input\\u005ftokens", "provider", "placement", "labels", "blocks", "user", "x", "model"]
)
VALUES = SCRAPS | st.sampled_from(["1", "-1", "0", "1.5", "null", '""', '"x"', "true", "[]", "{}", '{"team": "a"}'])
TEXTS = st.one_of(
    SCRAPS,
    st.builds(lambda scraps: scraps + generation(), SCRAPS),
    st.builds(lambda scraps: generation() + scraps, SCRAPS),
    st.builds(lambda scraps: f"[{generation()}{scraps}]", SCRAPS),
    st.builds(lambda scraps: f"{generation()}\n{scraps}\n{generation('b')}", SCRAPS),
    st.builds(lambda key, value: with_text(f'"{key}": {value}'), KEYS, VALUES),
    st.builds(lambda key, value: with_data_text(f'"{key}": {value}'), FIELDS, VALUES),
    st.builds(lambda a, b, c, d: with_data_text(f'"{a}": {b}, "{c}": {d}'), FIELDS, VALUES, FIELDS, VALUES),
    st.builds(lambda text: event("e", text), VALUES),
    st.builds(lambda time: event("e", time=time), st.from_regex(r"[0-9+:TZtz. -]{0,30}", fullmatch=True)),
)


def answers(record: bytes) -> list[object]:
    """What the reference and the core say."""
    both: list[object] = []
    for aggregator in (Reference(), NativeAggregator()):
        answer = aggregator.ingest([record], 0, APPEND_TIME_US)
        refused = [(it.event, it.code, it.field, it.payload) for it in answer.rejections]
        both.append((answer.counters, refused, set(aggregator.flush().usage)))
    return both


@settings(max_examples=600, deadline=None)
@given(TEXTS)
def test_texts(text: str) -> None:
    reference, native = answers(text.encode())
    assert native == reference


@settings(max_examples=300, deadline=None)
@given(TEXTS.map(str.encode), st.integers(0, 400), st.binary(min_size=1, max_size=2))
def test_bytes(record: bytes, at: int, put: bytes) -> None:
    reference, native = answers(record[:at] + put + record[at + 1 :])
    assert native == reference


@pytest.mark.parametrize("cut", range(0, len(generation()), 7))
def test_every_cut(cut: int) -> None:
    reference, native = answers(generation()[:cut].encode())
    assert native == reference
