"""Named queries over usage, on rows put in by hand, with answers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

pytestmark = pytest.mark.clickhouse

Usage = Callable[..., None]
Insert = Callable[[str, list[dict[str, Any]]], None]
Ask = Callable[..., list[dict[str, Any]]]
SPAN = {"from": "2026-11-20", "to": "2026-11-21"}


def epoch(moment: datetime) -> float:
    """Seconds since the epoch, whether the client shows UTC times with or without their zone."""
    return moment.replace(tzinfo=UTC).timestamp()


def clock(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def test_usage_by_account(usage: Usage, ask: Ask) -> None:
    usage(
        {
            "model": "mercury",
            "generation_mode": "diffusion",
            "input_tokens": 10,
            "output_tokens": 100,
            "gpu_ms": 7,
            "gpu_ms_samples": 1,
            "denoising_steps_samples": 1,
        },
        {"model": "mercury", "generation_mode": "diffusion", "minute": "2026-11-20 23:59:00", "output_tokens": 50},
        {"model": "gpt", "generation_mode": "autoregressive", "requests": 5, "output_tokens": 1},
        {"account_id": "globex", "model": "gpt", "generation_mode": "autoregressive", "denoising_steps": 0},
        {"minute": "2026-11-19 23:59:00", "model": "before the span"},
        {"minute": "2026-11-21 00:00:00", "model": "after the span"},
        {"event_type": "fallback", "model": "a fallback is no usage", "fallbacks": 1},
    )
    keys = (
        "account_id",
        "model",
        "generation_mode",
        "requests",
        "input_tokens",
        "output_tokens",
        "gpu_ms",
        "denoising_steps",
    )
    assert [tuple(row[key] for key in keys) for row in ask("usage_by_account", **SPAN)] == [
        ("acme", "gpt", "autoregressive", 5, 0, 1, None, None),
        ("acme", "mercury", "diffusion", 2, 10, 150, 7, 0),
        ("globex", "gpt", "autoregressive", 1, 0, 0, None, None),
    ]
    assert [row["account_id"] for row in ask("usage_by_account", account="globex", **SPAN)] == ["globex"]


def test_values_are_bound_and_never_pasted(usage: Usage, ask: Ask) -> None:
    names = ["it's", "a\tb\\c", "{account:String}", "'; DROP TABLE ledger; --", "é\n", "NULL", "\\N"]
    usage(*({"account_id": name} for name in names))
    for name in names:
        assert [row["account_id"] for row in ask("usage_by_account", account=name, **SPAN)] == [name]


def test_steps_per_token(usage: Usage, ask: Ask) -> None:
    llada = {"model": "llada", "generation_mode": "diffusion"}
    steps = {"steps_band": "20-30", "denoising_steps_samples": 2, "requests": 2}
    usage(
        # 50 steps for 200 tokens in two requests; each reports its evaluations too: 60.
        {
            **llada,
            **steps,
            "denoising_steps": 50,
            "output_tokens": 200,
            "function_evaluations": 60,
            "function_evaluations_samples": 2,
        },
        # Two requests that report no steps, one of them no evaluations: their 1,000 tokens must not dilute.
        {
            **llada,
            "requests": 2,
            "output_tokens": 1000,
            "function_evaluations": 30,
            "function_evaluations_samples": 1,
        },
        # An hour later.
        {**llada, **steps, "minute": "2026-11-20 11:30:00", "denoising_steps": 48, "output_tokens": 96},
        {"model": "gpt", "generation_mode": "autoregressive", "output_tokens": 9},
    )
    first, other, later = ask("steps_per_token", **SPAN)
    assert (epoch(first.pop("bucket")), epoch(later.pop("bucket"))) == (
        clock("2026-11-20 10:00:00"),
        clock("2026-11-20 11:00:00"),
    )
    assert (first["model"], other["model"], later["model"]) == ("gpt", "llada", "llada")
    assert first["steps_per_output_token"] is None
    assert first["evaluations_per_request"] is None
    assert other["requests"] == 4
    assert other["steps_reported_share"] == 0.5  # 2 of 4
    assert other["steps_per_request"] == 25  # 50 / 2
    assert other["steps_per_output_token"] == 0.25  # 50 / 200
    assert other["evaluations_reported_share"] == 0.75  # 3 of 4
    assert other["evaluations_per_request"] == 30  # (60 + 30) / 3
    assert other["evaluations_per_output_token"] == 0.3  # 60 / 200: the other rollup is not fully reported
    assert later["steps_per_output_token"] == 0.5  # 48 / 96
    days = ask("steps_per_token", bucket_s=86400, model="llada", **SPAN)
    assert [(row["requests"], row["steps_per_request"]) for row in days] == [(6, 24.5)]  # (50 + 48) / 4


def test_local_share(usage: Usage, insert: Insert, ask: Ask) -> None:
    usage(
        {"placement": "device", "requests": 30},
        {"placement": "device", "requests": 4, "status": "error"},  # not answered
        {"placement": "cloud", "requests": 15, "route": "fallback"},
        {"placement": "on_prem", "requests": 4},
        {"requests": 1},
        {"event_type": "fallback", "fallbacks": 15},
        {"account_id": "globex", "placement": "cloud", "requests": 3},
    )
    estimate = {
        "account_id": "acme",
        "event_type": "device_report",
        "kind": "estimate",
        "source": "app",
        "time": "2026-11-20 12:00:00",
        "period_start": "2026-11-13 00:00:00",
        "period_end": "2026-11-20 00:00:01",
        "queries": 50,
        "queries_lower": 10,
        "queries_upper": 150,
    }
    insert(
        "usage_estimates",
        [
            {**estimate, "event_id": "1"},
            {**estimate, "event_id": "2", "period_end": "2026-11-20 00:00:00"},  # of the period before
            {**estimate, "event_id": "3", "period_end": "2026-11-21 00:00:01"},  # of the next one
        ],
    )
    insert("usage_estimates", [{**estimate, "event_id": "1"}])  # the commit was tried again
    acme, globex = ask("local_share", **SPAN)
    assert acme == {
        "account_id": "acme",
        "metered_local": 30,
        "estimated_local": 50,
        "estimated_local_lower": 10,
        "estimated_local_upper": 150,
        "cloud": 15,
        "on_prem": 4,
        "placement_unknown": 1,
        "fallbacks": 15,
        "served": 20,
        "local_share": 0.8,  # 80 of 100
        "local_share_lower": pytest.approx(40 / 60),
        "local_share_upper": 0.9,  # 180 of 200
    }
    assert (globex["local_share"], globex["cloud"], globex["estimated_local"]) == (0, 3, 0)


def test_estimates_without_all_their_bounds_count_with_what_they_have(insert: Insert, ask: Ask) -> None:
    estimate = {"event_type": "device_report", "kind": "estimate", "source": "app", "period_end": "2026-11-20 12:00:00"}
    insert(
        "usage_estimates",
        [
            {**estimate, "account_id": "a", "event_id": "1", "queries": 5},
            {**estimate, "account_id": "b", "event_id": "2", "queries_lower": 5, "queries_upper": 9},
            {**estimate, "account_id": "c", "event_id": "3", "queries_lower": 5},
            {**estimate, "account_id": "d", "event_id": "4", "input_tokens": 5},
        ],
    )
    keys = ("account_id", "estimated_local_lower", "estimated_local", "estimated_local_upper", "local_share")
    assert [tuple(row[key] for key in keys) for row in ask("local_share", **SPAN)] == [
        ("a", 5, 5, 5, 1),
        ("b", 5, 5, 9, 1),
        ("c", 5, 5, 5, 1),
        ("d", 0, 0, 0, None),
    ]


def test_fallback_hot_spots(usage: Usage, ask: Ask) -> None:
    local = {"model": "phi-4", "query_class": "complex"}
    fallback = {**local, "event_type": "fallback"}
    usage(
        {**fallback, "fallbacks": 3, "fallback_reason": "timeout", "wasted_output_tokens": 40, "wasted_active_ms": 5},
        {**fallback, "fallbacks": 2, "fallback_reason": "low_confidence", "minute": "2026-11-20 10:01:00"},
        {**fallback, "fallbacks": 4, "fallback_reason": "low_confidence", "wasted_input_tokens": 8},
        {**local, "placement": "device", "requests": 27},
        {**local, "placement": "device", "requests": 9, "status": "error"},  # failed without a fallback: no answer
        {**local, "placement": "cloud", "requests": 99},  # the same model served in the cloud
        {**fallback, "query_class": "simple", "fallbacks": 1, "fallback_reason": "battery"},
        {"model": "never fails", "placement": "device", "requests": 5},
    )
    rows = ask("fallback_hot_spots", **SPAN)
    assert rows[0] == {
        "model": "phi-4",
        "query_class": "complex",
        "fallbacks": 9,
        "local_answers": 27,
        "fallback_rate": 0.25,  # 9 of 36
        "top_reason": "low_confidence",
        "top_reason_fallbacks": 6,
        "wasted_input_tokens": 8,
        "wasted_output_tokens": 40,
        "wasted_active_ms": 5,
    }
    assert [(row["query_class"], row["fallback_rate"], row["top_reason"]) for row in rows[1:]] == [
        ("simple", None, "battery")
    ]
    assert len(ask("fallback_hot_spots", limit=1, **SPAN)) == 1


def test_matrix_operations(usage: Usage, ask: Ask) -> None:
    usage(
        {
            "generation_mode": "diffusion",
            "matrix_formula": "v1",
            "requests": 4,
            "matrix_gflop": 4000,
            "matrix_gflop_samples": 4,
            "draft_matrix_gflop": 9,
            "draft_matrix_gflop_samples": 1,
            "output_tokens": 500,
        },
        {"generation_mode": "diffusion", "matrix_formula": "v1", "requests": 4, "output_tokens": 999, "model": "other"},
        {
            "generation_mode": "autoregressive",
            "matrix_formula": "v1",
            "matrix_gflop": 2**63,
            "matrix_gflop_samples": 1,
            "output_tokens": 2,
        },
        {
            "generation_mode": "autoregressive",
            "matrix_formula": "v1",
            "partition": 1,
            "matrix_gflop": 2**63,
            "matrix_gflop_samples": 1,
            "output_tokens": 2,
        },
        {"generation_mode": "unreported", "requests": 3, "output_tokens": 7},
    )
    keys = ("generation_mode", "requests", "reported_share", "matrix_gflop", "draft_matrix_gflop", "gflop_per_request")
    rows = ask("matrix_operations", **SPAN)
    assert [tuple(row[key] for key in keys) for row in rows] == [
        ("autoregressive", 2, 1, 2**64, None, 2**63),
        ("diffusion", 8, 0.5, 4000, 9, 1000),
        ("unreported", 3, 0, None, None, None),
    ]
    assert [row["gflop_per_output_token"] for row in rows] == [2**62, 8, None]  # 2^64 / 4; 4000 / 500


def test_cost_by_steps(usage: Usage, ask: Ask) -> None:
    llada = {"model": "llada", "generation_mode": "diffusion", "denoising_steps_samples": 2, "requests": 2}
    usage(
        # Complex answers: 28 steps, whether 100 or 900 tokens long.
        {**llada, "query_class": "complex", "steps_band": "20-30", "denoising_steps": 56, "output_tokens": 200},
        {
            **llada,
            "query_class": "complex",
            "steps_band": "20-30",
            "denoising_steps": 56,
            "output_tokens": 1800,
            "gpu_ms": 80,
            "gpu_ms_samples": 1,
            "region": "eu",
        },
        {**llada, "query_class": "simple", "steps_band": "5-10", "denoising_steps": 14, "output_tokens": 700},
        {**llada, "query_class": "simple", "steps_band": "100-200", "denoising_steps": 300, "output_tokens": 1},
        {"model": "llada", "query_class": "simple", "output_tokens": 10**6},  # steps not reported
    )
    keys = ("query_class", "steps_band", "requests", "output_tokens_per_request", "steps_per_request")
    rows = ask("cost_by_steps", **SPAN)
    assert [tuple(row[key] for key in keys) for row in rows] == [
        ("complex", "20-30", 4, 500, 28),  # 2000 / 4; 112 / 4
        ("simple", "5-10", 2, 350, 7),
        ("simple", "100-200", 2, 0.5, 150),  # by steps, not by the letters of the band
    ]
    assert [row["steps_per_output_token"] for row in rows] == [0.056, 0.02, 300]
    assert [row["gpu_ms_per_request"] for row in rows] == [80, None, None]


def test_tokens_per_second(usage: Usage, ask: Ask) -> None:
    mercury = {"model": "mercury", "generation_mode": "diffusion", "placement": "cloud"}
    times = {"latency_ms": 2000, "latency_ms_samples": 2, "requests": 2, "output_tokens": 2000}
    usage(
        {**mercury, **times, "time_to_first_token_ms": 400, "time_to_first_token_ms_samples": 2},
        {**mercury, **times, "region": "no first token", "output_tokens": 1000},
        {**mercury, "region": "half reported", "requests": 2, "latency_ms": 10, "latency_ms_samples": 1},
        {"model": "slow", "requests": 1, "latency_ms": 1000, "latency_ms_samples": 1, "output_tokens": 100},
        {"model": "silent", "output_tokens": 5},
        {
            "model": "at once",
            "output_tokens": 500,
            "latency_ms": 1000,
            "latency_ms_samples": 1,
            "time_to_first_token_ms": 1000,
            "time_to_first_token_ms_samples": 1,
        },
    )
    rows = {row["model"]: row for row in ask("tokens_per_second", **SPAN)}
    assert list(rows) == ["mercury", "at once", "slow", "silent"]
    assert rows["mercury"]["tokens_per_s"] == 750  # 3000 tokens in 4 s
    assert rows["mercury"]["streaming_tokens_per_s"] == 1250  # 2000 tokens in 1.6 s
    assert rows["mercury"]["latency_ms"] == 802  # 4010 ms / 5
    assert rows["mercury"]["time_to_first_token_ms"] == 200
    assert rows["mercury"]["reported_share"] == pytest.approx(5 / 6)
    assert rows["slow"]["tokens_per_s"] == 100
    assert rows["at once"]["streaming_tokens_per_s"] is None
    assert rows["silent"]["tokens_per_s"] is None


def test_active_subjects(insert: Insert, ask: Ask) -> None:
    seen = {"account_id": "acme", "subject_kind": "user", "first_seen": "2026-11-20 09:00:00"}
    insert(
        "usage_subjects",
        [
            {**seen, "day": "2026-11-20", "subject": "ann", "last_seen": "2026-11-20 09:30:00"},
            {**seen, "day": "2026-11-20", "subject": "bob", "last_seen": "2026-11-20 11:00:00"},
            {**seen, "day": "2026-11-21", "subject": "ann", "last_seen": "2026-11-21 08:00:00"},
            {**seen, "day": "2026-11-20", "subject": "laptop", "subject_kind": "installation"},
            {**seen, "day": "2026-11-22", "subject": "later"},
            {**seen, "day": "2026-11-19", "subject": "earlier"},
        ],
    )
    again = {"first_seen": "2026-11-20 08:00:00", "last_seen": "2026-11-20 08:01:00"}
    insert("usage_subjects", [{**seen, **again, "day": "2026-11-20", "subject": "ann"}])
    installations, users = ask("active_subjects", **{"from": date(2026, 11, 20), "to": "2026-11-21"})
    assert (users["subject_kind"], users["active"], users["active_per_day"]) == ("user", 2, 1.5)  # (2 + 1) / 2 days
    assert epoch(users["first_seen"]) == clock("2026-11-20 08:00:00")
    assert epoch(users["last_seen"]) == clock("2026-11-21 08:00:00")
    assert (installations["subject_kind"], installations["active"]) == ("installation", 1)
    assert installations["active_per_day"] == 0.5
