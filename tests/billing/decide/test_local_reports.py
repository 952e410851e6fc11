"""Voluntary reports held against what the device can do; bounds computed by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fleetmeter_billing.decide.local_reports import LocalReport, Told, judge, most_output_tokens, read_reports
from fleetmeter_doubles.counted_usage import CountedUsage
from fleetmeter_schemas.catalogue import Catalogue, ModelEntry

START = datetime(2026, 11, 1, tzinfo=UTC)
CATALOGUE = Catalogue(
    version="test",
    models=(
        ModelEntry(
            name="two",
            maker="m",
            generation_mode="autoregressive",
            parameters=2 * 10**9,
            weight_bits={"int4": 4},
            sources=("s",),
        ),
        ModelEntry(
            name="sparse",
            maker="m",
            generation_mode="autoregressive",
            parameters=8 * 10**9,
            active_parameters=2 * 10**9,
            weight_bits={"int4": 4},
            sources=("s",),
        ),
        ModelEntry(
            name="parallel",
            maker="m",
            generation_mode="diffusion",
            parameters=10**9,
            weight_bits={"int4": 4},
            sources=("s",),
        ),
    ),
)
"""2 * 10^9 parameters of 4 bits are 10^9 bytes, which each token needs; of `sparse`, a quarter of 4 * 10^9."""


def report(**given: Any) -> LocalReport:
    values: dict[str, Any] = {
        "account": "acme",
        "source": "urn:d",
        "event_id": "e",
        "time": START + timedelta(days=2),
        "period_hash": "h",
        "start": START,
        "end": START + timedelta(hours=1),
        "model": "two",
        "quantization": "int4",
        "device_class": "phone",
        "active_ms": 10_000,
        "memory_bandwidth_mbps": 50_000,
    }
    return LocalReport(**{**values, **given})


def reasons(**given: Any) -> tuple[str, ...]:
    (verdict,) = judge([report(**given)], CATALOGUE)
    assert (verdict.state == "implausible") == bool(verdict.reasons)
    return verdict.reasons


@pytest.mark.parametrize(
    ("given", "most"),
    [
        # 50 * 10^9 bytes a second over 10^9 bytes a token are 50 tokens a second, for 10 s.
        ({}, 500),
        ({"model": "sparse"}, 500),
        # 1 ms is 0.05 tokens, of which the first may be one.
        ({"active_ms": 1}, 1),
        # Not said how long: the whole hour.
        ({"active_ms": None}, 180_000),
        ({"model": "parallel"}, None),
        ({"model": "unheard"}, None),
        ({"quantization": "fp8"}, None),
        ({"memory_bandwidth_mbps": None}, None),
        ({"active_ms": None, "start": None}, None),
    ],
)
def test_the_most_that_a_device_can_generate(given: dict[str, Any], most: int | None) -> None:
    assert most_output_tokens(report(**given), CATALOGUE) == most


def test_more_than_the_device_can_do_is_implausible() -> None:
    assert reasons(output_tokens=Told(500)) == ()
    assert reasons(output_tokens=Told(501)) == ("501 output tokens; two on such a device generates at most 500",)
    # What it says at least counts; an upper bound above it is no claim.
    assert reasons(output_tokens=Told(lower=400, upper=10_000)) == ()
    assert reasons(output_tokens=Told(lower=501, upper=10_000)) != ()


def test_reports_that_contradict_themselves_are_implausible() -> None:
    assert reasons(active_ms=3_600_001) == ("computed for 3,600,001 ms in a period of 3,600,000 ms",)
    assert reasons(queries=Told(5, 6, 9)) == ("queries: 5 is not between its own bounds",)
    assert reasons(queries=Told(10, 6, 9)) == ("queries: 10 is not between its own bounds",)
    assert reasons(input_tokens=Told(None, 7, 6)) == ("input_tokens: at least 7, and at most 6",)
    assert reasons(queries=Told(6, 6, 6), input_tokens=Told(4)) == ()


def test_the_same_time_is_not_told_twice() -> None:
    hour = timedelta(hours=1)
    verdicts = judge(
        [
            report(event_id="late", start=START + hour / 2, end=START + 2 * hour),
            report(event_id="first"),
            report(event_id="other-model", model="sparse"),
            report(event_id="other-device", period_hash="g"),
            report(event_id="after", start=START + 2 * hour, end=START + 3 * hour),
        ],
        CATALOGUE,
    )
    assert [(one.report.event_id, one.reasons) for one in verdicts if one.reasons] == [
        ("late", ("its period overlaps that of first",))
    ]


def test_what_nothing_is_known_to_hold_against_is_unbounded() -> None:
    (verdict,) = judge([report(model="parallel", output_tokens=Told(10**9))], CATALOGUE)
    assert (verdict.state, verdict.reasons) == ("unbounded", ())


@pytest.mark.clickhouse
def test_reports_are_read_by_the_end_of_their_periods(decided: CountedUsage) -> None:
    common = {
        "account_id": "acme",
        "source": "d",
        "time": "2026-11-09 00:00:00",
        "kind": "estimate",
        "model": "two",
        "topic": "t",
        "event_type": "device_report",
        "period_start": "2026-11-01 00:00:00",
    }
    told = {"output_tokens": 7, "output_tokens_upper": 9, "queries_lower": 3, "active_ms": 5}
    decided.put(
        "usage_estimates",
        [
            {**common, **told, "event_id": "in", "period_end": "2026-11-02 00:00:00"},
            {**common, "event_id": "before", "period_end": "2026-11-01 00:00:00"},
            {**common, "event_id": "after", "period_end": "2026-11-02 00:00:01"},
        ],
    )
    (found,) = read_reports(decided.client, START, START + timedelta(days=1), "acme")
    assert (found.event_id, found.output_tokens, found.queries) == ("in", Told(7, None, 9), Told(None, 3, None))
    assert (found.active_ms, found.memory_bandwidth_mbps, found.start) == (5, None, START)
    assert read_reports(decided.client, START, START + timedelta(days=1), "nobody") == []
