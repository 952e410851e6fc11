"""Arrays taken apart: the guess gives what the parser gives, or nothing; and who pays is read as the judge reads it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from fleetmeter_doubles.ingest_events import make_event
from fleetmeter_doubles.ingest_server import judges
from fleetmeter_producers.ingest.array import elements_of, judged_elements
from fleetmeter_producers.ingest.framing import Format, events_of
from fleetmeter_producers.ingest.judging import Refusal
from fleetmeter_producers.ingest.problem import Problem
from fleetmeter_producers.ingest.sifting import parties_of
from hypothesis import given
from hypothesis import strategies as st

NOW_US = 1_772_366_400_000_000
NATIVE = judges()[0]()
TEXTS = st.text('"\\{},[]: \n\té\u2028', max_size=6)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.builds(lambda number, more: make_event(number, x=more), st.integers(0, 99), VALUES)


@given(
    st.lists(EVENTS | VALUES, max_size=4),
    st.sampled_from([None, 1]),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", ":")]),
    st.text('[]{}," \nx', max_size=2),
)
def test_the_guess_is_right_or_none(
    values: list[Any], indent: int | None, separators: tuple[str, str], tail: str
) -> None:
    body = (json.dumps(values, indent=indent, separators=separators, ensure_ascii=False) + tail).encode()
    guessed = judged_elements(body, NATIVE, NOW_US)
    try:
        exact = elements_of(body)
    except Problem:
        assert guessed is None
        return
    assert [json.loads(element) for element in exact] == json.loads(body)
    assert guessed is None or guessed == (exact, NATIVE.judge(exact, NOW_US))


def test_events_as_they_are_usually_sent_are_guessed() -> None:
    events = [make_event(number, x={"y": [1, 2]}) for number in range(50)]
    for indent in (None, 2):
        guessed = judged_elements(json.dumps(events, indent=indent).encode(), NATIVE, NOW_US)
        assert guessed is not None
        assert [json.loads(text) for text in guessed[0]] == events


@pytest.mark.parametrize("element", [b"{}", b"1", b'{"a": [1, {}]}'])
def test_of_more_elements_than_are_taken_no_more_are_looked_at(element: bytes) -> None:
    """A compressed kilobyte may hold millions of them, each of which takes microseconds."""
    judged: list[int] = []

    class Counting:
        def judge(self, events: Sequence[bytes], now_us: int) -> list[Refusal]:
            judged.append(len(events))
            return NATIVE.judge(events, now_us)

    body = b"[" + b",".join([element] * 5) + b", and what is no JSON]"
    assert judged_elements(body, Counting(), NOW_US, 4) is None
    assert judged == []
    with pytest.raises(Problem, match="more than 4 events") as refused:
        elements_of(body, 4)
    assert refused.value.status == 413
    whole = b"[" + b",".join([element] * 5) + b"]"
    assert len(elements_of(whole, 5)) == 5
    guessed = judged_elements(whole, Counting(), NOW_US, 5)
    assert guessed is None or len(guessed[0]) == 5


@given(st.lists(st.sampled_from([b"{}", b"x y", b"", b" ", b"\t{} \r", b"\r", b"\x0b"]), max_size=8), st.integers(1, 8))
def test_lines_are_those_that_are_not_blank(lines: list[bytes], most: int) -> None:
    told = [line.strip(b" \t\r") for line in lines if line.strip(b" \t\r")]
    if len(told) > most:
        with pytest.raises(Problem, match=f"more than {most} events"):
            events_of(b"\n".join(lines), Format.LINES, (), most)
    else:
        assert events_of(b"\n".join(lines), Format.LINES, (), most) == told


@pytest.mark.parametrize(
    "inner",
    [[{"a": 1}, {"b": 2}], "},{", '"},{"', [[{}, {}], {"deep": [{}, {}]}], "}, {\\"],
)
def test_gaps_inside_of_an_event_are_none(inner: object) -> None:
    body = json.dumps([make_event(1, x=inner), make_event(2)], separators=(",", ":")).encode()
    assert judged_elements(body, NATIVE, NOW_US) is None
    assert [json.loads(element)["id"] for element in elements_of(body)] == ["event-1", "event-2"]


@given(
    st.permutations(["specversion", "type", "id", "source", "subject", "time", "data", "x"]),
    st.fixed_dictionaries({"source": TEXTS, "subject": TEXTS, "id": TEXTS, "x": VALUES}),
    st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]),
    st.booleans(),
)
def test_who_pays_is_read_as_a_parser_reads_it(
    order: list[str], values: dict[str, Any], separators: tuple[str, str], ascii_only: bool
) -> None:
    event = {**make_event(), **values, "data": {"source": "data's", "subject": "data's"}}
    text = json.dumps({name: event[name] for name in order}, separators=separators, ensure_ascii=ascii_only)
    assert parties_of(text.encode()) == (event["source"], event["subject"])
