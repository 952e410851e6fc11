"""Both judges of ingest against the contract's own vectors: the codes and fields that quarantine has."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from contract_vectors import VECTORS
from contract_vectors.vector import APPEND_TIME_US, Refusal, Vector
from fleetmeter_doubles.ingest_server import judges
from fleetmeter_jobs.settings import Settings
from fleetmeter_producers.ingest.array import BLANKS
from fleetmeter_producers.ingest.judging import Judge
from fleetmeter_reference.aggregator import Limits
from fleetmeter_schemas.reasons import Reason

ARROW = b"\xff\xff\xff\xff"


def single_events() -> Iterator[Vector]:
    """The vectors of one event, which begins as an object does; arrays and lines are taken apart before a judge."""
    for vector in VECTORS:
        record = vector.record
        if record is None or len(vector.outcomes) != 1 or len(record) > vector.limits.record_limit_bytes:
            continue
        if record.lstrip(BLANKS).startswith(b"{") and b"\n{" not in record:
            yield vector


@pytest.mark.parametrize("which", [0, 1], ids=["native", "plain"])
def test_a_judge_refuses_what_the_contract_refuses(which: int) -> None:
    vectors = list(single_events())
    assert len(vectors) > 300
    wrong = []
    for vector in vectors:
        (outcome,) = vector.outcomes
        text = (vector.record or b"").strip(BLANKS).replace(b"\n", b"\r")
        found = judge_for(vector.limits, which).judge([text], APPEND_TIME_US)
        expected = [(outcome.code, outcome.field)] if isinstance(outcome, Refusal) else []
        if [(refusal.reason.code, refusal.field) for refusal in found] != expected:
            wrong.append((vector.name, expected, found))
    # Python's parser gives up before it can see that the brackets are never closed.
    assert [name for name, *_ in wrong] == [[], ["very deep and unclosed"]][which]


@cache
def judge_for(limits: Limits, which: int) -> Judge:
    settings = {
        "horizon_days": limits.horizon_us // 86_400_000_000,
        "future_limit_s": limits.future_us // 1_000_000,
        "event_limit_bytes": limits.event_limit_bytes,  # smaller than settings may be, in some
        "label_keys": limits.label_keys,
    }
    return judges(Settings.load().model_copy(update=settings))[which]()


@pytest.mark.parametrize("which", [0, 1], ids=["native", "plain"])
def test_what_is_no_object_is_refused_one_by_one(which: int) -> None:
    texts = [b"[]", b"1", b"x", b'"', b"", ARROW, b"1,2", b"null", b"{}"]
    found = judges()[which]().judge(texts, APPEND_TIME_US)
    assert [(refusal.place, refusal.reason) for refusal in found] == [
        (0, Reason.NOT_AN_OBJECT),
        (1, Reason.NOT_AN_OBJECT),
        (2, Reason.NOT_JSON),
        (3, Reason.NOT_JSON),
        (4, Reason.NOT_JSON),
        (5, Reason.BAD_UTF8),
        (6, Reason.NOT_JSON),
        (7, Reason.NOT_AN_OBJECT),
        (8, Reason.MISSING_FIELD),
    ]
